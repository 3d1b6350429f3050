"""The commands about data: ``import``, ``check`` and ``export``, with their options."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

from annotator3d.errors import ConfigError

AddCommand = Callable[[str, str], argparse.ArgumentParser]
FORMATS = ("bin", "pcd", "ply", "las", "laz", "npy", "npz")


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    _import_options(command("import", "turn a folder of scans into a dataset to train on"))
    _check_options(command("check", "read every file of a dataset and name what is wrong"))
    _export_options(command("export", "write answers or predictions for other tools"))


def import_scans(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.importing.dataset import Wishes
    from annotator3d.data.importing.dataset import import_scans as run
    from annotator3d.data.importing.report import report
    from annotator3d.data.importing.rules import make_rules
    from annotator3d.data.taxonomy import load_taxonomy

    if args.template is not None:
        return _write_template(Path(args.template))
    for name in ("src", "out", "format", "taxonomy"):
        if getattr(args, name) is None:
            option = name.upper() if name in ("src", "out") else f"--{name}"
            raise ConfigError(
                f"import needs SRC OUT --format F --taxonomy FILE; {option} is missing"
            )
    taxonomy = load_taxonomy(args.taxonomy)
    names = ("format", "columns", "label_field", "instance_field", "intensity_field", "unit")
    options = {name: getattr(args, name) for name in names}
    rules = make_rules(taxonomy, args.offset, label_colors=args.label_colors, **options)
    wishes = Wishes(
        val=None if args.val is None else args.val.split(","),
        val_share=args.val_share,
        seed=args.seed,
        intensity_max=args.intensity_max,
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
            args.workers or _cores(),
        )
    for line in report(result, taxonomy):
        print(line)


def _write_template(path: Path) -> None:
    from annotator3d.data.class_list import TEMPLATE
    from annotator3d.data.files import atomic_write

    if path.exists():
        raise ConfigError(f"--template {path}: there is such a file already; choose another name")
    with atomic_write(path) as file:
        file.write(TEMPLATE.encode())
    print(f"{path}: change it to your classes, then pass it as --taxonomy {path}")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def check(args: argparse.Namespace) -> int:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.data.checking import report, store
    from annotator3d.data.checking.dataset import check_dataset, merge

    results = []
    with open_reporter() as reporter:
        for dataset in _datasets(args):
            name = f"checking {type(dataset).__name__}"
            if not args.json:
                print(f"{name} in {dataset.root}: {len(dataset):,} scans")

            def progress(done: int, total: int, name: str = name) -> None:
                if not args.json:
                    reporter.progress(name, done, total)

            results.append(check_dataset(dataset, progress, args.workers))
    kept = [store.save(result) for result in results]
    summary = report.summarise(merge(results))
    if args.json:
        print(json.dumps(summary))
        return 0 if summary["ok"] else 1
    many = len(summary["problems"]) if args.all else 10
    for line in report.lines(summary, many):
        print(line)
    found = [problem["severity"] for problem in summary["problems"]]
    verdict = f"{found.count('error'):,} errors, {found.count('warning'):,} warnings"
    print(f"{verdict if found else 'nothing is wrong'}; kept in {', '.join(map(str, kept))}")
    return 1 if found else 0


def export(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.class_list import with_todays_classes
    from annotator3d.engine.export import ExportRequest
    from annotator3d.engine.export import export as run
    from annotator3d.engine.workdir import config_of

    work_dir, out = Path(args.work_dir), Path(args.out)
    settings = list(args.set or [])
    settings += [] if args.device is None else [f"device={args.device}"]
    request = ExportRequest(
        what=args.what,
        format=args.format,
        split=args.split,
        checkpoint=None if args.checkpoint is None else Path(args.checkpoint),
        data_root=args.data_root,
        force=args.force,
        zip=args.zip,
        description=None if args.description is None else Path(args.description),
    )
    with open_reporter() as reporter:
        config = config_of(work_dir, args.config, settings)
        config = with_todays_classes(config, work_dir, args.data_root)
        result = run(config, work_dir, out, request, reporter)
    print(
        f"{args.what} of {result.files:,} of {result.scans:,} scans in {out}: "
        f"{result.labelled:,} of {result.points:,} points have a class; from {result.source}"
    )
    if result.archive is not None:
        print(f"for the test server: {result.archive}")


def _export_options(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    add("work_dir", metavar="WORK_DIR", help="of train, or of select with --config")
    add("out", metavar="OUT", help="folder to write to")
    add("--what", choices=("answers", "predictions"), required=True)
    add("--format", choices=("semantickitti", "lidarseg", "las", "ply"), required=True)
    add("--split", choices=("val", "train", "source"), default="val", help="of predictions")
    add("--checkpoint", metavar="FILE", help="that predicts (default: the last one)")
    add("--config", metavar="CONFIG", help="if WORK_DIR holds no config.yaml")
    add("--data-root", metavar="DIR", help="root of the dataset (default: as in the run)")
    add("--device", choices=("auto", "cpu", "cuda"))
    add("--force", action="store_true", help="replace files that hold more labels")
    add("--zip", action="store_true", help="pack predictions for SemanticKITTI's test server")
    add("--description", metavar="FILE", help="goes into the archive as description.txt")
    add("--set", action="append", metavar="KEY=VALUE", help="override a config key (repeatable)")


def _datasets(args: argparse.Namespace) -> list:
    """What lies in the folder; or what a config takes from it, and its source."""
    from annotator3d.data.checking.opening import open_folder

    if args.config is None:
        return open_folder(Path(args.data), args.taxonomy)
    from annotator3d.engine.build import build_dataset
    from annotator3d.engine.config.load import find_config, load_config

    data = load_config(find_config(args.config), args.set or []).data
    opened = []
    for key, root in (("train", args.data), ("val", args.data), ("source", None)):
        values = getattr(data, key)
        if values is not None and (root or values.get("root")):
            values = {**values, "labels": "optional"}
            opened.append(build_dataset(values, f"data.{key}", root))
    return opened


def _check_options(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    add("data", metavar="DATA", help="root of the dataset")
    add("--config", metavar="CONFIG", help="check what this config takes from DATA")
    add("--set", action="append", metavar="KEY=VALUE", help="override a config key (repeatable)")
    add("--taxonomy", metavar="FILE", help="class map, if not the dataset's own")
    add("--all", action="store_true", help="print every problem, not ten of each kind")
    add("--workers", type=int, metavar="N", help="threads (default: the cores)")
    add("--json", action="store_true")


def _import_options(sub: argparse.ArgumentParser) -> None:
    add = sub.add_argument
    add("src", nargs="?", metavar="SRC", help="folder of scans; folders in it become sequences")
    add("out", nargs="?", metavar="OUT", help="new folder for the dataset")
    add("--format", choices=FORMATS)
    add("--taxonomy", metavar="FILE", help="your classes (--template writes one to start from)")
    add("--template", metavar="FILE", help="write a taxonomy with comments and do nothing else")
    add("--columns", metavar="NAMES", help="of bin, npy, npz: x,y,z,intensity,label; '_': unused")
    add("--label-field", metavar="NAME", help="field with the classes, or 'none'; default: label, "
        "class, classification, ...")  # fmt: skip
    add("--instance-field", metavar="NAME", help="field with the objects, or 'none'")
    add("--label-colors", action="store_true", help="classes are told by the taxonomy's colors")
    add("--labels", metavar="DIR", help="folder of label files (.label, .npy); default: beside")
    add("--intensity-field", metavar="NAME", help="or 'none': the network gets a constant")
    add("--intensity-max", type=float, metavar="I", help="the intensity that becomes 1; default: "
        "1, 255, 4095 or 65535")  # fmt: skip
    add("--poses", metavar="PATH", help="file or folder of poses, or 'none'; default: beside")
    add("--unit", type=float, metavar="METRES", help="of the coordinates; 0.001: millimetres")
    add("--offset", default="auto", metavar="X,Y,Z", help="subtracted; auto (default): where "
        "coordinates reach 10 km; or none")  # fmt: skip
    add("--val", metavar="NAMES", help="sequences for validation: a,b")
    add("--val-share", type=float, default=0.2, metavar="S", help="or a share (default 0.2)")
    add("--seed", type=int, default=0, help="of the draw of the share")
    add("--workers", type=int, metavar="N", help="processes (default: the cores)")


COMMANDS = {"import": import_scans, "check": check, "export": export}
