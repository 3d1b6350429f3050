"""Passes keys and buttons to the session and has a frontend draw the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.queue import Filter
from annotator3d.annotation.session import LabelSession
from annotator3d.viz.frontend import Frontend
from annotator3d.viz.keys import KeyAction, KeyTable
from annotator3d.viz.scene_model import SceneModel
from annotator3d.viz.view_controls import ViewControls

LOG = logging.getLogger("annotator3d.viz")
SYNC_SECONDS = 3.0


class Controller:
    """Carries out actions and has the frontend draw the result.

    Args:
        session: holds the labels.
        keys: the table of actions.
        scene_model: the arrays of the session.
        frontend: draws them.
        failed: called with an error that is not a refusal; the frontend then closes.

    Attributes:
        view: changes what is seen, and no label.
        brushing: whether the mouse paints.
        is_seen: whether the voxel that an answer would go to is on the screen. Until then answers
            are refused: the person who gives them looks at another voxel.
    """

    def __init__(
        self,
        session: LabelSession,
        keys: KeyTable,
        scene_model: SceneModel,
        frontend: Frontend,
        failed: Callable[[Exception], None],
    ) -> None:
        self.session, self.keys, self.scene_model, self.frontend = (
            session,
            keys,
            scene_model,
            frontend,
        )
        self.view = ViewControls(scene_model, frontend, self.redraw)
        self.brushing = False
        self._failed, self._shown, self._synced = failed, None, 0.0
        self._subject: object = None  # what an answer goes to, as it was drawn last
        self._turn = self._seen = 0  # counts the subjects; the one that is on the screen
        self._aside: set[str] = set()
        self._troubles: set[str] = set()

    def guard(self, call: Callable[[], None]) -> None:
        """Run the body of a toolkit's callback, which must not raise.

        A refusal (ValueError) is shown. Any other error is logged and ends the frontend; all
        answers that were shown are in the ledger.
        """
        try:
            try:
                call()
            except ValueError as refusal:
                self.frontend.say(str(refusal), wrong=True)
                self.redraw()
        except Exception as error:
            LOG.exception("error in the viewer")
            self._failed(error)

    def press(self, key: str) -> bool:
        """Do the action of a key; False if it has none. Every key renews the leases."""
        action = self.keys.action(key)
        if action is None:
            self.session.touch()
            return False
        self.act(action.name)
        return True

    def act(self, name: str) -> None:
        """Do an action of the key table."""
        self.session.touch()
        action = self.keys.named(name)
        if action.answers and not self.is_seen:
            self._refuse(action.text)
        elif action.window:
            self._window_actions()[name]()
        else:
            self.session.do(name)
            self.frontend.say(_done(action))
            self.redraw()

    def start(self) -> None:
        """Draw for the first time."""
        self.redraw()
        for (scan, round), why in self.session.warnings.items():
            self.frontend.say(
                f"scan {scan}, round {round}: no prediction is shown: {why}", wrong=True
            )

    def redraw(self) -> None:
        """Draw the present state of the session."""
        if self.scene_model.is_stale:
            self.scene_model.load()
            self.frontend.load()
        query = self.session.current
        shown = None if query is None else query.id
        if shown != self._shown:
            self._shown = shown
            self._stop_brush()
            if shown is not None:
                self.frontend.look_at_voxel()
            else:
                self.frontend.say("Nothing is left to answer here.")
        self._name_set_aside()
        self.frontend.repaint()
        if (subject := self.session.subject) != self._subject:
            self._subject = subject
            self._turn = turn = self._turn + 1
            self.frontend.when_drawn(lambda: setattr(self, "_seen", turn))

    @property
    def is_seen(self) -> bool:
        return self._seen == self._turn and self._subject == self.session.subject

    def _refuse(self, what: str) -> None:
        query = self.session.current
        voxel = "the voxel" if query is None else f"voxel {query.id}"
        self.frontend.say(f"{what}: ignored, because {voxel} was not on the screen yet", wrong=True)

    def _name_set_aside(self) -> None:
        """Say once why a scan cannot be shown; its queries wait."""
        new = [scan for scan in self.session.set_aside if scan not in self._aside]
        self._aside = set(self.session.set_aside)
        if new:
            why = "; ".join(f"scan {scan} is set aside: {self.session.set_aside[scan]}"
                            for scan in new)  # fmt: skip
            self.frontend.say(why, wrong=True)

    def photo(self) -> NDArray[np.uint8] | None:
        """Camera image [H, W, 3] of the voxel, or None. A fault of its file is shown once."""
        try:
            return None if self.session.view is None else self.session.image()
        except (OSError, ValueError) as error:
            if str(error) not in self._troubles:
                self._troubles.add(str(error))
                self.frontend.say(f"no camera image is shown: {error}", wrong=True)
            return None

    def tick(self, now: float | None = None) -> bool:
        """Take over the work of others, every few seconds; True if the picture changed."""
        now = time.monotonic() if now is None else now
        if now - self._synced < SYNC_SECONDS:
            return False
        self._synced = now
        if not self.session.sync():
            return False
        self.redraw()
        return True

    def paint(self, mask: NDArray[np.bool_], erase: bool = False) -> None:
        """Paint or erase the points of a mask [n] over the current voxel."""
        if self.session.view is None or not np.any(mask):
            return
        self.session.touch()
        if not self.is_seen:
            self._refuse("Brush")
        else:
            self.session.paint(mask, erase)
            self.redraw()

    def write_note(self, text: str) -> None:
        self.session.note(text)
        self.frontend.say("note saved")
        self.redraw()

    def go_to(self, number: str) -> None:
        if not number.strip().isdigit():
            raise ValueError(f"expected the number of a voxel, got {number!r}")
        self.session.go_to(int(number))
        self.redraw()

    def set_filter(self, passing: Filter) -> None:
        """Go through other queries."""
        self.session.set_filter(passing)
        self.redraw()

    def _window_actions(self) -> dict[str, Callable[[], None]]:
        """The actions that change no label."""
        return {
            **self.view.actions(),
            "brush": self._toggle_brush,
            "note": lambda: self.frontend.ask("note"),
            "go to": lambda: self.frontend.ask("go to"),
            "help": self.frontend.show_help,
        }

    def _toggle_brush(self) -> None:
        self.brushing = not self.brushing
        self.frontend.show_brush(self.brushing)

    def _stop_brush(self) -> None:
        if self.brushing:
            self._toggle_brush()


def _done(action: KeyAction) -> str:
    """The action in words; for a class also its guidance, so that people learn it."""
    return f"{action.text}: {action.help}" if action.name.startswith("class ") else action.text
