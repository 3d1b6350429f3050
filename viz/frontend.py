"""What the controller asks of a window, of a page in a browser, or of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Frontend(Protocol):
    """What draws. It is called only after a change has been committed."""

    def load(self) -> None:
        """Draw another scan; `SceneModel.load` has run."""

    def repaint(self) -> None:
        """Update the colours, the current voxel and the panel."""

    def when_drawn(self, done: Callable[[], None]) -> None:
        """Call `done` once all that was drawn so far is on the screen, and not before.

        What a person does before he can see it must reach the controller before `done`.
        """

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
