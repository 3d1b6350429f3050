"""What goes into the ledger and comes out of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import IGNORE as IGNORE
from annotator3d.data.scan import VoxelLabels
from annotator3d.errors import count
from annotator3d.ledger.schema import Ask, EventKind

UNASSIGNED = 254  # in a draft: a point that has no label yet
Cell = tuple[int, int, int]
_DAY = 86400.0
_LAST = 253_402_300_799  # seconds since 1970, of the last year that a date can have


class Asked(Protocol):
    """What `Ledger.add_round` needs to know of a picked voxel; `VoxelPick` is one.

    It may have `label_points`, the places of the points that are asked about among the voxel's
    points in file order, from 0; None, or no such attribute: all of them.
    """

    @property
    def cell(self) -> Cell: ...
    @property
    def utility(self) -> float: ...
    @property
    def num_points(self) -> int: ...


CHANGED = "has changed since it was asked about"


@dataclass(frozen=True)
class ScanRecord:
    """A scan as it was when its first voxel was asked about."""

    id: str
    fingerprint: str
    num_points: int  # of the raw file, non-finite points included

    def change(
        self, num_points: int | None, fingerprint: str | None, name: str = "its file"
    ) -> str | None:
        """What has changed in the scan's file since, in words; None: nothing.

        Args:
            num_points: what the raw file has now; None: it was not counted.
            fingerprint: of the file now; None: it was not computed.
            name: how the words call the file.
        """
        same = num_points in (None, self.num_points) and fingerprint in (None, self.fingerprint)
        if same:
            return None
        now = [] if num_points is None else [count(num_points, "point")]
        now += [] if fingerprint is None else [f"fingerprint {fingerprint}"]
        return (
            f"{name} {CHANGED}: the ledger has {count(self.num_points, 'point')} and fingerprint "
            f"{self.fingerprint}, the file has {' and '.join(now)}; restore the file"
        )


@dataclass(frozen=True)
class Round:
    """One round of questions."""

    number: int  # from 1
    strategy: str
    seed: int
    budget: int  # most queries of one scan
    max_queries: int | None  # most queries of the round
    num_queries: int
    epoch: int  # training uses the answers from this epoch (0-based) on
    source: str  # digest of the weights that scored, "predictions", "online" or "none"
    created_at: str = ""


@dataclass(frozen=True)
class Query:
    """One voxel of one scan that was asked about."""

    id: int
    round: int
    scan: str
    cell: Cell  # floor(xyz / voxel size) per axis, sensor frame
    rank: int  # 0 is the best of its scan in its round
    score: float
    num_points: int  # of the voxel
    asked_at: str = ""
    label_points: tuple[int, ...] | None = None
    """Places of the points that are asked about among the voxel's points in file order, from 0,
    ascending; None: all of them."""

    @property
    def num_labels(self) -> int:
        """Points that are asked about; an answer has a label for each."""
        return self.num_points if self.label_points is None else len(self.label_points)

    def asked_of(self, values: NDArray) -> NDArray:
        """Of values [num_points], one per point of the voxel, those that are asked about."""
        return values if self.label_points is None else values[list(self.label_points)]

    def voxel_labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels [num_labels] of an answer as labels [num_points] of all points of the voxel.

        A point that was not asked about has 255: nothing is known of it.
        """
        if self.label_points is None:
            return labels
        found = np.full(self.num_points, IGNORE, np.uint8)
        found[list(self.label_points)] = labels
        return found


@dataclass(frozen=True)
class Answer:
    """What an oracle says about a query. `labels` belong to the kinds "answer" and "draft" only.

    kind: of an oracle's answer one that settles a query. Its word does, too; ValueError for others.
    labels: [n] uint8 train ids, one per point that is asked about, in file order, 255 = ignore; in
        a draft 254 = not assigned yet.
    """

    kind: EventKind = EventKind.ANSWER
    labels: np.ndarray | None = field(default=None, compare=False)
    annotator: str = "unknown"
    seconds: float | None = None
    clicks: int | None = None
    proposal_accepted: bool | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", EventKind(self.kind))


@dataclass(frozen=True)
class Event:
    """One row of the history of a query."""

    id: int
    query: int
    answer: Answer
    supersedes: int | None  # the event that this one undoes, corrects or continues
    created_at: str  # UTC, ISO 8601 with milliseconds
    action: int | None = None  # first event of the bulk action; None if alone or itself the first
    ask: Ask | None = None  # of a request
    uid: str = ""  # identifies it in any ledger
    taxonomy: int = 1  # class list that it was written in; `answer` is in the current one


@dataclass(frozen=True)
class Lease:
    """Who holds a query: nobody else is asked about it meanwhile."""

    annotator: str
    until: float  # seconds since the epoch
    package: str | None = None  # the work package that it is out in, by the name of its file
    since: float = 0.0  # seconds since the epoch

    @property
    def is_of_wrong_clock(self) -> bool:
        """Begins a day or more from now: the clock was wrong then, and it ends in a long time."""
        return self.since > time.time() + _DAY

    @property
    def description(self) -> str:
        """What this lease means for its query, for people."""
        if self.is_of_wrong_clock:
            since = datetime.fromtimestamp(min(self.since, _LAST), timezone.utc)
            return (
                f"held for {self.annotator} since {since:%Y-%m-%d}, by a wrong clock (`annotator3d "
                "package recall` ends that)"
            )
        if self.package is None:
            return f"being answered by {self.annotator}"
        until = datetime.fromtimestamp(min(self.until, _LAST), timezone.utc)
        until = until.strftime("%Y-%m-%d %H:%M UTC")
        return f"out in a work package for {self.annotator} until {until}"


@dataclass(frozen=True)
class Summary:
    """The state of a ledger, in numbers."""

    rounds: int
    scans: int  # with at least one spent query
    voxels: int  # spent: asked and not released
    points: int  # that were asked about, in the spent voxels
    answered: int  # spent voxels with labels ("answer" or "ignore")
    passed: int  # spent voxels that were skipped or unsure
    open: int  # spent voxels that wait
    released: int
    disputed: int = 0  # spent voxels whose answers differ


def has_labels(labels: Mapping[str, Sequence[VoxelLabels]]) -> bool:
    """Whether a point has a class, in labels as `Ledger.labels_by_scan` gives them."""
    return any((voxel.labels != IGNORE).any() for voxels in labels.values() for voxel in voxels)
