"""What a labelling session shows: the query on the screen, and where all the others stand."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.progress import IDLE_LIMIT, EffortTracker, IdleClock, Progress, Tally
from annotator3d.annotation.proposals import (
    OFFERS,
    NearbyVoxel,
    Proposal,
    VoxelIndex,
    movable_classes,
    propose_from_neighbours,
    propose_from_prediction,
)
from annotator3d.annotation.query_states import QueryStates
from annotator3d.annotation.queue import Filter, Queue
from annotator3d.annotation.second_opinions import OverlapOptions
from annotator3d.annotation.undo import UndoHistory
from annotator3d.annotation.views import NeighbourScan, QueryView, QueryViews
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.errors import ConfigError, nearest
from annotator3d.ledger.ledger import Event, Ledger, Query
from annotator3d.ledger.records import Lease

NEARBY = 5.0  # metres
_NEAR_SCANS = 8
_SAME_PLACE = 0.87  # voxel edges: the centre of the voxel that a point lies in is no further away


@dataclass(frozen=True)
class SessionOptions:
    """What a person may choose for a session."""

    order: str = "scan"  # of `queue.ORDERS`
    offer: str = "uniform"  # of `proposals.OFFERS`
    blind: bool = False  # no prediction is shown, offered or used for parting
    same_place: bool = True  # offer what was answered for the same place in other scans
    movable: Collection[str] | None = None  # classes never offered so; None: told by their names
    lease_seconds: float = 600.0  # how long nobody else is asked what is shown here
    idle_limit: float = IDLE_LIMIT  # seconds of a pause that count
    overlap: float = 0.0  # share of each round that a second person is asked about
    repeat: float = 0.0  # share of this person's answers that they are asked for again


class Overview:
    """The reading half of `session.LabelSession`."""

    def __init__(
        self,
        ledger: Ledger,
        source: ScanSource,
        annotator: str,
        predictions: Predictions | None = None,
        options: SessionOptions | None = None,
        clock: IdleClock | None = None,
    ) -> None:
        self.options = options = options or SessionOptions()
        if options.offer not in OFFERS:
            raise ConfigError(f"unknown offer {options.offer!r}: {nearest(options.offer, OFFERS)}")
        if not annotator.strip():
            raise ConfigError("an annotator needs a name: it stands beside each answer")
        self._shares = OverlapOptions(options.overlap, options.repeat)
        self.ledger, self.annotator = ledger, annotator
        self.class_names = ledger.taxonomy_names
        self.view: QueryView | None = None
        self.parts = VoxelParts(np.zeros(0, np.uint8))
        self.set_aside: dict[str, str] = {}
        self._source, self._movable = source, _ids(options.movable, self.class_names)
        shown = None if options.blind else predictions
        self._views = QueryViews(source, ledger.scan, ledger.voxel_size, shown)
        self._effort = EffortTracker(clock or IdleClock(options.idle_limit))
        self._standing, self._history = QueryStates(annotator), UndoHistory(annotator)
        self._tally = Tally(len(self.class_names), self._standing)
        self._queue = Queue(self._standing, options.order)
        self._places: VoxelIndex | None = None
        self._last: int | None = None  # where a walk through the queue goes on

    @property
    def current(self) -> Query | None:
        """The query on the screen; None when there is nothing left to show."""
        return None if self.view is None else self.view.query

    @property
    def labels(self) -> NDArray[np.uint8]:
        """[n] train ids of the voxel's points as they stand: 255 = no class, 254 = not yet."""
        return self._standing.labels(self._shown().query.id)

    @property
    def state(self) -> str:
        """State of the query on the screen, of `query_states.STATES`."""
        return self._standing.state(self._shown().query.id)

    @property
    def response(self) -> Event | None:
        """The response in force to the query on the screen: who answered, when, what."""
        return self._standing.response(self._shown().query.id)

    @property
    def notes(self) -> list[Event]:
        """Remarks on the query on the screen, oldest first; none where they might give it away."""
        query = self._shown().query.id
        return [] if self._standing.is_blind(query) else self._standing.notes(query)

    @property
    def holder(self) -> str | None:
        """Somebody else who is answering the query on the screen, which therefore waits here."""
        return self._holder(self._shown().query.id)

    @property
    def held(self) -> str | None:
        """What `holder` has the query on the screen for, in words; None where nobody has it."""
        lease = self._lease_of_another(self._shown().query.id)
        return None if lease is None else lease.words

    @property
    def proposals(self) -> list[Proposal]:
        """What can be accepted for the query on the screen, the best first; none once begun."""
        if self.view is None or self._standing.top(self.view.query.id) is not None:
            return []
        found = [
            self._from_place(),
            propose_from_prediction(self.view.predicted, self.options.offer),
        ]
        return [proposal for proposal in found if proposal is not None]

    @property
    def held_by_others(self) -> dict[int, str]:
        """Query -> who else holds it now, on the screen or in a work package."""
        leases = self._standing.leases(time.time()).items()
        return {q: lease.annotator for q, lease in leases if lease.annotator != self.annotator}

    @property
    def can_undo(self) -> bool:
        return bool(self._history.undoable(self._standing))

    @property
    def can_redo(self) -> bool:
        return bool(self._history.redoable(self._standing))

    @property
    def progress(self) -> Progress:
        """How far all queries of the ledger have come, whoever answers them."""
        counts, total = self._queue.counts(), len(self._queue.ids)
        away = [query for scan in self.set_aside for query in self._standing.by_scan[scan]]
        aside = sum(self._standing.state(query) == "open" for query in away)
        pace = self._tally.pace(self.annotator)
        return Progress(
            total=total,
            settled=total - counts["open"],
            **counts,
            set_aside=aside,
            seconds_per_answer=pace,
            seconds_left=None if pace is None else pace * (counts["open"] - aside),
        )

    @property
    def class_voxels(self) -> NDArray[np.int64]:
        """[C] answered voxels in which a class occurs."""
        return self._tally.voxels.copy()

    @property
    def class_points(self) -> NDArray[np.int64]:
        """[C] points that were given a class."""
        return self._tally.points.copy()

    @property
    def position(self) -> tuple[int, int]:
        """(place of the query on the screen among those that pass the filter, their number)."""
        return self._queue.position(self._last)

    @property
    def filter(self) -> Filter:
        """Which queries are gone through."""
        return self._queue.filter

    @property
    def order(self) -> str:
        """In which order, a key of `queue.ORDERS`."""
        return self._queue.order

    @property
    def warnings(self) -> dict[tuple[str, int], str]:
        """(scan id, round) -> why its stored prediction is not shown."""
        return dict(self._views.warnings)

    def query(self, query_id: int) -> Query:
        """A query by its number. Raises ValueError if there is none, or it was released."""
        try:
            return self._standing.queries[query_id]
        except KeyError:
            raise ValueError(f"there is no query {query_id}, or it was released") from None

    def state_of(self, query_id: int) -> str:
        """State of any query."""
        return self._standing.state(self.query(query_id).id)

    def labels_of(self, query_id: int) -> NDArray[np.uint8]:
        """[n] labels of any query as they stand."""
        return self._standing.labels(self.query(query_id).id)

    def matching(self) -> list[int]:
        """The queries that pass the filter, in order."""
        return self._queue.matching()

    def in_scan(self, scan: str | None = None) -> list[Query]:
        """All queries of a scan, by number; None: of the one on the screen."""
        found = self._standing.by_scan[scan or self._shown().query.scan]
        return [self._standing.queries[query] for query in sorted(found)]

    def nearby(self, radius: float = NEARBY) -> list[NearbyVoxel]:
        """Answered queries within `radius` metres of the one on the screen, the nearest first.

        Of its scan and, where there are poses, of the other scans of the drive.
        """
        return self._answered_near(self._shown().query, radius)

    def nearby_points(self) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """Points [n, 3] and labels [n] of each of `nearby`, metres, frame of the scan shown.

        Left out are scans that cannot be read and, so that a query opens at once, all but the
        `_NEAR_SCANS` nearest.
        """
        found: list[tuple[NDArray[np.float32], NDArray[np.uint8]]] = []
        for query in self._near_enough(self._shown().query):
            xyz = self._views.seen_from(self._shown(), query)
            if xyz is not None:
                found.append((xyz, self._standing.labels(query.id)))
        return found

    def neighbours(self, back: int, forth: int) -> list[NeighbourScan]:
        """Scans before and after the one on the screen; empty where there are no poses."""
        return self._views.neighbours(self._shown(), back, forth)

    def image(self) -> NDArray[np.uint8] | None:
        """Camera image [H, W, 3] RGB around the voxel, None where there is none."""
        view = self._shown()
        return self._source.image(view.query.scan, (view.low + view.high) / 2)

    def _shown(self) -> QueryView:
        if self.view is None:
            raise ValueError("there is no voxel on the screen; change the filter, or go to one")
        return self.view

    def _holder(self, query_id: int) -> str | None:
        lease = self._lease_of_another(query_id)
        return None if lease is None else lease.annotator

    def _lease_of_another(self, query_id: int) -> Lease | None:
        lease = self._standing.lease(query_id, time.time())
        return None if lease is None or lease.annotator == self.annotator else lease

    @property
    def _reach(self) -> float:
        """Metres within which voxels are at the same place."""
        return _SAME_PLACE * self.ledger.voxel_size

    def _answered_near(self, query: Query, radius: float) -> list[NearbyVoxel]:
        if self._places is None:
            queries, size = self._standing.queries, self.ledger.voxel_size
            self._places = VoxelIndex(queries, self._source.pose, size)
        found = [
            near
            for near in self._places.near(query, radius)
            if near.query in self._standing.queries
            and self._standing.state(near.query) == "answered"
        ]
        if self._standing.is_blind(query.id):  # what was said of the same place may come from here
            return [near for near in found if near.distance > self._reach]
        return found

    def _near_enough(self, query: Query) -> list[Query]:
        """The answered queries near one whose points are shown with it."""
        near = [self._standing.queries[n.query] for n in self._answered_near(query, NEARBY)]
        scans = list(dict.fromkeys(other.scan for other in near))[:_NEAR_SCANS]
        return [other for other in near if other.scan in scans]

    def _from_place(self) -> Proposal | None:
        view = self._shown()
        if not self.options.same_place or view.pose is None:
            return None
        answers = [
            (near.query, self._standing.labels(near.query))
            for near in self._answered_near(view.query, self._reach)
        ]
        return propose_from_neighbours(len(view.rows), answers, self._movable)


def _ids(movable: Collection[str] | None, class_names: tuple[str, ...]) -> frozenset[int]:
    if movable is None:
        return movable_classes(class_names)
    for name in movable:
        if name not in class_names:
            raise ConfigError(f"movable: unknown class {name!r}: {nearest(name, class_names)}")
    return frozenset(class_names.index(name) for name in movable)
