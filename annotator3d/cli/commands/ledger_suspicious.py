"""``annotator3d ledger suspicious``: answers that the trained network contradicts."""

from __future__ import annotations

import argparse
from pathlib import Path

from annotator3d.cli.command import command
from annotator3d.cli.options import add_annotator, add_scans, add_work_dir, annotator_of
from annotator3d.errors import ConfigError


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    add = parser.add_argument
    add("--checkpoint", metavar="FILE", help="network (default: the newest checkpoint of the run)")
    add("--worst", type=int, default=20, metavar="N", help="number of answers (default: 20)")
    add(
        "--below",
        default="50%",
        metavar="SHARE",
        help="list answers that the network gives less than this probability (default: 50%%)",
    )
    add("--queue", action="store_true", help="ask for the listed answers again")
    add_annotator(parser, "with --queue: who asks (default: your user name)")
    add_scans(parser)


@command(
    "ledger suspicious",
    help="list answers that the trained network contradicts, or ask for them again",
    options=add_options,
    order=6,
)
def suspicious(args: argparse.Namespace) -> None:
    from annotator3d.analysis.quality.model_check import check_answers
    from annotator3d.analysis.quality.suspicion import (
        class_list,
        find_suspicious,
        not_asked_again,
        request_rechecks,
    )
    from annotator3d.annotation.second_opinions import share_of
    from annotator3d.cli.terminal import open_reporter, print_table
    from annotator3d.engine.workdir import WorkDir

    if args.worst < 1:
        raise ConfigError(f"--worst: expected at least 1, got {args.worst}")
    if args.annotator and not args.queue:
        raise ConfigError("--annotator belongs to --queue")
    work_dir, below = WorkDir(args.work_dir), share_of(args.below)
    with open_reporter() as reporter:
        judged, source = check_answers(
            work_dir.config(args.config, network=True),
            work_dir,
            reporter,
            checkpoint=None if args.checkpoint is None else Path(args.checkpoint),
            data_root=args.data_root,
        )
    found, effective = find_suspicious(judged, below)
    with work_dir.ledger() as ledger:
        names, size = ledger.taxonomy_names, ledger.voxel_size
        fresh = not_asked_again(ledger, found)
    before = f"; {len(found) - len(fresh)} of these were asked about before" if found else ""
    print(
        f"{source}: {len(found)} of {effective} effective answers are contradicted "
        f"(below {args.below}){before}"
    )
    listed = fresh[: args.worst]
    rows = [
        (
            str(j.query.id),
            j.query.scan,
            f"{j.distance(size):.0f} m",
            j.annotator,
            class_list(j.labels, names),
            class_list(j.predicted, names),
            f"{100 * j.probability:.1f} %",
        )
        for j in listed
    ]
    if rows:
        head = ("voxel", "scan", "range", "person", "answered", "predicted", "probability")
        title = f"The worst {len(rows)} of the {len(fresh)} that nobody was asked about yet"
        print_table(head, rows, title)
    if args.queue and found:
        with work_dir.ledger(write=True) as ledger:
            asked = request_rechecks(ledger, listed, annotator=annotator_of(args), source=source)
        late = len(listed) - len(asked)
        since = f"; {late} were answered or asked about meanwhile" if late else ""
        print(f"{len(asked)} are asked again{since}")
