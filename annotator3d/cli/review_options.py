"""The options of ``label`` about reviewing."""

from __future__ import annotations

import argparse
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError, count

if TYPE_CHECKING:
    from annotator3d.annotation.review import Criteria
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.ledger import Ledger

# Options that choose what to review, by their names in the result of the parser.
_FILTERS = {
    "class_name": "--class",
    "person": "--person",
    "round": "--round",
    "since": "--since",
    "until": "--until",
    "disputed": "--disputed",
    "low_agreement": "--low-agreement",
}


def add_review(parser: argparse.ArgumentParser) -> None:
    """Add the options of reviewing."""
    add = parser.add_argument_group("review").add_argument
    add("--review", action="store_true", help="decide about what was answered")
    add("--class", dest="class_name", metavar="NAME", help="answers with this class")
    add("--person", metavar="NAME", help="answers of this person")
    add("--round", type=int, metavar="N", help="answers of this round")
    add("--since", metavar="DATE", help="from 2026-05-01 on, or with a time; UTC")
    add("--until", metavar="DATE", help="up to this day or moment, included")
    add("--disputed", action="store_true", help="only voxels whose answers differ")
    add(
        "--low-agreement",
        metavar="SHARE",
        help="answers on less than this share of whose points the trained network agrees",
    )


def without_review(parser: argparse.ArgumentParser) -> None:
    """For a parser without these options: nothing is reviewed."""
    parser.set_defaults(review=False, **dict.fromkeys(_FILTERS))


def shares_of(args: argparse.Namespace) -> dict[str, float]:
    """The shares of ``options.add_shares``, as options of a session."""
    from annotator3d.annotation.second_opinions import share_of

    shares = {"overlap": share_of(args.overlap), "repeat": share_of(args.repeat)}
    if args.review and any(shares.values()):
        raise ConfigError("--overlap and --repeat ask for answers; drop them with --review")
    return shares


def criteria_of(args: argparse.Namespace, work_dir: Path) -> Criteria | None:
    """What ``label`` is to review; None: it is not to review.

    Raises ConfigError for an unknown class, person or round, or a date that cannot be read.
    """
    if not args.review:
        for name, option in _FILTERS.items():
            if getattr(args, name):
                raise ConfigError(f"{option} belongs to --review")
        return None
    from annotator3d.annotation.review import Criteria
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.database import is_package
    from annotator3d.ledger.ledger import Ledger

    in_package = is_package(work_dir)
    if in_package and args.low_agreement:
        raise ConfigError("--low-agreement needs the network of a work directory, not a package")
    with Ledger.read(work_dir) if in_package else WorkDir(work_dir).ledger() as ledger:
        criteria = Criteria(
            classes=_class(args.class_name, ledger),
            people=_person(args.person, ledger),
            rounds=_round(args.round, ledger),
            since=_moment(args.since, "--since", timedelta()) if args.since else "",
            until=_moment(args.until, "--until", timedelta(days=1)) if args.until else "~",
            disputed=args.disputed,
        )
    if criteria.since >= criteria.until:
        raise ConfigError(
            f"--since {args.since} is later than --until {args.until}, so no answer can match"
        )
    if args.low_agreement:
        return _with_low_agreement(args, WorkDir(work_dir), criteria)
    return criteria


def _with_low_agreement(
    args: argparse.Namespace, work_dir: WorkDir, criteria: Criteria
) -> Criteria:
    import dataclasses

    from annotator3d.analysis.quality.model_check import check_answers, check_by_stored_predictions
    from annotator3d.annotation.second_opinions import share_of
    from annotator3d.cli.terminal import open_reporter

    share = share_of(args.low_agreement)
    options = {"data_root": args.data_root, "wanted": lambda _, where: criteria.match(where)}
    config = work_dir.config(args.config, network=True)
    with open_reporter() as reporter:
        try:
            judged, source = check_answers(config, work_dir, reporter, **options)
            print(f"compared with the network of {source}")
        except FileNotFoundError as none:
            print(f"{none}; compared with the predictions that the rounds have stored")
            judged = check_by_stored_predictions(config, work_dir, reporter, **options)
    found = dataclasses.replace(
        criteria, responses={j.response for j in judged if j.agreement < share}
    )
    with work_dir.ledger() as ledger:
        voxels = sum(
            found.match(where)
            for query, where in ledger.outcomes()
            if found.rounds is None or query.round in found.rounds
        )
    print(
        f"the network agrees on less than {args.low_agreement} of the points in "
        f"{count(voxels, 'voxel')} "
        "that nobody has decided about"
    )
    return found


def _class(name: str | None, ledger: Ledger) -> tuple[int, ...] | None:
    from annotator3d.errors import nearest

    if name is None:
        return None
    if name not in ledger.taxonomy_names:
        hint = nearest(name, ledger.taxonomy_names)
        raise ConfigError(f"--class: unknown class {name!r}: {hint}")
    return (ledger.taxonomy_names.index(name),)


def _person(name: str | None, ledger: Ledger) -> tuple[str, ...] | None:
    from annotator3d.errors import nearest
    from annotator3d.ledger.schema import EventKind

    people = ledger.annotators(kind for kind in EventKind if kind.gives_classes)
    if name is not None and name not in people:
        raise ConfigError(f"--person: {name!r} has answered nothing: {nearest(name, people)}")
    return None if name is None else (name,)


def _round(number: int | None, ledger: Ledger) -> tuple[int, ...] | None:
    if number is not None and number not in [entry.number for entry in ledger.rounds()]:
        raise ConfigError(f"--round: {ledger.path} has no round {number}")
    return None if number is None else (number,)


def _moment(text: str, option: str, day: timedelta) -> str:
    """As the ledger writes times; of a day without a time its beginning, and `day` later."""
    try:
        if len(text) == len("2026-05-01"):
            found = datetime.combine(date.fromisoformat(text) + day, datetime.min.time())
        else:
            found = datetime.fromisoformat(text) + (timedelta(milliseconds=1) if day else day)
    except ValueError:
        raise ConfigError(
            f"{option}: expected a date such as 2026-05-01 or 2026-05-01T14:30, got {text!r}"
        ) from None
    if found.tzinfo is not None:
        found = found.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{found.isoformat(timespec='milliseconds')}Z"
