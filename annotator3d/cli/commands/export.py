"""``annotator3d export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.choices import LABEL_FORMATS
from annotator3d.cli.command import command
from annotator3d.cli.options import add_device, add_set, add_trust, add_work_dir


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser, "work directory of train, or of select with --config")
    add = parser.add_argument
    add("out", metavar="OUT", help="folder to write to")
    add("--what", choices=("answers", "predictions"), required=True, help="which labels to write")
    add("--format", choices=LABEL_FORMATS, required=True, help="format of the files")
    add(
        "--split",
        choices=("all", "train", "val", "source"),
        help="scans to predict (default: all that are trained on or evaluated; with --zip: val)",
    )
    add("--checkpoint", metavar="FILE", help="network that predicts (default: the newest)")
    add("--config", metavar="CONFIG", help="config of the run, if WORK_DIR holds no config.yaml")
    add("--data-root", metavar="DIR", help="root of the dataset (default: where the run read it)")
    add_trust(parser)
    add_device(parser)
    add("--force", action="store_true", help="replace files that hold more labels")
    add("--zip", action="store_true", help="pack predictions for SemanticKITTI's test server")
    add("--description", metavar="FILE", help="goes into the archive as description.txt")
    add_set(parser)


@command(
    "export",
    help="write answers or predictions for other tools",
    options=add_options,
    order=52,
)
def export(args: argparse.Namespace) -> None:
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.class_list import with_current_classes
    from annotator3d.engine.export import ExportRequest
    from annotator3d.engine.export import export as run
    from annotator3d.engine.workdir import WorkDir

    work_dir, out = WorkDir(args.work_dir), Path(args.out)
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
        config = work_dir.config(args.config, settings, network=args.what == "predictions")
        config = with_current_classes(config, work_dir, args.data_root)
        result = run(config, work_dir, out, request, reporter)
    words = {"train": "for training", "val": "for validation", "source": "of the source"}
    each = ", ".join(f"{count:,} {words[split]}" for split, count in result.files_of.items())
    each = f" ({each})" if args.what == "predictions" else ""
    print(
        f"{args.what} of {result.files:,} of {result.scans:,} scans{each} in {out}: "
        f"{result.labelled:,} of {result.points:,} points have a class; from {result.source}"
    )
    if result.archive is not None:
        print(f"for the test server: {result.archive}")
