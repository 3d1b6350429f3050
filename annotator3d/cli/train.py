"""cli.train."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig


def demo(args: argparse.Namespace) -> None:
    from annotator3d.analysis.demo import run_demo
    from annotator3d.cli.terminal import open_reporter

    with open_reporter() as reporter:
        report = run_demo(Path(args.out), reporter, args.set or [])
    print(f"report: {report}")


def simulate(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.simulator import simulate as run

    total = args.sequences * args.scans
    print(f"simulating {total} scans of domain {args.domain} into {args.out}")
    try:
        with open_reporter() as reporter:
            written = run(
                args.out,
                args.domain,
                args.sequences,
                args.scans,
                args.seed,
                beams=args.beams,
                azimuths=args.azimuths,
                first_sequence=args.first_sequence,
                progress=lambda done, total: reporter.progress("simulating", done, total),
            )
    except ValueError as error:  # the simulator's arguments are the options, by the same names
        raise ConfigError(str(error)) from error
    print(f"{len(written)} scans in {args.out}")


def train(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.rounds.hook import WaitingForOracle
    from annotator3d.engine.run import train as run

    config, path = _load(args)
    own = f"{config.setting}-{path.stem}-seed{config.seed}"
    work_dir = Path(args.work_dir or Path("work_dirs") / own)
    if _is_first():
        print(f"{config.setting}: {path} into {work_dir}, seed {config.seed}")
    try:
        with open_reporter() as reporter:
            record = run(
                config, work_dir, resume=args.resume, data_root=args.data_root, reporter=reporter
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
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.rounds.select_only import select_only

    config, _ = _load(args)
    with open_reporter() as reporter:
        result = select_only(
            config,
            Path(args.work_dir),
            checkpoint=args.checkpoint,
            predictions=args.predictions,
            data_root=args.data_root,
            reporter=reporter,
        )
    print(
        f"round {result.round}: {result.strategy} asks about {result.voxels} voxels "
        f"({result.points} points) of {result.scans} scans: {result.listing}"
    )


def evaluate(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter, print_iou_table
    from annotator3d.engine.evaluation import evaluate_checkpoint

    config, _ = _load(args)
    with open_reporter() as reporter:
        result = evaluate_checkpoint(config, args.checkpoint, args.data_root, reporter)
    if args.json:
        print(json.dumps(result))
    else:
        print_iou_table(result)


def _load(args: argparse.Namespace) -> tuple[RunConfig, Path]:
    """The config that the options describe, and its file."""
    from annotator3d.engine.config.load import find_config, load_config

    path, settings = find_config(args.config), []
    for key in ("seed", "init", "device"):
        value = getattr(args, key, None)
        if value is not None:
            settings.append(f"{key}={json.dumps(value)}")
    return load_config(path, [*settings, *(args.set or [])]), path


def _is_first() -> bool:
    """Whether this is the process that speaks, of those that torchrun started for one run."""
    return os.environ.get("RANK", "0") == "0"
