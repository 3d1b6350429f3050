"""The labelling session: everything a person does with queries, without any window.

A window, a browser page or a script shows what the session says and calls it; it keeps no labels of
its own. Every method that changes something appends to the ledger and returns after the commit, so
whatever is drawn afterwards is on disk. All of a session's state is derived from the ledger's rows:
killed at any moment and opened again, it continues where it stopped, undo and redo included. Call a
session only from the thread that made it (SQLite requires it); it reads scans ahead in threads of
its own.

`LabelSession` is the public face of four parts: `state.SessionState` (what is shown, and the states
of all queries), `navigator.Navigator` (which query comes next, holding it, what other people
did), `labeller.Labeller` (answers, undo, redo) and `splitter.Splitter` (several classes in one
voxel). A `mode.LabelMode` decides which queries the session goes through and what an answer writes.
`neighbourhood.Neighbourhood` knows what was answered around a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.annotation.effort import IdleClock
from annotator3d.annotation.labeller import BulkResult, Labeller
from annotator3d.annotation.mode import LabelMode
from annotator3d.annotation.navigator import Navigator
from annotator3d.annotation.nearby import NearbyVoxel
from annotator3d.annotation.neighbourhood import NEARBY, Neighbourhood
from annotator3d.annotation.options import SessionOptions
from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.progress import Progress
from annotator3d.annotation.proposals import Proposal
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.splitter import Splitter
from annotator3d.annotation.state import SessionState
from annotator3d.annotation.views import NeighbourScan, QueryView, QueryViews
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.errors import nearest
from annotator3d.ledger.ledger import Event, Ledger, Query
from annotator3d.ledger.records import IGNORE
from annotator3d.ledger.schema import EventKind

__all__ = ["BulkResult", "LabelSession", "SessionOptions"]


class LabelSession:
    """One person's session; `opening.open_session` makes one from files.

    **To show.** `view` (the scan, the voxel's rows, its box, the stored prediction), `labels`,
    `parts` (`numbers`, `mask`, `current`, `method`: which points the next class goes to), `state`,
    `response`, `notes`, `holder` and `held` (who else has the query, and for what), `proposals`,
    `nearby()`, `neighbours()`, `image()`, `in_scan()`; `progress`, `class_voxels`, `class_points`,
    `position`, `can_undo`, `can_redo`; `set_aside` (scan -> why it cannot be shown), `warnings`.

    **To go.** `next`, `previous`, `go_to`, `set_filter`, `set_order`, `retry_set_aside`.

    **To label.** `assign`, `ignore`, `accept`, `repeat`, `skip`, `unsure`; for several classes in
    one voxel first `split` or `paint`, then `assign` once for each part; `whole` makes the voxel
    one part again, `step_part` chooses a part. `bulk` answers many queries as one action. `undo`,
    `redo`, `note`. `do(name)` does what a key is bound to.

    **To keep going.** `touch()` on every key and mouse move (idle time, lease); `sync()` every few
    seconds (other people's answers; redraw if it returns True); `close()`.

    A session refuses with a ValueError whose text is for the person: `actions.ConflictError` when
    somebody else was faster, `views.ScanUnavailableError` when a scan cannot be shown. Nothing is
    written then.

    Args:
        ledger: open for writing; the session closes it.
        source: the scans.
        annotator: who answers. Undo and redo are of this person's actions, in any session.
        predictions: those that rounds have stored, such as `StoredPredictions`.
        clock: for tests.
        mode: what the session is for.

    Raises ConfigError for an unknown option, or an annotator without a name.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: ScanSource,
        annotator: str,
        predictions: Predictions | None = None,
        options: SessionOptions | None = None,
        clock: IdleClock | None = None,
        mode: Callable[[SessionState], LabelMode] = LabelMode,
    ) -> None:
        options = options or SessionOptions()
        visible = None if options.blind else predictions
        views = QueryViews(source, ledger.scan, ledger.voxel_size, visible)
        clock = clock or IdleClock(options.idle_limit)
        self._source = source
        self._state = SessionState(ledger, views, annotator, options, clock)
        self._neighbourhood = Neighbourhood(self._state, source.pose)
        self._mode = mode(self._state)
        self._navigator = Navigator(self._state, self._mode, self._neighbourhood)
        self._labeller = Labeller(self._state, self._mode, self._navigator, self._neighbourhood)
        self._splitter = Splitter(self._state, self._mode)
        self._navigator.start()

    # To show

    @property
    def ledger(self) -> Ledger:
        return self._state.ledger

    @property
    def annotator(self) -> str:
        return self._state.annotator

    @property
    def options(self) -> SessionOptions:
        return self._state.options

    @property
    def class_names(self) -> tuple[str, ...]:
        """By train id."""
        return self._state.class_names

    @property
    def view(self) -> QueryView | None:
        """What is on the screen; None when nothing is left that the filter lets through."""
        return self._state.view

    @property
    def parts(self) -> VoxelParts:
        """The parts of the voxel on the screen."""
        return self._state.parts

    @property
    def current(self) -> Query | None:
        """The query on the screen; None when there is nothing left to show."""
        return None if self.view is None else self.view.query

    @property
    def subject(self) -> tuple[object, ...]:
        """What an answer goes to: the query on the screen and its parts. To be compared only."""
        return () if self.view is None else (self.view.query.id, self.parts.numbers.tobytes())

    @property
    def labels(self) -> NDArray[np.uint8]:
        """[n] train ids of the voxel's points that are shown: 255 = no class, 254 = not yet."""
        return self._mode.labels()

    @property
    def state(self) -> str:
        """State of the query on the screen, of `query_states.STATES`."""
        return self._state.states.state(self._shown.id)

    @property
    def response(self) -> Event | None:
        """The effective response to the query on the screen: who answered, when, what."""
        return self._state.states.response(self._shown.id)

    @property
    def notes(self) -> list[Event]:
        """Notes on the query on the screen, oldest first; none if they may reveal an answer."""
        states, query = self._state.states, self._shown.id
        return [] if states.is_blind(query) else states.notes(query)

    @property
    def holder(self) -> str | None:
        """Somebody else who is answering the query on the screen, which therefore waits here."""
        lease = self._state.lease_of_another(self._shown.id)
        return None if lease is None else lease.annotator

    @property
    def held(self) -> str | None:
        """How somebody else holds the query on the screen, in words; None where nobody does."""
        lease = self._state.lease_of_another(self._shown.id)
        return None if lease is None else lease.description

    @property
    def held_by_others(self) -> dict[int, str]:
        """Query -> who else holds it now, on the screen or in a work package."""
        return self._state.held_by_others()

    @property
    def proposals(self) -> list[Proposal]:
        """What can be accepted for the query on the screen, the best first; none once begun."""
        return self._neighbourhood.proposals()

    @property
    def can_undo(self) -> bool:
        return bool(self._state.history.undoable(self._state.states))

    @property
    def can_redo(self) -> bool:
        return bool(self._state.history.redoable(self._state.states))

    @property
    def progress(self) -> Progress:
        """How far all queries of the ledger have come, no matter who answers them."""
        return self._state.progress()

    @property
    def class_voxels(self) -> NDArray[np.int64]:
        """[C] answered voxels in which a class occurs."""
        return self._state.tally.voxels.copy()

    @property
    def class_points(self) -> NDArray[np.int64]:
        """[C] points that were given a class."""
        return self._state.tally.points.copy()

    @property
    def position(self) -> tuple[int, int]:
        """(place of the query on the screen among those that pass the filter, their number)."""
        return self._state.queue.position(self._state.last)

    @property
    def filter(self) -> Filter:
        """Which queries the session goes through."""
        return self._state.queue.filter

    @property
    def order(self) -> str:
        """The order of the queries, a key of `queue.ORDERS`."""
        return self._state.queue.order

    @property
    def set_aside(self) -> dict[str, str]:
        """Scan id -> why it cannot be shown."""
        return self._state.set_aside

    @property
    def warnings(self) -> dict[tuple[str, int], str]:
        """(scan id, round) -> why its stored prediction is not shown."""
        return dict(self._state.views.warnings)

    def query(self, query_id: int) -> Query:
        """A query by its number. Raises ValueError if there is none, or it was released."""
        return self._state.query(query_id)

    def state_of(self, query_id: int) -> str:
        """State of any query."""
        return self._state.states.state(self.query(query_id).id)

    def labels_of(self, query_id: int) -> NDArray[np.uint8]:
        """[n] the current labels of any query."""
        return self._state.states.labels(self.query(query_id).id)

    def matching(self) -> list[int]:
        """The queries that pass the filter, in order."""
        return self._state.queue.matching()

    def in_scan(self, scan: str | None = None) -> list[Query]:
        """All queries of a scan, by number; None: of the one on the screen."""
        return self._state.in_scan(scan or self._shown.scan)

    def nearby(self, radius: float = NEARBY) -> list[NearbyVoxel]:
        """Answered queries within `radius` metres of the one on the screen, the nearest first.

        Of its scan and, where there are poses, of the other scans of the drive.
        """
        return self._neighbourhood.answered(self._shown, radius)

    def nearby_points(self) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        """Points [n, 3] and labels [n] of each of `nearby`, metres, frame of the scan shown.

        Only of the nearest scans that can be read, so that a query opens at once.
        """
        return self._neighbourhood.points()

    def neighbours(self, back: int, forth: int) -> list[NeighbourScan]:
        """Scans before and after the one on the screen; empty where there are no poses."""
        return self._state.views.neighbours(self._state.shown(), back, forth)

    def image(self) -> NDArray[np.uint8] | None:
        """Camera image [H, W, 3] RGB around the voxel, None where there is none."""
        view = self._state.shown()
        return self._source.image(view.query.scan, (view.low + view.high) / 2)

    # To go

    def next(self) -> bool:
        """Show the next query that passes the filter; from the last on to the first.

        Skips queries of scans that cannot be shown, and open ones that somebody else holds.
        Returns False, and shows nothing, when none is left.
        """
        return self._navigator.next()

    def previous(self) -> bool:
        """As `next`, backwards."""
        return self._navigator.next(backwards=True)

    def go_to(self, query_id: int) -> None:
        """Show one query, whether it passes the filter or not.

        Raises ValueError if there is no such query, ScanUnavailableError for its scan.
        """
        self._navigator.go_to(query_id)

    def set_filter(self, filter: Filter) -> bool:
        """Change which queries are shown; stay if the one on the screen passes, else `next`."""
        return self._navigator.set_filter(filter)

    def set_order(self, order: str) -> bool:
        """Change the order of the queries, a key of `queue.ORDERS`."""
        return self._navigator.set_order(order)

    def retry_set_aside(self) -> bool:
        """Read the files again that could not be shown, after somebody has repaired them."""
        return self._navigator.retry_set_aside()

    # To label

    def assign(self, label: int | str) -> None:
        """Give the current part of the voxel a class, then go to the next part or query.

        While other points have no label yet, a draft is written and the query stays open.

        Args:
            label: name of a class, or train id, 255 = no class fits.

        Raises ValueError for a label that is not a class, ConflictError.
        """
        self._labeller.assign(self._train_id(label) if isinstance(label, str) else label)

    def ignore(self) -> None:
        """Record that no class fits the current part of the voxel."""
        self._labeller.assign(IGNORE)

    def repeat(self) -> None:
        """`assign` the class that was given last. Raises ValueError if none was yet."""
        self._labeller.repeat()

    def accept(self, index: int = 0) -> None:
        """Label the voxel as proposed, then go to the next query.

        Raises ValueError if there is no such proposal, ConflictError.
        """
        self._labeller.accept(index)

    def skip(self) -> None:
        """Skip the query: it gives no labels and does not come again. Raises ConflictError."""
        self._labeller.settle(EventKind.SKIP)

    def unsure(self) -> None:
        """Record that the class is unclear: as `skip`, with the reason. Raises ConflictError."""
        self._labeller.settle(EventKind.UNSURE)

    def note(self, text: str) -> None:
        """Add a note to the query. `undo` does not remove it; a later note can correct it."""
        self._labeller.note(text)

    def bulk(self, kind: str, queries: Iterable[int], label: int | None = None) -> BulkResult:
        """Respond to many queries in one action, which is one step of `undo`.

        Queries that somebody else holds or has changed meanwhile are left out.

        Args:
            kind: "answer" (all points get the class `label`), "skip", "unsure" or "ignore".
            queries: their numbers.

        Raises ValueError for an unknown kind, query or label.
        """
        return self._labeller.bulk(kind, queries, label)

    def undo(self) -> BulkResult:
        """Take back this person's last action that is still active, and show its (first) query.

        Raises ValueError if there is nothing to undo, ConflictError if somebody else has the query.
        """
        return self._labeller.undo()

    def redo(self) -> BulkResult:
        """Repeat what the last `undo` took back; as `undo`."""
        return self._labeller.redo()

    def split(
        self,
        method: str,
        *,
        at: float | None = None,
        count: int | None = None,
        distance: float | None = None,
    ) -> None:
        """Split the points that have no label yet (all, if each has one), the largest part first.

        Args:
            method: "prediction"; "height", at `at` metres or where it splits best; or "clusters",
                more than `distance` metres apart, or `count` of them (repeated: one more).

        Raises ValueError for an unknown method, and where no prediction is shown.
        """
        self._splitter.split(method, at, count, distance)

    def paint(self, mask: ArrayLike, erase: bool = False) -> None:
        """Pick points of the voxel, mask [n]; the next class goes to them, then one to the rest.

        Further calls pick more points, or fewer with `erase`.
        """
        self._splitter.paint(mask, erase)

    def whole(self) -> None:
        """Make the voxel one part: the next class goes to all points without one, or to all."""
        self._splitter.whole()

    def step_part(self, by: int) -> None:
        """Choose another part of the voxel, `by` places later."""
        self._splitter.step(by)

    # To keep going

    def touch(self) -> None:
        """Note that the person is there, at any key or mouse move: counts time, renews the lease.

        Does not read what others have done: an action is about what the person has seen.
        """
        self._navigator.touch()

    def sync(self) -> bool:
        """Read the new events of the ledger; True if there are any, by anybody.

        Then requests the second opinions and repeats that are due.
        """
        return self._navigator.sync()

    def close(self) -> None:
        """Give back what is held and close the ledger; closing twice is allowed."""
        try:
            self._navigator.close()
        finally:
            self._state.views.close()
            self._state.ledger.close()

    def __enter__(self) -> LabelSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _train_id(self, name: str) -> int:
        names = list(self.class_names)
        if name not in names:
            raise ValueError(f"unknown class {name!r}: {nearest(name, names)}")
        return names.index(name)

    # What keys do

    def do(self, name: str) -> object:
        """Do the action of this name in `actions`, or ``class N``; returns what it returns.

        Raises ValueError for another name.
        """
        words, actions = name.split(), self.actions()
        if len(words) == 2 and words[0] == "class" and words[1].isdigit():
            return self.assign(int(words[1]))
        if name not in actions:
            raise ValueError(f"a session has no action {name!r}: {nearest(name, actions)}")
        return actions[name]()

    def actions(self) -> dict[str, Callable[[], object]]:
        """What a key can do with a session, by the name that key tables use."""
        return {
            "accept": self.accept,
            "repeat": self.repeat,
            "ignore": self.ignore,
            "skip": self.skip,
            "unsure": self.unsure,
            "undo": self.undo,
            "redo": self.redo,
            "next": self.next,
            "previous": self.previous,
            "whole": self.whole,
            "split prediction": lambda: self.split("prediction"),
            "split height": lambda: self.split("height"),
            "split clusters": lambda: self.split("clusters"),
            "next part": lambda: self.step_part(1),
            "previous part": lambda: self.step_part(-1),
        }

    @property
    def _shown(self) -> Query:
        return self._state.shown().query
