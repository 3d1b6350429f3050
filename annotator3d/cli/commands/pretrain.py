"""``annotator3d pretrain``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.configs import config_from, data_root_of
from annotator3d.cli.options import add_config


def add_options(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="gets the weights, their card and the run"
    )


@command(
    "pretrain",
    help="train a network to start from on simulated streets, and write it with a card",
    options=add_options,
    order=34,
    when_stopped="; the same command continues",
)
def pretrain(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter

    config, path = config_from(args)  # before torch is loaded
    from annotator3d.engine.pretraining import pretrain as run

    out = Path(args.out)
    print(f"{config.setting}: {path} into {out}, seed {config.seed}")
    with open_reporter() as reporter:
        weights = run(config, out, reporter, data_root=data_root_of(args, config, path))
    print(f"{weights}, {weights.stat().st_size / 1e6:.1f} MB; its card is beside it")
    print(
        "next: a config of ASFDA or ADA with the same model: annotator3d train CONFIG --init "
        f"{shlex.quote(str(weights))}"
    )
