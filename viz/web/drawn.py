"""Learns from the browser when it has drawn what was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_PIXELS = 8
_SECONDS = 60.0  # a page in the background draws nothing until it is looked at again


class DrawnPictures:
    """Has the browser send a small picture: it draws everything that was sent before first.

    What a person does before the browser has drawn it arrives before that picture.

    Args:
        client: one of viser's.
        enqueue: runs a call in the session's thread.
    """

    def __init__(self, client: Any, enqueue: Callable[[Callable[[], None]], None]) -> None:
        self._client, self._enqueue = client, enqueue
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._is_asking = False

    def when_drawn(self, done: Callable[[], None]) -> None:
        """Call `done` in the session's thread once all that was sent so far is drawn."""
        with self._lock:
            self._waiting.append(done)
            if self._is_asking:
                return
            self._is_asking = True
        threading.Thread(target=self._ask, name="drawn", daemon=True).start()

    def _ask(self) -> None:
        while True:
            with self._lock:
                waiting, self._waiting = self._waiting, []
                self._is_asking = bool(waiting)
            if not waiting:
                return
            if self._is_drawn():
                for done in waiting:
                    self._enqueue(done)

    def _is_drawn(self) -> bool:
        """Wait for the picture; False if the browser has left or cannot draw."""
        while True:
            try:
                self._client.get_render(
                    _PIXELS, _PIXELS, wxyz=(1, 0, 0, 0), position=(0, 0, 0), fov=1.0,
                    timeout=_SECONDS,
                )  # fmt: skip
                return True
            except TimeoutError:
                continue
            except RuntimeError:
                return False
