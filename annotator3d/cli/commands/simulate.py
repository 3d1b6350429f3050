"""``annotator3d simulate``."""

from __future__ import annotations

import argparse

from annotator3d.cli.choices import DOMAINS
from annotator3d.cli.command import command
from annotator3d.errors import ConfigError, count


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("out", metavar="OUT", help="folder to write to")
    add("--domain", required=True, metavar="|".join(DOMAINS), help="the simulated sensor")
    add("--sequences", type=int, default=1, metavar="N", help="number of sequences (default: 1)")
    add("--scans", type=int, default=10, metavar="N", help="scans of each sequence (default: 10)")
    add("--seed", type=int, default=0, help="seed of streets and noise (default: 0)")
    add("--first-sequence", type=int, default=0, metavar="N", help="number of the first sequence")
    add("--beams", type=int, default=64, help="beams of the sensor (default: 64)")
    add("--azimuths", type=int, default=1024, help="rays of a beam in a turn (default: 1024)")


@command(
    "simulate",
    help="write simulated streets in SemanticKITTI's layout",
    options=add_options,
    order=20,
)
def simulate(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.simulator import simulate as run

    total = args.sequences * args.scans
    print(f"simulating {count(total, 'scan')} of domain {args.domain} into {args.out}")
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
    except ValueError as error:  # its arguments are the options, by the same names
        raise ConfigError(str(error)) from error
    print(f"{count(len(written), 'scan')} in {args.out}")
