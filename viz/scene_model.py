"""What a frontend draws: arrays made from a labelling session and a person's view settings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.review_session import ReviewSession
from annotator3d.annotation.session import LabelSession
from annotator3d.data.scan import rows_of_cells
from annotator3d.ledger.records import IGNORE, UNASSIGNED
from annotator3d.viz.colours import (
    ALIKE,
    DIFFERENT,
    MODES,
    NO_CLASS,
    OPEN_PIN,
    PART,
    PASSED_PIN,
    REVIEW_MODE,
    Colours,
    PointValues,
    classes,
    colours,
)
from annotator3d.viz.view_settings import ViewSettings


class SceneModel:
    """The scan of a session's current query as arrays; `load` makes those of its points.

    Attributes:
        xyz: [N, 3] metres: first the points of the scan, then those of its neighbours.
        queries: numbers of the scan's queries, in the order of `centres`.
        centres: [Q, 3] metres, the middle of their voxels.
    """

    def __init__(
        self, session: LabelSession, palette: Colours, settings: ViewSettings | None = None
    ) -> None:
        self.session, self.palette, self.settings = session, palette, settings or ViewSettings()
        if isinstance(session, ReviewSession):
            self.settings.modes = (*MODES, REVIEW_MODE)
        self._key: tuple | None = None
        self._clear()

    @property
    def is_stale(self) -> bool:
        """Whether other points are to be drawn than `load` has made."""
        return self._key != self._wanted()

    def load(self) -> None:
        """Make the arrays of the current scan; empty ones if there is none."""
        self._key = self._wanted()
        view, size = self.session.view, self.session.ledger.voxel_size
        if view is None:
            self._clear()
            return
        settings, session = self.settings, self.session
        shown = [(view.scan, view.scan.xyz)]
        if settings.accumulated:
            around = session.neighbours(settings.neighbours, settings.neighbours)
            shown += [(near.scan, near.xyz) for near in around]
        self.xyz = np.concatenate([xyz for _, xyz in shown])
        self._intensity = np.concatenate([scan.intensity for scan, _ in shown])
        self._asked = []
        start = 0
        for scan, _ in shown:
            asked = session.in_scan(scan.id)
            rows = rows_of_cells(scan.xyz, [query.cell for query in asked], size)
            pairs = zip(asked, rows, strict=True)
            there = ((q, at) for q, at in pairs if len(at) == q.num_points)
            self._asked += [(q.id, start + q.asked_of(at)) for q, at in there]
            start += len(scan)
        found = session.in_scan()
        self.queries = [query.id for query in found]
        self.centres = (np.array([q.cell for q in found], np.float64).reshape(-1, 3) + 0.5) * size
        self._own = len(view.scan)
        self._prediction = self._spread(
            None if view.prediction is None else view.prediction.classes, IGNORE
        )
        self._confusion = self._spread(
            None if view.prediction is None else view.prediction.score, np.nan
        )
        self._base: tuple[str, Colours] | None = None

    @property
    def values(self) -> PointValues:
        """The properties of each point."""
        return PointValues(
            self.xyz[:, 2], self._intensity, self._prediction, self._answers(), self._confusion
        )

    def colours(self) -> Colours:
        """[N, 3] of all points, by the colour mode; those asked about have colours of their own."""
        if self.settings.mode == "answer":
            found = colours(self.values, "answer", self.palette)
        else:  # these change with the scan only
            mode = "height" if self.settings.mode == REVIEW_MODE else self.settings.mode
            if self._base is None or self._base[0] != mode:
                self._base = (mode, colours(self.values, mode, self.palette))
            found = self._base[1].copy()
        if self.session.view is not None:
            found[self.session.view.rows] = self.current_colours()
        return found

    def current(self) -> NDArray[np.float32]:
        """[n, 3] points that the current query asks about."""
        view = self.session.view
        return np.empty((0, 3), np.float32) if view is None else view.xyz

    def current_colours(self) -> Colours:
        """[n, 3] of the points that the current query asks about: by part and by label."""
        if self.session.view is None:
            return np.empty((0, 3), np.float32)
        labels, parts = self.session.labels, self.session.parts
        if self.settings.mode == REVIEW_MODE and isinstance(self.session, ReviewSession):
            return np.where(self.session.differing[:, None], DIFFERENT, ALIKE)
        found = classes(labels, self.palette, len(labels))
        found[labels == UNASSIGNED] = 1.0
        if parts.count > 1 or (labels == UNASSIGNED).any():
            found[parts.mask] = PART
        return found

    def nearby(self) -> tuple[NDArray[np.float32], Colours]:
        """Points [M, 3] of the answers nearby and their colours, the nearest voxels first."""
        found = []
        if self.settings.nearby and self.session.view is not None:
            found = self.session.nearby_points()
        xyz = [np.empty((0, 3), np.float32), *(points for points, _ in found)]
        labels = [np.empty(0, np.uint8), *(given for _, given in found)]
        given = np.concatenate(labels)
        return np.concatenate(xyz), classes(given, self.palette, len(given))

    def pins(self) -> Colours:
        """[Q, 3] of the heads of the pins, by state; answered: the most frequent class."""
        found = np.tile(OPEN_PIN, (len(self.queries), 1))
        for at, query in enumerate(self.queries):
            state = self.session.state_of(query)
            if state in ("skipped", "unsure"):
                found[at] = PASSED_PIN
            elif state == "disputed":
                found[at] = DIFFERENT
            elif state == "answered":
                labels = self.session.labels_of(query)
                given = labels[labels < len(self.palette)]
                found[at] = self.palette[np.bincount(given).argmax()] if len(given) else NO_CLASS
        return found

    def hidden(self) -> NDArray[np.bool_] | None:
        """Mask [N] of the points that are not drawn; None if all are.

        A point's class is its answer, else its prediction.
        """
        settings = self.settings
        if settings.only is None and not settings.hidden:
            return None
        shown = self._answers()
        if self._prediction is not None:
            shown = np.where(shown == UNASSIGNED, self._prediction, shown)
        gone = np.isin(shown, list(settings.hidden))
        if settings.only is not None:
            gone |= shown != settings.only
        if self.session.view is not None:
            gone[self.session.view.rows] = False  # the queried points are always drawn
        return gone

    def _answers(self) -> NDArray[np.uint8]:
        found = np.full(len(self.xyz), UNASSIGNED, np.uint8)
        for query, rows in self._asked:
            if self.session.state_of(query) == "answered":
                found[rows] = self.session.labels_of(query)
        return found

    def _spread(self, values: NDArray | None, fill: float) -> NDArray | None:
        """Values of the scan's own points, and `fill` for those of its neighbours."""
        if values is None:
            return None
        rest = np.full(len(self.xyz) - self._own, fill, values.dtype)
        return np.concatenate([values, rest])

    def _wanted(self) -> tuple | None:
        view, settings = self.session.view, self.settings
        if view is None:
            return ("nothing",)
        asked = tuple(query.id for query in self.session.in_scan())  # a round may have come since
        return (
            view.query.scan,
            view.query.round,
            asked,
            settings.accumulated and settings.neighbours,
        )

    def _clear(self) -> None:
        self.xyz, self.centres = np.empty((0, 3), np.float32), np.empty((0, 3))
        self._intensity = np.empty(0, np.float32)
        self.queries, self._own = [], 0
        # queries of all scans, the rows of the points that they ask about
        self._asked: list[tuple[int, NDArray[np.int64]]] = []
        self._prediction = self._confusion = self._base = None


def swatch(colour: NDArray, size: int = 18) -> NDArray[np.uint8]:
    """A square of a colour [3] (0..1): [size, size, 3]."""
    return np.tile((np.asarray(colour) * 255).astype(np.uint8), (size, size, 1))
