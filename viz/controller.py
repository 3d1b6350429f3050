"""Passes keys and buttons to the session and has a frontend draw the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.queue import Filter
from annotator3d.annotation.session import LabelSession
from annotator3d.viz.keys import KeyAction, KeyTable
from annotator3d.viz.scene_model import SceneModel

LOG = logging.getLogger("annotator3d.viz")
SYNC_SECONDS = 3.0
_BLINDABLE = ("prediction", "confusion")


class Frontend(Protocol):
    """What draws. It is called only after a change has been committed."""

    def load(self) -> None:
        """Draw another scan; `SceneModel.load` has run."""

    def repaint(self) -> None:
        """Update the colours, the current voxel and the panel."""

    def look_at_voxel(self) -> None:
        """Move the camera to the current voxel, in the chosen view."""

    def say(self, text: str, wrong: bool = False) -> None:
        """Show one line of text; `wrong` marks a refusal or a fault."""

    def ask(self, what: str) -> None:
        """Ask for a ``note``, or for the number to ``go to``."""

    def show_help(self) -> None:
        """Show or hide the help."""

    def show_brush(self, on: bool) -> None:
        """Have the mouse paint, or move the camera."""


class Controller:
    """Carries out actions and has the frontend draw the result.

    Args:
        session: holds the labels.
        keys: the table of actions.
        scene_model: the arrays of the session.
        frontend: draws them.
        failed: called with an error that is not a refusal; the frontend then closes.
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
        self.brushing = False
        self._failed, self._shown, self._synced = failed, None, 0.0
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
        action, own = self.keys.named(name), self._own()
        if action.window:
            own[name]()
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
        if self.session.view is not None and np.any(mask):
            self.session.touch()
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

    def set_mode(self, mode: str) -> None:
        """Colour the points by one of `colours.MODES`."""
        if self.session.options.blind and mode in _BLINDABLE:
            raise ValueError("predictions are hidden (--blind)")
        self.scene_model.settings.mode = mode
        self.frontend.repaint()

    def set_view(self, view: str) -> None:
        """Look at the voxel from one of `camera.VIEWS`."""
        self.scene_model.settings.view = view
        self.frontend.look_at_voxel()
        self.frontend.repaint()

    def set_point_size(self, size: int) -> None:
        self.scene_model.settings.point_size = size
        self.frontend.repaint()

    def set_backdrop(self, name: str) -> None:
        """One of `colours.BACKGROUNDS`."""
        self.scene_model.settings.background = name
        self.frontend.repaint()

    def set_filter(self, passing: Filter) -> None:
        """Go through other queries."""
        self.session.set_filter(passing)
        self.redraw()

    def set_neighbours(self, count: int) -> None:
        """Show this many scans before and after; 0: the single scan."""
        settings = self.scene_model.settings
        settings.accumulated = count > 0
        settings.neighbours = count or settings.neighbours
        if (
            settings.accumulated
            and self.session.view is not None
            and self.session.view.pose is None
        ):
            settings.accumulated = False
            raise ValueError("there are no poses: only the single scan can be shown")
        self.redraw()

    def hide_class(self, label: int, hidden: bool) -> None:
        settings = self.scene_model.settings
        settings.hidden = settings.hidden | {label} if hidden else settings.hidden - {label}
        self.frontend.repaint()

    def show_only(self, label: int | None) -> None:
        """Show only points of one class; None: of all classes."""
        self.scene_model.settings.only = label
        self.frontend.repaint()

    def isolate(self) -> None:
        """Show only points of the voxel's class: its answer, else its prediction. Again: all."""
        settings, view = self.scene_model.settings, self.session.view
        if settings.only is None and view is not None:
            labels = self.session.labels
            known = labels[labels < len(self.scene_model.palette)]
            if not len(known) and view.predicted is not None:
                known = view.predicted[view.predicted < len(self.scene_model.palette)]
            if not len(known):
                raise ValueError("the voxel has no class yet to isolate")
            self.show_only(int(np.bincount(known).argmax()))
        else:
            self.show_only(None)

    def _own(self) -> dict[str, Callable[[], None]]:
        """The actions that change only the view."""
        settings = self.scene_model.settings
        return {
            "brush": self._toggle_brush,
            "note": lambda: self.frontend.ask("note"),
            "go to": lambda: self.frontend.ask("go to"),
            "focus": self.frontend.look_at_voxel,
            "view": self._next_view,
            "colour": self._next_mode,
            "neighbours": lambda: self.set_neighbours(
                0 if settings.accumulated else settings.neighbours
            ),
            "isolate": self.isolate,
            "background": lambda: self._change(lambda: settings.cycle("background")),
            "larger": lambda: self._change(lambda: settings.resize(1)),
            "smaller": lambda: self._change(lambda: settings.resize(-1)),
            "help": self.frontend.show_help,
        }

    def _change(self, change: Callable[[], None]) -> None:
        change()
        self.frontend.repaint()

    def _next_mode(self) -> None:
        settings = self.scene_model.settings
        settings.cycle("mode")
        while self.session.options.blind and settings.mode in _BLINDABLE:
            settings.cycle("mode")
        self.frontend.repaint()

    def _next_view(self) -> None:
        self.scene_model.settings.cycle("view")
        self.set_view(self.scene_model.settings.view)

    def _toggle_brush(self) -> None:
        self.brushing = not self.brushing
        self.frontend.show_brush(self.brushing)

    def _stop_brush(self) -> None:
        if self.brushing:
            self._toggle_brush()


def _done(action: KeyAction) -> str:
    """The action in words; for a class also its guidance, so that people learn it."""
    return f"{action.text}: {action.help}" if action.name.startswith("class ") else action.text
