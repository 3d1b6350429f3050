"""``annotator3d render``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.choices import BACKGROUNDS, COLOURS, VIEWS
from annotator3d.cli.command import command
from annotator3d.cli.options import add_scans
from annotator3d.errors import ConfigError, count

MOST_PIXELS = 16_384  # a side; graphics drivers draw no larger pictures


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "what",
        metavar="SCAN|WORK_DIR|PACKAGE",
        help="a .bin scan, the work directory of a run, or a work package",
    )
    add("--query", type=int, metavar="N", help="number of the query to look at")
    add("--out", required=True, metavar="FILE.png", help="picture to write")
    add("--size", default="1280x720", metavar="WxH", help="in pixels (default: 1280x720)")
    add("--colour", default=None, metavar="|".join(COLOURS), help="what the colours of points show")
    add("--view", default="sensor", choices=VIEWS, help="default: sensor")
    add("--background", default="light", choices=BACKGROUNDS, help="default: light")
    add_scans(parser)


@command(
    "render",
    help="draw a scan, or a query in its scan, without a window",
    options=add_options,
    order=41,
)
def render(args: argparse.Namespace) -> None:
    from annotator3d.api.stills import still_of
    from annotator3d.viz.render import render as draw

    width, height = _size(args.size)
    if Path(args.out).suffix.lower() != ".png":
        raise ConfigError(f"--out {args.out}: expected a name that ends with .png")
    still = still_of(
        Path(args.what),
        args.query,
        config=args.config,
        data_root=args.data_root,
        mode=args.colour,
        view=args.view,
        background=args.background,
    )
    drawn = draw(still, Path(args.out), width, height)
    print(
        f"{args.out}: {count(len(still.xyz), 'point')}, "
        f"{count(len(still.numbers), 'query', 'queries')}, drawn by {drawn}"
    )


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) * int(height)):
        raise ConfigError(f"--size: expected WIDTHxHEIGHT in pixels, got {text!r}")
    if max(int(width), int(height)) > MOST_PIXELS:
        raise ConfigError(f"--size: expected at most {MOST_PIXELS:,} pixels a side, got {text}")
    return int(width), int(height)
