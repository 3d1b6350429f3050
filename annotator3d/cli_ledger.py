"""The commands that keep a ledger: ``ledger`` and ``taxonomy``, with their options."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli_quality import add_suspicious, suspicious
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.active.migration import Migration
    from annotator3d.engine.migrating import Wanted

AddCommand = Callable[[str, str], argparse.ArgumentParser]


def add_parsers(command: AddCommand) -> None:
    """Add the options of each command; `command` makes its parser."""
    _taxonomy_options(command("taxonomy", "take the answers of a run over to another class list"))
    _ledger_options(command("ledger", "check, copy, move and read the ledger of a run"))


def _taxonomy_options(sub: argparse.ArgumentParser) -> None:
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


def _ledger_options(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        found = actions.add_parser(name, help=text, description=text)
        found.add_argument("--debug", action="store_true", help="show tracebacks")
        return found

    one = action("verify", "check every rule that a ledger keeps, and the scans it speaks of")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("--config", metavar="CONFIG", help="where the work directory holds none")
    one.add_argument("--data-root", metavar="DIR", help="where the scans are now")
    one.add_argument("--no-scans", action="store_true", help="do not read the scans")
    one.add_argument("--json", action="store_true")

    one = action("backup", "copy the ledger, also while people work on it")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("out", metavar="FILE|FOLDER", help="a folder gets a file with date and time")
    one.add_argument("--keep", type=int, metavar="N", help="in a folder: only the newest N stay")

    one = action("export", "write the whole ledger as text")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("out", metavar="OUT", help="a file (jsonl) or a folder (csv)")
    one.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")

    one = action("import", "make a ledger of what export wrote, in either format")
    one.add_argument("source", metavar="EXPORT")
    one.add_argument("out", metavar="WORK_DIR|LEDGER", help="must not hold a ledger")

    one = action("log", "what happened, readable: to one query, or last of all")
    one.add_argument("work_dir", metavar="WORK_DIR|LEDGER")
    one.add_argument("--query", type=int, metavar="N", help="everything that happened to one")
    one.add_argument("--annotator", metavar="NAME")
    one.add_argument("--round", type=int, metavar="N")
    one.add_argument("--last", type=int, default=20, metavar="N", help="events; default: 20")

    add_suspicious(action)


def taxonomy(args: argparse.Namespace) -> None:
    from annotator3d.engine.migrating import migrate_run, preview

    work_dir, wanted = Path(args.work_dir), _wanted(args)
    if not args.apply:
        return _show(preview(work_dir, wanted), args.json)
    done = migrate_run(work_dir, wanted)
    if done.plan is not None:
        _show(done.plan, args.json, done.version)
    if args.json:
        return
    print(f"the ledger's class list is of version {done.version} now")
    if done.set_aside:
        print(f"made in the old classes and set aside: {', '.join(done.set_aside)}")
    if done.config is not None:
        network = "a new network" if done.set_aside else "the same network"
        print(
            f"The run goes on, with {network} and all answers, with\n"
            f"  annotator3d train {done.config} --work-dir {work_dir} --resume"
        )
    else:
        print("Name the new class list in the config from now on: data.train.taxonomy")


def _wanted(args: argparse.Namespace) -> Wanted:
    from annotator3d.engine.migrating import Wanted

    become = dict(_pair("--map", text) for text in args.map or ())
    split = {}
    for text in args.split or ():
        old, _, parts = text.partition("=")
        split[old] = tuple(part for part in parts.split(",") if part)
    return Wanted(args.new, args.old, become, split, tuple(args.remove or ()), args.set or ())


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
    from annotator3d.terminal import print_table

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


def ledger(args: argparse.Namespace) -> int:
    return ACTIONS[args.action](args) or 0


def _verify(args: argparse.Namespace) -> int:
    from annotator3d.active.proposals import StoredPredictions
    from annotator3d.active.verifying import verify
    from annotator3d.labelling import scan_source
    from annotator3d.terminal import screen

    path, scans, trouble = _path(args.work_dir), None, []
    with screen() as shown:
        if not args.no_scans:
            try:
                scans = scan_source(path.parent, args.config, args.data_root, shown)
            except ConfigError:
                raise
            except (OSError, ValueError) as error:  # the ledger itself can be checked all the same
                trouble = [f"the scans cannot be checked (--no-scans leaves them out): {error}"]
        stored = StoredPredictions(path.parent / "rounds")
        found = verify(path, scans, stored, lambda n, of: shown.progress("reading scans", n, of))
        found.problems += trouble
    if args.json:
        values = {"ledger": str(path), "problems": found.problems, "checked": found.counts}
        print(json.dumps(values))
    else:
        for problem in found.problems:
            print(problem, file=sys.stderr)
        checked = ", ".join(f"{count} {name}" for name, count in found.counts.items())
        print(f"{path}: {checked}; {len(found.problems)} problems")
    return 1 if found.problems else 0


def _backup(args: argparse.Namespace) -> None:
    from annotator3d.active.backup import back_up

    copy = back_up(_path(args.work_dir), Path(args.out), args.keep)
    print(f"{copy}: whole, {copy.stat().st_size} bytes")


def _export(args: argparse.Namespace) -> None:
    from annotator3d.active.dump import export

    path = _path(args.work_dir)
    counts = export(path, Path(args.out), args.format)
    print(f"{args.out}: " + ", ".join(f"{count} {table}" for table, count in counts.items()))


def _import(args: argparse.Namespace) -> None:
    from annotator3d.active.dump import load

    out = Path(args.out)
    path = out / "ledger.sqlite" if out.is_dir() else out
    counts = load(Path(args.source), path)
    print(f"{path}: " + ", ".join(f"{count} {table}" for table, count in counts.items()))


def _log(args: argparse.Namespace) -> None:
    from annotator3d.active.history import history
    from annotator3d.active.ledger import Ledger
    from annotator3d.terminal import print_table

    with Ledger.read(_path(args.work_dir)) as found:
        title, rows = history(found, args.query, args.annotator, args.round, args.last)
    print(title)
    print_table(("event", "query", "when", "who", "what", "about", "took"), rows)


def _path(text: str) -> Path:
    path = Path(text)
    path = path / "ledger.sqlite" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}; name a work directory or a ledger")
    return path


ACTIONS = {
    "verify": _verify,
    "backup": _backup,
    "export": _export,
    "import": _import,
    "log": _log,
    "suspicious": suspicious,
}
COMMANDS = {"taxonomy": taxonomy, "ledger": ledger}
