"""``taxonomy migrate``: the answers of a run in another class list."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.engine.migrate import MigrationRequest
    from annotator3d.ledger.maintenance.migrate import Migration


def add_taxonomy(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("action", choices=("migrate",))
    sub.add_argument("work_dir", metavar="WORK_DIR")
    sub.add_argument("new", metavar="NEW.yaml", help="the new class list, in either layout")
    sub.add_argument("--map", action="append", metavar="OLD=NEW", help="a class becomes another one"
                     " (several may become the same)")  # fmt: skip
    sub.add_argument("--split", action="append", metavar="OLD[=A,B]",
                     help="a class is labelled anew, as one of others")  # fmt: skip
    sub.add_argument("--remove", action="append", metavar="OLD",
                     help="a class goes: its points are of no class")  # fmt: skip
    sub.add_argument("--old", metavar="FILE", help="the old class list, where the run's config does"
                     " not lead to it; its raw ids say what a class becomes")  # fmt: skip
    sub.add_argument("--set", action="append", metavar="KEY=VALUE",
                     help="a config key of the run from now on, such as init")  # fmt: skip
    sub.add_argument("--apply", action="store_true", help="do it; without, it is only counted")
    sub.add_argument("--json", action="store_true")


def taxonomy(args: argparse.Namespace) -> None:
    from annotator3d.engine.migrate import migrate_run, preview

    work_dir, request = Path(args.work_dir), _request(args)
    if not args.apply:
        return _show(preview(work_dir, request), args.json)
    done = migrate_run(work_dir, request)
    if done.plan is not None:
        _show(done.plan, args.json, done.version)
    if args.json:
        return
    print(f"the ledger's class list is of version {done.version} now")
    if done.set_aside:
        print(f"made in the old classes and set aside: {', '.join(done.set_aside)}")
    if done.config is not None:
        network = "a new network" if done.set_aside else "the same network"
        command = ["annotator3d", "train", str(done.config), "--work-dir", str(work_dir)]
        if done.data_root is not None:
            command += ["--data-root", done.data_root]
        print(f"The run goes on, with {network} and all answers, with")
        print(f"  {shlex.join([*command, '--resume'])}")
    else:
        print("Name the new class list in the config from now on: data.train.taxonomy")


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


def _show(found: Migration, as_json: bool, version: int | None = None) -> None:
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
            "whoever approves that one opens them again"
        )
    if version is None:
        print("Nothing was written. To do it, run this again with --apply.")
