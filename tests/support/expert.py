"""An expert who labels by the ground truth, through a labelling session.

`Expert` uses the session's public actions only and counts them: a key for each class, a key for
each split, a brush stroke for each drag of the mouse. It shows how many actions voxels need, and
exercises everything that a window calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation import splitting
from annotator3d.annotation.parts import todo_points
from annotator3d.annotation.session import LabelSession
from annotator3d.ledger.records import IGNORE
from annotator3d.viz.camera import Camera
from annotator3d.viz.picking import brush, segment_distance

_PIXELS = 400  # a voxel on the screen when the camera looks at it
_RADII = (24.0, 12.0, 6.0, 3.0)  # sizes of the brush
_VIEWS = (  # right and up of the picture: from above, from two sides
    ((1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 0, 1)),
    ((0, 1, 0), (0, 0, 1)),
)


@dataclass(frozen=True)
class ExpertAnswer:
    """How one query was answered."""

    query: int
    points: int
    classes: int  # of the truth, points of no class not counted
    actions: int  # calls of the session
    how: tuple[str, ...]  # ways of splitting, in turn


@dataclass(frozen=True, eq=False)
class _Way:
    """A way to split the voxel, and the actions until every point has its label."""

    name: str
    actions: int
    calls: list[Callable[[], None]]


class Expert:
    """Answers what a session shows with the truth, by the fewest actions that it finds.

    Args:
        session: a person's.
        truth: scan id -> [N] uint8 train ids of `Scan.xyz`, 255 = no class.
    """

    def __init__(self, session: LabelSession, truth: Callable[[str], NDArray[np.uint8]]) -> None:
        self.session, self._truth = session, truth

    def answer(self) -> ExpertAnswer:
        """Answer the query on the screen; the session then shows the next one."""
        view = self.session.view
        wanted = self._truth(view.scan.id)[view.rows]
        actions, how = 0, []
        while self.session.view is view:
            todo = todo_points(self.session.labels)
            if len(np.unique(wanted[todo])) > 1 and not _is_pure(wanted, self.session.parts.mask):
                way = min(self._ways(wanted, todo), key=lambda way: way.actions)
                for call in way.calls:
                    call()
                how.append(way.name)
                actions += len(way.calls)
            self.session.assign(int(wanted[self.session.parts.mask][0]))
            actions += 1
        classes = len(np.unique(wanted[wanted != IGNORE]))
        return ExpertAnswer(view.query.id, len(wanted), classes, actions, tuple(how))

    def _ways(self, wanted: NDArray[np.uint8], todo: NDArray[np.bool_]) -> list[_Way]:
        """Every way to split the points `todo` [n] so that each part has one wanted class."""
        split, xyz, truth = self.session.split, self.session.view.xyz[todo], wanted[todo]
        predicted = self.session.view.predicted
        ways: list[_Way] = []
        if predicted is not None:
            parts = splitting.by_class(predicted[todo])
            ways += _if_pure("prediction", parts, truth, [partial(split, "prediction")])
        levels = np.unique(xyz[:, 2])
        for at in (levels[:-1] + levels[1:]) / 2:
            parts = splitting.by_height(xyz[:, 2], at)
            ways += _if_pure("height", parts, truth, [partial(split, "height", at=float(at))])
        for count in (2, 3, 4):
            parts = splitting.by_count(xyz, count)
            again = [partial(split, "clusters")] * (count - 2)
            calls = [partial(split, "clusters", count=2), *again]
            ways += _if_pure("clusters", parts, truth, calls)
        return [*ways, _brush(self.session, wanted, todo)]  # of equal ways a key before the mouse


def _is_pure(wanted: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    return len(np.unique(wanted[mask])) == 1


def _if_pure(name: str, parts: NDArray, truth: NDArray, calls: list) -> list[_Way]:
    count = int(parts.max()) + 1
    if all(_is_pure(truth, parts == part) for part in range(count)):
        return [_Way(name, len(calls) + count, calls)]
    return []


def _brush(session: LabelSession, wanted: NDArray[np.uint8], todo: NDArray[np.bool_]) -> _Way:
    """Paint the rarest class now and the next ones after it; the last needs no painting."""
    classes, counts = np.unique(wanted[todo], return_counts=True)
    left, actions, first = todo.copy(), len(classes), []
    for label in classes[np.argsort(counts, kind="stable")][:-1]:
        target = left & (wanted == label)
        strokes = _strokes(session, target, left & ~target)
        first = first or strokes
        actions += len(strokes)
        left &= ~target
    return _Way("brush", actions, [partial(session.paint, mask) for mask in first])


def _strokes(
    session: LabelSession, target: NDArray[np.bool_], others: NDArray[np.bool_]
) -> list[NDArray[np.bool_]]:
    """What each drag of the mouse paints, masks [n], to cover `target` and touch none of `others`.

    In the view and with the brush that need the fewest drags; where no brush can tell points apart,
    each is picked with a click.
    """
    view = session.view
    best = [np.arange(len(target)) == row for row in np.flatnonzero(target)]
    for right, up in _VIEWS:
        camera = _camera((view.low + view.high) / 2, session.ledger.voxel_size, right, up)
        pixels, _ = camera.project(view.xyz)
        for radius in _RADII:
            paths = _paths(pixels[target], pixels[others], radius)
            if paths is not None and len(paths) < len(best):
                best = [brush(camera, view.xyz, path, radius) for path in paths]
    return best


def _paths(
    target: NDArray[np.float64], others: NDArray[np.float64], radius: float
) -> list[NDArray[np.float64]] | None:
    """Drags of a brush over pixels [t, 2] that stay clear of others [o, 2]; None if there are none.

    Each goes on to the nearest point that is still bare, as long as the way there is clear.
    """
    if (np.linalg.norm(target[:, None] - others[None], axis=2) <= radius).any():
        return None
    bare, paths = np.ones(len(target), bool), []
    while bare.any():
        path = [target[bare][0]]
        bare &= segment_distance(target, path[0], path[0]) > radius
        way = _next(target, bare, path[-1], others, radius)
        while way is not None:
            path.append(way)
            bare &= segment_distance(target, *path[-2:]) > radius
            way = _next(target, bare, path[-1], others, radius)
        paths.append(np.array(path))
    return paths


def _next(
    target: NDArray[np.float64],
    bare: NDArray[np.bool_],
    end: NDArray[np.float64],
    others: NDArray[np.float64],
    radius: float,
) -> NDArray[np.float64] | None:
    """The nearest bare pixel that a brush at `end` reaches without touching others."""
    left = target[bare]
    for at in np.argsort(np.linalg.norm(left - end, axis=1), kind="stable"):
        if (segment_distance(others, end, left[at]) > radius).all():
            return left[at]
    return None


def _camera(centre: NDArray[np.float64], size: float, right: tuple, up: tuple) -> Camera:
    """A picture of `_PIXELS` that a voxel fills, without perspective."""
    rotation = np.stack([right, up, np.cross(right, up)]).astype(np.float64)
    view, projection = np.eye(4), np.diag([2 / size, 2 / size, -1 / size, 1.0])
    view[:3, :3], view[:3, 3] = rotation, -rotation @ centre
    return Camera(view, projection, _PIXELS, _PIXELS)
