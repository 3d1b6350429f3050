"""Changes what a person sees, and no label: the actions and lists of the view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from annotator3d.viz.frontend import Frontend
from annotator3d.viz.scene_model import SceneModel

_PREDICTED = ("prediction", "confusion")  # colour modes that `--blind` refuses


class ViewControls:
    """Changes the view settings of a scene model and has them drawn.

    Args:
        scene_model: its `settings` are changed.
        frontend: draws other colours of the same points.
        redraw: has other points drawn too.
    """

    def __init__(
        self,
        scene_model: SceneModel,
        frontend: Frontend,
        redraw: Callable[[], None],
    ) -> None:
        self._model, self._session = scene_model, scene_model.session
        self._settings = scene_model.settings
        self._frontend, self._redraw = frontend, redraw

    def actions(self) -> dict[str, Callable[[], None]]:
        """The actions of the key table that change only the view, by name."""
        return {
            "focus": self._frontend.look_at_voxel,
            "view": self._next_view,
            "colour": self._next_mode,
            "neighbours": self._toggle_neighbours,
            "isolate": self.isolate,
            "background": lambda: self._change(lambda: self._settings.cycle("background")),
            "larger": lambda: self._change(lambda: self._settings.resize(1)),
            "smaller": lambda: self._change(lambda: self._settings.resize(-1)),
        }

    def set_mode(self, mode: str) -> None:
        """Colour the points by one of `colours.MODES`.

        Raises ValueError for what the session hides.
        """
        if self._session.options.blind and mode in _PREDICTED:
            raise ValueError("predictions are hidden (--blind)")
        self._settings.mode = mode
        self._frontend.repaint()

    def set_view(self, view: str) -> None:
        """Look at the voxel from one of `camera.VIEWS`."""
        self._settings.view = view
        self._frontend.look_at_voxel()
        self._frontend.repaint()

    def set_point_size(self, pixels: int) -> None:
        self._settings.point_size = pixels
        self._frontend.repaint()

    def set_background(self, name: str) -> None:
        """One of `colours.BACKGROUNDS`."""
        self._settings.background = name
        self._frontend.repaint()

    def set_neighbours(self, count: int) -> None:
        """Show this many scans before and after; 0: the single scan.

        Raises ValueError where the scans have no poses.
        """
        settings, view = self._settings, self._session.view
        settings.accumulated = count > 0
        settings.neighbours = count or settings.neighbours
        if settings.accumulated and view is not None and view.pose is None:
            settings.accumulated = False
            raise ValueError("there are no poses: only the single scan can be shown")
        self._redraw()

    def show_nearby(self, shown: bool) -> None:
        """Draw the answers nearby in their colours, or not."""
        self._settings.nearby = shown
        self._frontend.repaint()

    def hide_class(self, label: int, hidden: bool) -> None:
        """Hide the points of a train id, or show them again."""
        others = self._settings.hidden - {label}
        self._settings.hidden = others | {label} if hidden else others
        self._frontend.repaint()

    def show_only(self, label: int | None) -> None:
        """Show only points of one class; None: of all classes."""
        self._settings.only = label
        self._frontend.repaint()

    def isolate(self) -> None:
        """Show only points of the voxel's class: its answer, else its prediction. Again: all.

        Raises ValueError where the voxel has neither.
        """
        view = self._session.view
        if self._settings.only is not None or view is None:
            self.show_only(None)
            return
        count = len(self._model.palette)
        known = self._session.labels[self._session.labels < count]
        if not len(known) and view.predicted is not None:
            known = view.predicted[view.predicted < count]
        if not len(known):
            raise ValueError("the voxel has no class yet to isolate")
        self.show_only(int(np.bincount(known).argmax()))

    def _toggle_neighbours(self) -> None:
        settings = self._settings
        self.set_neighbours(0 if settings.accumulated else settings.neighbours)

    def _next_mode(self) -> None:
        self._settings.cycle("mode")
        while self._session.options.blind and self._settings.mode in _PREDICTED:
            self._settings.cycle("mode")
        self._frontend.repaint()

    def _next_view(self) -> None:
        self._settings.cycle("view")
        self.set_view(self._settings.view)

    def _change(self, change: Callable[[], None]) -> None:
        change()
        self._frontend.repaint()
