"""The options of ``label`` about asking twice and about reviewing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.cli.quality import add_shares
from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.annotation.review import Criteria
    from annotator3d.ledger.ledger import Ledger

_FILTERS = ("class_name", "person", "round", "since", "until", "disputed", "low_agreement")


def add_to_label(sub: argparse.ArgumentParser) -> None:
    """Add the options of asking twice and of reviewing to those of ``label``."""
    add_shares(sub)
    group = sub.add_argument_group("review")
    group.add_argument("--review", action="store_true", help="decide about what was answered")
    group.add_argument("--class", dest="class_name", metavar="NAME", help="answers that have it")
    group.add_argument("--person", metavar="NAME", help="answers of one person")
    group.add_argument("--round", type=int, metavar="N")
    group.add_argument("--since", metavar="DATE", help="2026-05-01, or with a time; UTC")
    group.add_argument("--until", metavar="DATE", help="that day or moment included")
    group.add_argument("--disputed", action="store_true", help="only where answers differ")
    group.add_argument(
        "--low-agreement", metavar="SHARE",
        help="the network, as trained, agrees on less than this share of the answer's points",
    )  # fmt: skip


def label_shares(args: argparse.Namespace) -> dict[str, float]:
    """What ``label`` is to ask again, as options of a session."""
    from annotator3d.annotation.second_opinions import share_of

    shares = {"overlap": share_of(args.overlap), "repeat": share_of(args.repeat)}
    if args.review and any(shares.values()):
        raise ConfigError("--overlap and --repeat ask for answers; leave them out with --review")
    return shares


def criteria_of(args: argparse.Namespace, work_dir: Path) -> Criteria | None:
    """What ``label`` is to review; None: it is not to review.

    Raises ConfigError for a class, a person, a round or a date that there is not.
    """
    given = [name for name in _FILTERS if getattr(args, name)]
    if not args.review:
        if given:
            option = given[0].replace("class_name", "class").replace("_", "-")
            raise ConfigError(f"--{option} belongs to --review")
        return None
    from annotator3d.annotation.review import Criteria
    from annotator3d.ledger.database import is_package
    from annotator3d.ledger.ledger import Ledger

    in_package = is_package(work_dir)
    if in_package and args.low_agreement:
        raise ConfigError("--low-agreement needs the network of a work directory, not a package")
    with Ledger.read(work_dir if in_package else work_dir / "ledger.sqlite") as ledger:
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
            f"--since {args.since} is later than --until {args.until}: no answer can be of both"
        )
    if args.low_agreement:
        return _with_low_agreement(args, work_dir, criteria)
    return criteria


def _with_low_agreement(args: argparse.Namespace, work_dir: Path, criteria: Criteria) -> Criteria:
    from annotator3d.analysis.quality.suspicion import judge_answers, judge_by_stored
    from annotator3d.annotation.second_opinions import share_of
    from annotator3d.cli.terminal import open_reporter
    from annotator3d.engine.workdir import config_of
    from annotator3d.ledger.ledger import Ledger

    share = share_of(args.low_agreement)
    options = {"data_root": args.data_root, "wanted": lambda _, where: criteria.match(where)}
    config = config_of(work_dir, args.config)
    with open_reporter() as reporter:
        try:
            judged, source = judge_answers(config, work_dir, reporter, **options)
            print(f"compared with the network of {source}")
        except FileNotFoundError as none:
            print(f"{none}; compared with the predictions that the rounds have stored")
            judged = judge_by_stored(config, work_dir, reporter, **options)
    found = replace(criteria, responses={j.response for j in judged if j.agreement < share})
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        voxels = sum(
            found.match(where)
            for query, where in ledger.outcomes()
            if found.rounds is None or query.round in found.rounds
        )
    print(
        f"the network agrees on less than {args.low_agreement} of the points in {voxels} voxels "
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

    people = ledger.annotators("answer", "ignore")
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
