"""``annotator3d taxonomy``: the answers of a run in another class list."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import TYPE_CHECKING

from annotator3d.cli.command import command, group
from annotator3d.cli.options import add_json, add_set, add_trust, add_work_dir
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.engine.migrate import MigrationRequest
    from annotator3d.ledger.maintenance.migrate import Migration

group("taxonomy", help="move the answers of a run to another class list", order=61)


def add_options(parser: argparse.ArgumentParser) -> None:
    add_work_dir(parser)
    add = parser.add_argument
    add("new", metavar="NEW.yaml", help="the new class list, in either layout")
    add(
        "--map",
        action="append",
        metavar="OLD=NEW",
        help="a class becomes another one; several may become the same (repeatable)",
    )
    add(
        "--split",
        action="append",
        metavar="OLD[=A,B]",
        help="the points of a class are labelled again, as one of the classes A, B (repeatable)",
    )
    add(
        "--remove",
        action="append",
        metavar="OLD",
        help="a class is removed: its points have no class any more (repeatable)",
    )
    add(
        "--old",
        metavar="FILE",
        help="the old class list, if the config of the run does not name it; its raw ids decide "
        "what a class becomes",
    )
    add_set(parser, "change a config key of the run, such as init")
    add_trust(parser)
    add("--apply", action="store_true", help="do it; without this option it only counts")
    add_json(parser)


@command(
    "taxonomy migrate",
    help="show what another class list would do to the answers, or apply it",
    options=add_options,
    order=1,
)
def migrate(args: argparse.Namespace) -> None:
    from annotator3d.engine.migrate import migrate_run, preview
    from annotator3d.engine.workdir import WorkDir

    work_dir, request = WorkDir(args.work_dir), _request(args)
    if not args.apply:
        return _print_plan(preview(work_dir, request), args.json)
    done = migrate_run(work_dir, request)
    if done.plan is not None:
        _print_plan(done.plan, args.json, done.version)
    if args.json:
        return
    print(f"the ledger has version {done.version} of the class list now")
    if done.set_aside:
        print(f"made in the old classes and set aside: {', '.join(done.set_aside)}")
    if done.config is None:
        print("Name the new class list in the config from now on: data.train.taxonomy")
        return
    network = "a new network" if done.set_aside else "the same network"
    train = ["annotator3d", "train", str(done.config), "--work-dir", str(work_dir)]
    if done.data_root is not None:
        train += ["--data-root", done.data_root]
    print(f"To continue the run, with {network} and all answers:")
    print(f"  {shlex.join([*train, '--resume'])}")


def _request(args: argparse.Namespace) -> MigrationRequest:
    from annotator3d.engine.migrate import MigrationRequest

    become = dict(_pair("--map", text) for text in args.map or ())
    split = {}
    for text in args.split or ():
        old, _, parts = text.partition("=")
        split[old] = tuple(part for part in parts.split(",") if part)
    return MigrationRequest(
        args.new, args.old, become, split, tuple(args.remove or ()), args.set or ()
    )


def _pair(option: str, text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise ConfigError(f"{option} {text}: expected OLD=NEW")
    return old, new


def _print_plan(found: Migration, as_json: bool, version: int | None = None) -> None:
    """What becomes of each class; `version` of the class list once that is done."""
    if as_json:
        import dataclasses

        values = {**dataclasses.asdict(found), "applied": version is not None}
        del values["table"]
        print(json.dumps(values))
        return
    from annotator3d.cli.terminal import print_table

    rows = [
        (fate.name, fate.fate, ", ".join(fate.becomes) or "-", f"{fate.voxels}", f"{fate.points}")
        for fate in found.fates
    ]
    print_table(("class", "is", "becomes", "voxels answered", "points"), rows)
    if found.added:
        print(f"new: {', '.join(found.added)}")
    print(f"{found.reopened} answered queries are open again for the points of split classes")
    if found.disputed:
        print(
            f"{found.disputed} disputed queries have a split class in one of their answers: "
            "approving that answer opens the query again"
        )
    if version is None:
        print("Nothing was written. To do it, run this again with --apply.")
