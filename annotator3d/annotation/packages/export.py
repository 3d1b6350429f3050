"""Making a work package: its rows, and what is held at home."""

from __future__ import annotations

import getpass
import math
import os
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.annotation.packages.choice import PackageChoice, choose, numbers_of
from annotator3d.annotation.packages.contents import put_images, put_scans, require_scans
from annotator3d.annotation.packages.package import TAXONOMY_FILE, Manifest
from annotator3d.data.files import clear_parts, fsync_folder, part_of
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.lineage import INDEPENDENT
from annotator3d.ledger.package_file import new_package

_DAY = 86400.0
_MOST_DAYS = 3650
_WHILE_PACKING = _DAY


@dataclass(frozen=True)
class ExportResult:
    """What a package holds."""

    manifest: Manifest
    queries: int
    scans: int
    images: int
    held: int  # of the queries: those that the person may answer, which are held at home
    disputed: int  # of the others: those that wait for a decision
    held_by_others: int  # chosen, but left out since somebody else holds them
    out: int  # chosen, but left out since they are out for the same person already
    bytes: int


def export(
    ledger: Ledger,
    out: Path,
    source: ScanSource,
    taxonomy: bytes,
    *,
    to: str,
    choice: PackageChoice | None = None,
    days: float = 14.0,
    crop: float | None = None,
    images: bool = False,
    predictions: Predictions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExportResult:
    """Write a package and hold at home those of its queries that `to` may answer.

    The file gets its name when it is whole. Killed on the way, the queries are held for a day at
    most: the same call for the same person goes on.

    Args:
        out: a file that does not exist yet.
        taxonomy: the class list as YAML.
        crop: keep the points within so many metres of a query, and whole voxels; None: all.
        images: take along what the camera saw around each query, where there is an image.
        predictions: what rounds have stored.

    Raises:
        ConfigError: a choice or number that makes no sense.
        ValueError: `out` exists, nothing is left to pack, or a scan is not the one asked about.
        FileNotFoundError: the folder of `out` does not exist.
    """
    _check(out, days, crop, to)
    chosen = choose(ledger, choice or PackageChoice(), to)
    require_scans(ledger, chosen.queries, source)
    before = {number for number in chosen.to_answer if ledger.leases.holder(number) == to}
    # Not yet as out in a package, which does not exist before the file has its name.
    wanted = sorted(chosen.to_answer - before)
    held = ledger.leases.hold(wanted, annotator=to, seconds=_WHILE_PACKING)
    snatched = set(wanted) - held
    taken = [query for query in chosen.queries if query.id not in snatched]
    if not taken:
        raise ValueError(f"{ledger.path}: somebody else has just taken every query of this choice")
    manifest = Manifest(
        id=uuid.uuid4().hex,
        ledger_id=ledger.ledger_id,
        to=to,
        made_by=getpass.getuser(),
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        days=days,
        crop=crop,
    )
    clear_parts(out.parent)
    part = part_of(out)
    try:
        with new_package(part, manifest.to_dict()) as package:
            package.add_file(TAXONOMY_FILE, taxonomy)
            package.copy_rows(ledger, taken, _blind(ledger, taken, to))
            scans = put_scans(ledger, package, taken, source, crop, predictions, progress)
            pictures = put_images(ledger, package, taken, source) if images else 0
        mine = ledger.leases.hold(
            sorted(chosen.to_answer - snatched),
            annotator=to,
            seconds=days * _DAY,
            package=out.name,
        )
        os.replace(part, out)
    except BaseException:
        part.unlink(missing_ok=True)
        # What they held before may be out in another package.
        ledger.leases.give_back(sorted(held), annotator=to)
        raise
    fsync_folder(out.parent)
    return ExportResult(
        manifest=manifest,
        queries=len(taken),
        scans=scans,
        images=pictures,
        held=len(mine),
        disputed=chosen.disputed,
        held_by_others=chosen.held + len(snatched),
        out=chosen.out,
        bytes=out.stat().st_size,
    )


def recall(ledger: Ledger, who: str, which: str | None = None) -> list[int]:
    """End the holds of a person, so that others are asked; returns the queries.

    What that person answers in a package still counts when it comes home.

    Args:
        which: numbers such as "3,17-20"; None: all that they hold.

    Raises ConfigError for what are no numbers, ValueError if the person holds none of these.
    """
    leases = ledger.leases.current()
    found = {number for number, lease in leases.items() if lease.annotator == who}
    if which is not None:
        found &= numbers_of(which, {query.id for query in ledger.queries()}, ledger)
    if not found:
        counts = Counter(lease.annotator for lease in leases.values())
        held = (
            ", ".join(f"{n} by {name}" for name, n in sorted(counts.items())) or "none by anybody"
        )
        of_these = "" if which is None else f" of {which}"
        raise ValueError(f"{ledger.path}: no query{of_these} is held by {who}; held are {held}")
    ledger.leases.give_back(sorted(found), annotator=who)
    return sorted(found)


def _check(out: Path, days: float, crop: float | None, to: str) -> None:
    if out.exists():
        raise ValueError(f"{out} exists; name another file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")
    if not 0 < days <= _MOST_DAYS:
        raise ConfigError(f"--days: expected more than 0 and at most {_MOST_DAYS}, got {days:g}")
    if crop is not None and not 0 < crop < math.inf:
        raise ConfigError(f"--crop: expected metres, more than 0, got {crop:g}")
    if not to.strip():
        raise ConfigError("--to: a package needs the name of the person who will label")


def _blind(ledger: Ledger, queries: Sequence[Query], to: str) -> set[int]:
    """Queries of which the person is asked for an independent opinion: answers stay at home."""
    asked = {query.id: ledger.outcome(query.id).asks(to) for query in queries}
    return {id_ for id_, request in asked.items() if request and request.ask in INDEPENDENT}
