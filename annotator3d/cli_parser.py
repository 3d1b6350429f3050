"""The options of ``annotator3d <command>``. Imports nothing heavy: help and doctor always work."""

from __future__ import annotations

import argparse

import annotator3d
from annotator3d import (
    cli_data,
    cli_label,
    cli_ledger,
    cli_packages,
    cli_quality,
    cli_runs,
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` of its result names the command."""
    parser = argparse.ArgumentParser(prog="annotator3d", description=annotator3d.__doc__)
    parser.add_argument("--version", action="version", version=annotator3d.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--debug", action="store_true", help="show tracebacks")
        return sub

    sub = command("demo", "the main job on simulated streets, with a report; no data needed")
    sub.add_argument("--out", default="work_dirs/demo", metavar="DIR")
    _overriding(sub)

    _simulate(command("simulate", "write simulated streets in SemanticKITTI's layout"))

    sub = command("train", "train from a config: source-only, target-only, AL, ASFDA or ADA")
    _configured(sub)
    sub.add_argument(
        "--work-dir", metavar="DIR", help="default: work_dirs/<setting>-<config>-seed<N>"
    )
    sub.add_argument("--init", metavar="CHECKPOINT", help="source checkpoint (ASFDA, ADA)")
    sub.add_argument("--resume", action="store_true", help="go on with what the work dir holds")

    sub = command("select", "select one round without training")
    _configured(sub)
    sub.add_argument("--work-dir", metavar="DIR", required=True, help="holds the ledger")
    sub.add_argument("--checkpoint", metavar="FILE", help="weights of the config's network")
    sub.add_argument(
        "--predictions", metavar="DIR", help="another network's .label files, or .npy scores"
    )

    sub = command("evaluate", "mIoU of a checkpoint over every point of the validation scans")
    _configured(sub)
    sub.add_argument("checkpoint", metavar="CHECKPOINT")
    sub.add_argument("--json", action="store_true")

    cli_data.add_parsers(command)
    cli_label.add_parsers(command)
    cli_runs.add_parsers(command)
    cli_ledger.add_parsers(command)
    cli_packages.add_parsers(command)
    cli_quality.add_parsers(command)

    sub = command("doctor", "what is installed, built and found, and how to get what is missing")
    sub.add_argument("--json", action="store_true")
    return parser


def _configured(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("config", help="a config file, or its name among the installed ones")
    sub.add_argument("--data-root", metavar="DIR", help="root of the target's dataset")
    sub.add_argument("--seed", type=int)
    sub.add_argument("--device", choices=("auto", "cpu", "cuda"))
    _overriding(sub)


def _overriding(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="override a config key (repeatable)"
    )


def _simulate(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("out", metavar="OUT")
    sub.add_argument("--domain", required=True, metavar="ideal|hdl64")
    sub.add_argument("--sequences", type=int, default=1, metavar="N")
    sub.add_argument("--scans", type=int, default=10, metavar="N", help="scans of each sequence")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--first-sequence", type=int, default=0, metavar="N")
    sub.add_argument("--beams", type=int, default=64)
    sub.add_argument("--azimuths", type=int, default=1024)
