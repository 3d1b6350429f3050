"""``annotator3d import``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.importing import add_reading, import_as_asked
from annotator3d.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", nargs="?", metavar="SRC", help="folder of scans; folders in it become sequences")
    add("out", nargs="?", metavar="OUT", help="new folder for the dataset")
    add("--taxonomy", metavar="FILE", help="your classes (--template writes a file to start from)")
    add("--template", metavar="FILE", help="write a commented taxonomy to FILE and do nothing else")
    add("--val", metavar="NAMES", help="sequences for validation: a,b")
    add("--val-share", type=float, default=0.2, metavar="S", help="or a share (default: 0.2)")
    add("--seed", type=int, default=0, help="seed that draws this share (default: 0)")
    add_reading(parser)


@command(
    "import",
    help="turn a folder of scans into a dataset to train on",
    options=add_options,
    order=21,
    when_stopped="; the same command continues",
)
def import_scans(args: argparse.Namespace) -> None:
    if args.template is not None:
        return _write_template(Path(args.template))
    _require(args)
    from annotator3d.data.importing.report import report
    from annotator3d.data.taxonomy import load_taxonomy

    result = import_as_asked(args, Path(args.src), Path(args.out), args.taxonomy)
    for line in report(result, load_taxonomy(args.taxonomy)):
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
