"""``annotator3d <command>``: one thin function a command."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d import (
    cli_data,
    cli_label,
    cli_ledger,
    cli_packages,
    cli_quality,
    cli_runs,
)
from annotator3d.cli_parser import make_parser
from annotator3d.errors import ConfigError, Stopped

if TYPE_CHECKING:
    from annotator3d.engine.config import RunConfig


def demo(args: argparse.Namespace) -> None:
    from annotator3d.analysis.demo import run_demo
    from annotator3d.terminal import screen

    with screen() as shown:
        report = run_demo(Path(args.out), shown, args.set or [])
    print(f"report: {report}")


def simulate(args: argparse.Namespace) -> None:
    from annotator3d.data.simulator import simulate as run
    from annotator3d.terminal import screen

    total = args.sequences * args.scans
    print(f"simulating {total} scans of domain {args.domain} into {args.out}")
    try:
        with screen() as shown:
            written = run(
                args.out,
                args.domain,
                args.sequences,
                args.scans,
                args.seed,
                beams=args.beams,
                azimuths=args.azimuths,
                first_sequence=args.first_sequence,
                progress=lambda done, total: shown.progress("simulating", done, total),
            )
    except ValueError as error:  # the simulator's arguments are the options, by the same names
        raise ConfigError(str(error)) from error
    print(f"{len(written)} scans in {args.out}")


def train(args: argparse.Namespace) -> None:
    from annotator3d.engine.rounds import WaitingForOracle
    from annotator3d.engine.run import train as run
    from annotator3d.terminal import screen

    config, path = _load(args)
    own = f"{config.setting}-{path.stem}-seed{config.seed}"
    work_dir = Path(args.work_dir or Path("work_dirs") / own)
    if _is_first():
        print(f"{config.setting}: {path} into {work_dir}, seed {config.seed}")
    try:
        with screen() as shown:
            record = run(
                config, work_dir, resume=args.resume, data_root=args.data_root, screen=shown
            )
    except WaitingForOracle as waiting:
        if _is_first():
            there = shlex.quote(str(work_dir))
            print(f"{waiting}. To answer them: annotator3d label {there}")
            print(f"To train on what is answered: annotator3d round close {there}")
            print("Then run this command again with --resume.")
        return
    if not _is_first():
        return
    if config.data.val is None:
        print(f"no data.val, so nothing was evaluated; {work_dir}")
        return
    last = record.final()
    if last["absent"]:
        print(f"not in the ground truth, left out of the mean: {', '.join(last['absent'])}")
    print(f"mIoU {last['miou']:.2f} % after the last epoch; {work_dir}")


def select(args: argparse.Namespace) -> None:
    from annotator3d.engine.select import select_only
    from annotator3d.terminal import screen

    config, _ = _load(args)
    with screen() as shown:
        result = select_only(
            config,
            Path(args.work_dir),
            checkpoint=args.checkpoint,
            predictions=args.predictions,
            data_root=args.data_root,
            screen=shown,
        )
    print(
        f"round {result.round}: {result.strategy} asks about {result.voxels} voxels "
        f"({result.points} points) of {result.scans} scans: {result.listing}"
    )


def evaluate(args: argparse.Namespace) -> None:
    from annotator3d.engine.evaluation import evaluate_checkpoint
    from annotator3d.terminal import print_iou_table, screen

    config, _ = _load(args)
    with screen() as shown:
        result = evaluate_checkpoint(config, args.checkpoint, args.data_root, shown)
    if args.json:
        print(json.dumps(result))
    else:
        print_iou_table(result)


def doctor(args: argparse.Namespace) -> int:
    from annotator3d.doctor import examine, print_report

    report = examine()
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print_report(report)
    return 0 if report["ok"] else 1


def _load(args: argparse.Namespace) -> tuple[RunConfig, Path]:
    """The config that the options describe, and its file."""
    from annotator3d.engine.config import find_config, load_config

    path, settings = find_config(args.config), []
    for key in ("seed", "init", "device"):
        value = getattr(args, key, None)
        if value is not None:
            settings.append(f"{key}={json.dumps(value)}")
    return load_config(path, [*settings, *(args.set or [])]), path


COMMANDS = {c.__name__: c for c in (demo, simulate, train, select, evaluate, doctor)}
COMMANDS |= cli_data.COMMANDS | cli_label.COMMANDS | cli_runs.COMMANDS | cli_ledger.COMMANDS
COMMANDS |= cli_packages.COMMANDS | cli_quality.COMMANDS
STOPPED = {
    "train": "; nothing in the ledger is lost: the same command with --resume goes on",
    "select": "; nothing in the ledger is lost",
    "import": "; the same command goes on",
    "demo": "; nothing in the ledgers is lost: the same command goes on",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage, 128 + n saved and stopped by signal n."""
    try:
        args = make_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed what was wrong
        return int(stop.code or 0)
    try:
        return COMMANDS[args.command](args) or 0
    except Stopped as stopped:
        if _is_first():
            print(f"{stopped}{STOPPED.get(args.command, '')}", file=sys.stderr)
        return 128 + stopped.signal
    except KeyboardInterrupt:
        print(f"stopped{STOPPED.get(args.command, '')}", file=sys.stderr)
        return 1
    except ConfigError as error:
        return _failed(args, error, 2)
    except Exception as error:
        return _failed(args, error, 1)


def _is_first() -> bool:
    """Whether this is the process that speaks, of those that torchrun started for one run."""
    return os.environ.get("RANK", "0") == "0"


def _failed(args: argparse.Namespace, error: Exception, code: int) -> int:
    if getattr(error, "known_to_all", False) and not _is_first():
        return code
    if args.debug:
        traceback.print_exc()
    words = " ".join(str(error).split()) or type(error).__name__
    hint = ""
    if isinstance(error, ImportError):
        hint = " (`annotator3d doctor` says what is missing)"
    elif code == 1 and not args.debug:
        hint = " (--debug shows where)"
    print(f"annotator3d {args.command}: {words}{hint}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
