"""``annotator3d <command>``: one thin function a command."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import annotator3d


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
    print(f"{len(written)} scans in {args.out}")


def train(args: argparse.Namespace) -> None:
    from annotator3d.engine.config import find_config, load_config
    from annotator3d.engine.rounds import WaitingForOracle
    from annotator3d.engine.run import train as run
    from annotator3d.terminal import screen

    path = find_config(args.config)
    config = load_config(path, _overrides(args))
    work_dir = Path(args.work_dir or Path("work_dirs") / path.stem)
    print(f"{config.setting}: {path} into {work_dir}, seed {config.seed}")
    try:
        with screen() as shown:
            record = run(
                config, work_dir, resume=args.resume, data_root=args.data_root, screen=shown
            )
    except WaitingForOracle as waiting:
        print(f"{waiting.open_queries} voxels of {work_dir} wait for an answer; answer them and")
        print("run this command again with --resume")
        return
    last = record.final()
    print(f"mIoU {last['miou']:.2f} % after the last epoch; {work_dir}")


def select(args: argparse.Namespace) -> None:
    from annotator3d.engine.config import find_config, load_config
    from annotator3d.engine.select import select_only
    from annotator3d.terminal import screen

    config = load_config(find_config(args.config), _overrides(args))
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
    from annotator3d.engine.config import find_config, load_config
    from annotator3d.engine.evaluation import evaluate_checkpoint
    from annotator3d.terminal import print_iou_table, screen

    config = load_config(find_config(args.config), _overrides(args))
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


def _overrides(args: argparse.Namespace) -> list[str]:
    extra = []
    for key in ("seed", "init", "device"):
        value = getattr(args, key, None)
        if value is not None:
            extra.append(f"{key}={json.dumps(value)}")
    return [*extra, *(args.set or [])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="annotator3d", description=annotator3d.__doc__)
    parser.add_argument("--version", action="version", version=annotator3d.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(function, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=text, description=text)
        sub.set_defaults(run=function)
        sub.add_argument("--debug", action="store_true", help="show tracebacks")
        return sub

    def configured(function, text: str) -> argparse.ArgumentParser:
        sub = command(function, text)
        sub.add_argument("config", help="a config file, or its name among the installed ones")
        sub.add_argument("--data-root", metavar="DIR", help="root of the target's dataset")
        sub.add_argument("--seed", type=int)
        sub.add_argument("--device", choices=("auto", "cpu", "cuda"))
        overriding(sub)
        return sub

    def overriding(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--set", action="append", metavar="KEY=VALUE", help="override a config key (repeatable)"
        )

    sub = command(demo, "the main job on simulated streets, with a report; no data needed")
    sub.add_argument("--out", default="work_dirs/demo", metavar="DIR")
    overriding(sub)

    sub = command(simulate, "write simulated streets in SemanticKITTI's layout")
    sub.add_argument("out", metavar="OUT")
    sub.add_argument("--domain", required=True, metavar="ideal|hdl64")
    sub.add_argument("--sequences", type=int, default=1, metavar="N")
    sub.add_argument("--scans", type=int, default=10, metavar="N", help="scans of each sequence")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--first-sequence", type=int, default=0, metavar="N")
    sub.add_argument("--beams", type=int, default=64)
    sub.add_argument("--azimuths", type=int, default=1024)

    sub = configured(train, "train from a config: source-only, target-only, AL, ASFDA or ADA")
    sub.add_argument("--work-dir", metavar="DIR", help="default: work_dirs/<config>")
    sub.add_argument("--init", metavar="CHECKPOINT", help="source checkpoint (ASFDA, ADA)")
    sub.add_argument("--resume", action="store_true", help="go on with what the work dir holds")

    sub = configured(select, "select one round without training")
    sub.add_argument("--work-dir", metavar="DIR", required=True, help="holds the ledger")
    sub.add_argument("--checkpoint", metavar="FILE", help="weights of the config's network")
    sub.add_argument(
        "--predictions", metavar="DIR", help="another network's .label files, or .npy scores"
    )

    sub = configured(evaluate, "mIoU of a checkpoint over every point of the validation scans")
    sub.add_argument("checkpoint", metavar="CHECKPOINT")
    sub.add_argument("--json", action="store_true")

    sub = command(doctor, "what is installed, built and found, and how to get what is missing")
    sub.add_argument("--json", action="store_true")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong usage."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed what was wrong
        return int(stop.code or 0)
    from annotator3d.engine.config import ConfigError

    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("stopped; nothing in the ledger is lost", file=sys.stderr)
        return 1
    except ConfigError as error:
        return _failed(args, error, 2)
    except Exception as error:
        return _failed(args, error, 1)


def _failed(args: argparse.Namespace, error: Exception, code: int) -> int:
    if args.debug:
        traceback.print_exc()
    words = " ".join(str(error).split()) or type(error).__name__
    hint = "" if args.debug else " (--debug shows where)"
    print(f"annotator3d {args.command}: {words}{hint}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
