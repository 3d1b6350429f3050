"""Options that several commands share."""

from __future__ import annotations

import argparse

from annotator3d.cli.choices import DEVICES
from annotator3d.errors import ConfigError

MOST_WORKERS = 512


def add_config(parser: argparse.ArgumentParser) -> None:
    """A config file or an installed config, with everything that overrides it."""
    parser.add_argument("config", help="a config file, or the name of an installed config")
    parser.add_argument("--data-root", metavar="DIR", help="root of the target dataset")
    parser.add_argument("--seed", type=int, help="seed of the run (default: that of the config)")
    add_trust(parser)
    add_device(parser)
    add_set(parser)


def check_workers(given: int | None) -> None:
    """Raise ConfigError for a number of ``--workers`` that no machine starts."""
    if given is not None and not 1 <= given <= MOST_WORKERS:
        raise ConfigError(f"--workers: expected 1 to {MOST_WORKERS}, got {given:,}")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=DEVICES, help="where the network runs; auto takes a GPU if there is one"
    )


def add_set(parser: argparse.ArgumentParser, help: str = "override a config key") -> None:
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help=f"{help} (repeatable)")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def add_work_dir(parser: argparse.ArgumentParser, help: str = "work directory of a run") -> None:
    parser.add_argument("work_dir", metavar="WORK_DIR", help=help)


def add_ledger(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "work_dir", metavar="WORK_DIR|LEDGER", help="work directory of a run, or a ledger file"
    )


def add_scans(parser: argparse.ArgumentParser) -> None:
    """Where the scans of an existing run are."""
    parser.add_argument(
        "--config", metavar="CONFIG", help="config of the run, if WORK_DIR holds no config.yaml"
    )
    parser.add_argument(
        "--data-root",
        metavar="DIR",
        help="root of the dataset now (default: where the run read it)",
    )
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the Python code that the config names; remembered for its folder",
    )


def add_annotator(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--annotator", metavar="NAME", help=help)


def annotator_of(args: argparse.Namespace) -> str:
    """Who is at the keyboard: ``--annotator``, or the name of the user's account."""
    from annotator3d.account import user_name

    return args.annotator or user_name()


def add_shares(parser: argparse.ArgumentParser) -> None:
    """How much is asked twice."""
    parser.add_argument(
        "--overlap",
        default="0",
        metavar="SHARE",
        help="ask a second person about this share of each round, such as 5%% or 0.05",
    )
    parser.add_argument(
        "--repeat",
        default="0",
        metavar="SHARE",
        help="ask the same person again, later, about this share of their answers",
    )
