"""What the window shows, as a JSON file: for tests and other programs that drive the viewer.

It is written after each change to the path in the environment variable ANNOTATOR3D_VIEWER_STATE.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.data.files import atomic_write


class StateFile:
    """Args: path: the file; None or "": nothing is written."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None
        self.dialog: dict[str, Any] = {}
        self._presses: list[tuple[str, float]] = []
        self._frames: dict[str, Any] = {}

    def pressed(self, key: str, seconds: float) -> None:
        """Note how long a key press took, until the picture was changed."""
        self._presses.append((key, seconds))

    def moved(self, panel: Any, widget: Any) -> bool:
        """Whether widgets have moved since the last write: layout follows a callback."""
        return self._frames != self._found(panel, widget)

    def write(self, controller: Any, panel: Any, view: Any, help_is_open: bool) -> None:
        """Write the state of a window: its controller, panel and scene view."""
        session, settings = controller.session, controller.scene_model.settings
        query, widget = session.current, view.widget
        self._frames = self._found(panel, widget)
        state = {
            "query": None if query is None else query.id,
            "scan": None if query is None else query.scan,
            "state": None if query is None else session.state,
            "seen": controller.is_seen,
            "message": panel.message.text,
            "mode": settings.mode,
            "brushing": controller.brushing,
            "parts": session.parts.count,
            "help": help_is_open,
            "accumulated": settings.accumulated,
            "view": settings.view,
            "flying": view.pilot.is_flying,
            "background": settings.background,
            "point_size": settings.point_size,
            "hidden": 0 if (gone := controller.scene_model.hidden()) is None else int(gone.sum()),
            "points": len(controller.scene_model.xyz),
            "typing": panel.is_asking,
            "typed": panel.text.text_value,
            "presses": self._presses[-50:],
            **self._frames,
        }
        if query is not None and widget.frame.width > 0:
            frame = widget.frame
            pixels, _ = view.camera().project(controller.scene_model.current())
            state["voxel"] = np.round(np.nan_to_num(pixels) + [frame.x, frame.y], 1).tolist()
        with atomic_write(self.path) as file:
            file.write(json.dumps(state).encode())

    def _found(self, panel: Any, widget: Any) -> dict[str, Any]:
        return {
            "buttons": {name: _frame(button) for name, button in panel.buttons.items()},
            "dialog": {name: _frame(button) for name, button in self.dialog.items()},
            "quit": _frame(panel.quit),
            "scene": _frame(widget),
        }


def _frame(widget: Any) -> list[int]:
    frame = widget.frame
    return [frame.x, frame.y, frame.width, frame.height]
