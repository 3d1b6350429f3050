"""What the window shows, as a JSON file: for tests and for anybody who drives the viewer.

Written where the environment variable ANNOTATOR3D_VIEWER_STATE says, after each change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.data.files import atomic_write


class StateFile:
    """Args: path: the file; None or empty: nothing is written."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None
        self.dialog: dict[str, Any] = {}
        self._presses: list[tuple[str, float]] = []
        self._frames: dict[str, Any] = {}

    def pressed(self, key: str, seconds: float) -> None:
        """Note what a key press took, until the picture was changed."""
        self._presses.append((key, seconds))

    def moved(self, panel: Any, widget: Any) -> bool:
        """Whether widgets are elsewhere than was written: they are laid out after a callback."""
        return self._frames != self._found(panel, widget)

    def write(
        self,
        controller: Any,
        panel: Any,
        camera: Any,
        widget: Any,
        help_is_open: bool,
        is_flying: bool,
    ) -> None:
        session, settings = controller.session, controller.scene_model.settings
        query = session.current
        self._frames = self._found(panel, widget)
        state = {
            "query": None if query is None else query.id,
            "scan": None if query is None else query.scan,
            "state": None if query is None else session.state,
            "message": panel.message.text,
            "mode": settings.mode,
            "brushing": controller.brushing,
            "parts": session.parts.count,
            "help": help_is_open,
            "accumulated": settings.accumulated,
            "view": settings.view,
            "flying": is_flying,
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
            pixels, _ = camera().project(controller.scene_model.current())
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
