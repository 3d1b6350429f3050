"""``annotator3d import``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from annotator3d.cli.choices import AUTO, SCAN_FORMATS
from annotator3d.cli.command import command
from annotator3d.cli.options import check_workers
from annotator3d.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", nargs="?", metavar="SRC", help="folder of scans; folders in it become sequences")
    add("out", nargs="?", metavar="OUT", help="new folder for the dataset")
    add(
        "--format",
        choices=(*SCAN_FORMATS, AUTO),
        help="format of the scans; auto: each file by its ending",
    )
    add("--taxonomy", metavar="FILE", help="your classes (--template writes a file to start from)")
    add("--template", metavar="FILE", help="write a commented taxonomy to FILE and do nothing else")
    add("--val", metavar="NAMES", help="sequences for validation: a,b")
    add("--val-share", type=float, default=0.2, metavar="S", help="or a share (default: 0.2)")
    add("--seed", type=int, default=0, help="seed that draws this share (default: 0)")
    add("--workers", type=int, metavar="N", help="processes (default: one for each core)")
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


@command(
    "import",
    help="turn a folder of scans into a dataset to train on",
    options=add_options,
    order=21,
    when_stopped="; the same command continues",
)
def import_scans(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.importing.dataset import Wishes
    from annotator3d.data.importing.dataset import import_scans as run
    from annotator3d.data.importing.intensities import parse_scales
    from annotator3d.data.importing.report import report
    from annotator3d.data.importing.rules import make_rules
    from annotator3d.data.taxonomy import load_taxonomy

    if args.template is not None:
        return _write_template(Path(args.template))
    _require(args)
    check_workers(args.workers)
    taxonomy = load_taxonomy(args.taxonomy)
    names = ("format", "columns", "label_field", "instance_field", "intensity_field", "unit")
    options = {name: getattr(args, name) for name in names}
    flags = {"label_colors": args.label_colors, "keep_withheld": args.keep_withheld}
    rules = make_rules(taxonomy, args.offset, **flags, **options)
    wishes = Wishes(
        val=None if args.val is None else args.val.split(","),
        val_share=args.val_share,
        seed=args.seed,
        intensity_max=None if args.intensity_max is None else parse_scales(args.intensity_max),
        labels=None if args.labels is None else Path(args.labels),
        poses=args.poses,
    )
    with open_reporter() as reporter:
        result = run(
            Path(args.src),
            Path(args.out),
            rules,
            Path(args.taxonomy),
            wishes,
            lambda done, total: reporter.progress("importing", done, total),
            args.workers or len(os.sched_getaffinity(0)),
        )
    for line in report(result, taxonomy):
        print(line)


def _require(args: argparse.Namespace) -> None:
    for name in ("src", "out", "format", "taxonomy"):
        if getattr(args, name) is None:
            option = name.upper() if name in ("src", "out") else f"--{name}"
            raise ConfigError(
                f"import needs SRC OUT --format F --taxonomy FILE; {option} is missing"
            )


def _write_template(path: Path) -> None:
    from annotator3d.data.class_list import TEMPLATE
    from annotator3d.data.files import atomic_write

    if path.exists():
        raise ConfigError(f"--template {path}: the file exists already; choose another name")
    with atomic_write(path) as file:
        file.write(TEMPLATE.encode())
    print(f"{path}: change it to your classes, then pass it as --taxonomy {path}")
