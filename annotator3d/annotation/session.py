"""The labelling session: everything a person does with queries, without any window.

A window, a browser page or a script shows what the session says and calls it; it keeps nothing of
its own about labels. Every method that changes something appends to the ledger and returns after
the commit, so whatever is drawn afterwards is on disk. All of a session's state is derived from the
ledger's rows: killed at any moment and opened again, it goes on where it was, undo and redo
included. Call a session from the thread that made it only (SQLite insists); it reads scans ahead in
threads of its own.

**To show.** `view` (the scan, the voxel's rows, its box, the stored prediction), `labels` (as they
stand, 254 = not yet), `parts` (`numbers`, `mask`, `current`, `method`: which points the next class
goes to), `state`, `response`, `notes`, `holder` and `held` (who else has the query, and for what),
`proposals`, `nearby()`, `neighbours()`, `image()`, `in_scan()`; `progress`, `class_voxels`,
`class_points`, `position`, `can_undo`, `can_redo`; `set_aside` (scan -> why it cannot be shown),
`warnings`.
`view` is None when nothing is left that the filter lets through.

**To go.** `next`, `previous`, `go_to`, `set_filter`, `set_order`, `retry_set_aside`.

**To label.** `assign`, `ignore`, `accept`, `repeat`, `skip`, `unsure`; for several classes in one
voxel first `split` or `paint`, then `assign` once for each part; `whole` ends the parting,
`step_part` chooses a part. `bulk` answers many queries as one action. `undo`, `redo`, `note`.
`do(name)` calls what `keys.ACTIONS` names, so that a key table drives a session.

**To keep going.** `touch()` on every key and mouse move (idle time, lease); `sync()` every few
seconds (other people's answers; redraw if it returns True); `close()`.

Refusals are ValueErrors whose text is for the person: `ledger.ConflictError` when somebody else was
faster, `views.ScanUnavailableError` when a scan cannot be shown. Nothing is written then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotator3d.annotation import parts as splitting
from annotator3d.annotation.labeller import BulkResult, Labeller
from annotator3d.annotation.parts import VoxelParts, todo_points
from annotator3d.annotation.state import SessionOptions
from annotator3d.errors import nearest

__all__ = ["BulkResult", "LabelSession", "SessionOptions"]

METHODS = ("prediction", "height", "clusters")


class LabelSession(Labeller):
    """See the top of this module; `opening.open_session` makes one from files.

    Args:
        ledger: open for writing; the session closes it.
        source: the scans.
        annotator: who answers. Undo and redo are of this person's actions, in any session.
        predictions: what rounds have stored, such as `proposals.StoredPredictions`.
        options: see `SessionOptions`.
        clock: for tests.

    Raises ConfigError for an option that does not exist, or an annotator without a name.
    """

    def split(
        self,
        method: str,
        *,
        at: float | None = None,
        count: int | None = None,
        distance: float | None = None,
    ) -> None:
        """Part the points that have no label yet (all, if each has one), the largest part first.

        Args:
            method: "prediction"; "height", at `at` metres or where it parts best; or "clusters",
                further apart than `distance` metres, or `count` of them (again: one more).

        Raises ValueError for an unknown method, and where no prediction is to be seen.
        """
        view, labels = self._shown(), self.labels
        todo = todo_points(labels)
        xyz = view.xyz[todo]
        if method == "prediction":
            if view.predicted is None:
                why = "predictions are hidden (blind)" if self.options.blind else "none is stored"
                raise ValueError(f"the voxel cannot be parted by prediction: {why}")
            parts = splitting.by_class(view.predicted[todo])
        elif method == "height":
            at = splitting.best_height(xyz[:, 2]) if at is None else at
            parts = splitting.by_height(xyz[:, 2], at)
        elif method == "clusters" and distance is not None:
            parts = splitting.by_distance(xyz, distance)
        elif method == "clusters":
            again = self.parts.method == method and self.parts.untouched
            parts = splitting.by_count(xyz, count or (self.parts.count + 1 if again else 2))
        else:
            raise ValueError(f"unknown way to part {method!r}: {nearest(method, METHODS)}")
        self._part(todo, parts, method)

    def paint(self, mask: ArrayLike, erase: bool = False) -> None:
        """Pick points of the voxel, mask [n]; the next class goes to them, then one to the rest.

        Further calls pick more points, or fewer with `erase`.
        """
        picked = np.asarray(mask, bool)
        if picked.shape != self.labels.shape:
            raise ValueError(f"a mask [{len(self.labels)}] was expected, got {picked.shape}")
        if self.parts.method == "brush" and self.parts.untouched:
            before = self.parts.numbers == 0
            picked = before & ~picked if erase else before | picked
        elif erase:
            raise ValueError("no points are picked that could be erased")
        todo = todo_points(self.labels)
        if (picked & todo).any():
            self._part(todo, splitting.by_mask(picked[todo]), "brush")
        else:
            self.whole()

    def whole(self) -> None:
        """No parts: the next class goes to all points that have none yet, or to all."""
        self._effort.click()
        self.parts = VoxelParts(self.labels)

    def step_part(self, by: int) -> None:
        """Choose another part of the voxel, `by` places later."""
        self._effort.click()
        self.parts.step(by)

    def do(self, name: str) -> Any:
        """Do what the row `name` of `keys.ACTIONS` says, or ``class N``.

        Raises ValueError for one that the window does by itself.
        """
        words, calls = name.split(), self._calls()
        if len(words) == 2 and words[0] == "class" and words[1].isdigit():
            return self.assign(int(words[1]))
        if name not in calls:
            raise ValueError(f"a session does not do {name!r}: {nearest(name, calls)}")
        return calls[name]()

    def _part(self, todo: NDArray[np.bool_], parts: NDArray[np.int16], method: str) -> None:
        self._effort.click()
        numbers = np.zeros(len(todo), np.int16)
        numbers[todo] = parts
        self.parts = VoxelParts(self.labels, numbers, method)

    def _calls(self) -> dict[str, Callable[[], Any]]:
        plain = ("accept", "repeat", "ignore", "skip", "unsure", "undo", "redo", "next", "previous")
        return {
            **{name: getattr(self, name) for name in (*plain, "whole")},
            **{f"split {how}": partial(self.split, how) for how in METHODS},
            "next part": partial(self.step_part, 1),
            "previous part": partial(self.step_part, -1),
        }
