"""Making a work package: its rows, and what is held at home."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from annotator3d.account import user_name
from annotator3d.annotation.packages.choice import PackageChoice, PackageContents, choose
from annotator3d.annotation.packages.contents import put_images, put_scans, require_scans
from annotator3d.annotation.packages.package import TAXONOMY_FILE, Manifest
from annotator3d.data.files import clear_parts, fsync_folder, part_of
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.package_file import new_package

_DAY = 86400.0
_MOST_DAYS = 3650
_WHILE_PACKING = _DAY


@dataclass(frozen=True)
class ExportOptions:
    """For whom a package is made, and what goes into it.

    Raises ConfigError for a name or number that makes no sense.
    """

    recipient: str
    choice: PackageChoice = field(default_factory=PackageChoice)
    days: float = 14.0  # for which the queries are held at home
    crop: float | None = None  # keep points within so many metres of a query; None: whole scans
    images: bool = False  # add what the camera saw around each query, where there is an image

    def __post_init__(self) -> None:
        days, crop = self.days, self.crop
        if not 0 < days <= _MOST_DAYS:
            raise ConfigError(
                f"--days: expected more than 0 and at most {_MOST_DAYS}, got {days:g}"
            )
        if crop is not None and not 0 < crop < math.inf:
            raise ConfigError(f"--crop: expected metres, more than 0, got {crop:g}")
        if not self.recipient.strip():
            raise ConfigError("--to: a package needs the name of the person who will label")


@dataclass(frozen=True)
class PackageResult:
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


def write_package(
    ledger: Ledger,
    out: Path,
    source: ScanSource,
    taxonomy: bytes,
    options: ExportOptions,
    *,
    predictions: Predictions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PackageResult:
    """Write a package, and hold at home those of its queries that the recipient may answer.

    The file gets its name when it is whole. Killed on the way, the queries are held for a day at
    most; the same call for the same person can be repeated.

    Args:
        out: a file that does not exist yet.
        taxonomy: the class list as YAML.
        predictions: what rounds have stored.
        progress: is called with the scans done and their number.

    Raises:
        ConfigError: a choice that makes no sense.
        ValueError: `out` exists, nothing is left to pack, or a scan is not the one queried.
        FileNotFoundError: the folder of `out` does not exist.
    """
    _require_free(out)
    recipient = options.recipient
    chosen = choose(ledger, options.choice, recipient)
    require_scans(ledger, chosen.queries, source)
    held, taken = _hold(ledger, chosen, recipient)
    answerable = {query.id for query in taken} & chosen.to_answer
    manifest = _manifest(ledger, options)
    clear_parts(out.parent)
    part = part_of(out)
    try:
        with new_package(part, manifest.to_dict()) as package:
            package.add_file(TAXONOMY_FILE, taxonomy)
            package.copy_rows(ledger, taken, _blind(ledger, taken, recipient))
            scans = put_scans(ledger, package, taken, source, options.crop, predictions, progress)
            images = put_images(ledger, package, taken, source) if options.images else 0
        mine = ledger.leases.hold(
            sorted(answerable), annotator=recipient, seconds=options.days * _DAY, package=out.name
        )
        os.replace(part, out)
    except BaseException:
        part.unlink(missing_ok=True)
        # Only these: what the person held before may be out in another package.
        ledger.leases.give_back(sorted(held), annotator=recipient)
        raise
    fsync_folder(out.parent)
    return PackageResult(
        manifest=manifest,
        queries=len(taken),
        scans=scans,
        images=images,
        held=len(mine),
        disputed=chosen.disputed,
        held_by_others=chosen.held + len(chosen.queries) - len(taken),
        out=chosen.out,
        bytes=out.stat().st_size,
    )


def _require_free(out: Path) -> None:
    if os.path.lexists(out):
        raise ValueError(f"{out} exists; name another file")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}; create it first")


def _hold(ledger: Ledger, chosen: PackageContents, recipient: str) -> tuple[set[int], list[Query]]:
    """Hold what the recipient may answer; gives the newly held ids, and the queries to pack.

    Not yet as held for a package: that is written when the file has its name. Raises ValueError if
    nothing is left to pack.
    """
    before = {number for number in chosen.to_answer if ledger.leases.holder(number) == recipient}
    wanted = sorted(chosen.to_answer - before)
    held = ledger.leases.hold(wanted, annotator=recipient, seconds=_WHILE_PACKING)
    lost = set(wanted) - held  # somebody else was faster
    taken = [query for query in chosen.queries if query.id not in lost]
    if not taken:
        raise ValueError(f"{ledger.path}: somebody else has just taken every query of this choice")
    return held, taken


def _manifest(ledger: Ledger, options: ExportOptions) -> Manifest:
    return Manifest(
        id=uuid.uuid4().hex,
        ledger_id=ledger.ledger_id,
        recipient=options.recipient,
        made_by=user_name(),
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        days=options.days,
        crop=options.crop,
    )


def _blind(ledger: Ledger, queries: Sequence[Query], recipient: str) -> set[int]:
    """Queries of which the person is asked for an independent opinion: answers stay at home."""
    asked = {query.id: ledger.outcome(query.id).asks(recipient) for query in queries}
    return {id_ for id_, request in asked.items() if request and request.ask.is_independent}
