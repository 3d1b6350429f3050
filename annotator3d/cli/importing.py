"""Options and steps of an import, as commands share them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.choices import AUTO, SCAN_FORMATS
from annotator3d.cli.options import check_workers

if TYPE_CHECKING:
    from annotator3d.data.importing.dataset import Imported


def add_reading(parser: argparse.ArgumentParser, format: str | None = None) -> None:
    """How the files are read.

    Args:
        format: default of ``--format``; None: it has to be given.
    """
    parser.add_argument(
        "--format",
        choices=(*SCAN_FORMATS, AUTO),
        default=format,
        help="format of the scans; auto: each file by its ending",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one for each core)"
    )
    _add_fields(parser.add_argument_group("what the files hold").add_argument)


def _add_fields(add: Callable[..., object]) -> None:
    add(
        "--columns",
        metavar="NAMES",
        help="columns of bin, npy or npz files, such as x,y,z,intensity,label; _ skips one",
    )
    add(
        "--label-field",
        metavar="NAME",
        help="field of the classes, or 'none' (default: label, class, classification, ...)",
    )
    add("--instance-field", metavar="NAME", help="field of the objects, or 'none'")
    add("--label-colors", action="store_true", help="the taxonomy's colors identify the classes")
    add("--labels", metavar="DIR", help="folder of label files (default: below SRC)")
    add(
        "--intensity-field",
        metavar="NAME",
        help="field of the intensity; with 'none' the network gets a constant",
    )
    add(
        "--intensity-max",
        metavar="I",
        help="intensity that becomes 1, or SEQUENCE=I,SEQUENCE=I "
        "(default: 1, 255, 4095 or 65535, whichever fits a sequence)",
    )
    add(
        "--poses",
        metavar="PATH",
        help="file or folder of poses, or 'none' (default: next to the scans)",
    )
    add(
        "--unit",
        metavar="UNIT",
        help="unit of the coordinates: m, cm, mm, km, ft, us-ft, or its metres, such as 0.001 "
        "(default: as the file states, else m)",
    )
    add(
        "--keep-withheld",
        action="store_true",
        help="use points that LAS flags as withheld (default: they are left out)",
    )
    add(
        "--offset",
        default="auto",
        metavar="X,Y,Z",
        help="subtracted from the coordinates, or "
        "'none'; auto (default) subtracts where they exceed 10 km",
    )


def import_as_asked(args: argparse.Namespace, src: Path, out: Path, taxonomy: str) -> Imported:
    """Import with the options of `add_reading`, ``val``, ``val_share`` and ``seed``.

    Args:
        taxonomy: file or built-in name of a class list.
    """
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.importing.dataset import Wishes, import_scans
    from annotator3d.data.importing.intensities import parse_scales
    from annotator3d.data.importing.rules import make_rules
    from annotator3d.data.taxonomy import load_taxonomy

    check_workers(args.workers)
    classes = load_taxonomy(taxonomy)
    names = ("format", "columns", "label_field", "instance_field", "intensity_field", "unit")
    options = {name: getattr(args, name) for name in names}
    flags = {"label_colors": args.label_colors, "keep_withheld": args.keep_withheld}
    rules = make_rules(classes, args.offset, **flags, **options)
    wishes = Wishes(
        val=None if args.val is None else args.val.split(","),
        val_share=args.val_share,
        seed=args.seed,
        intensity_max=None if args.intensity_max is None else parse_scales(args.intensity_max),
        labels=None if args.labels is None else Path(args.labels),
        poses=args.poses,
    )
    with open_reporter() as reporter:
        return import_scans(
            src,
            out,
            rules,
            Path(taxonomy),
            wishes,
            lambda done, total: reporter.progress("importing", done, total),
            args.workers or len(os.sched_getaffinity(0)),
        )
