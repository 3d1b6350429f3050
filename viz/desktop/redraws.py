"""When a window has to be drawn again, so that what is on the screen never lags behind for long.

The renderer drops a frame without a word when it is still busy with the ones before, as it always
is without a GPU. Whether a frame was shown cannot be asked. So a change is drawn at every tick for
a while, and then again at intervals that grow: the last change reaches the screen however many
frames are dropped.
"""

from __future__ import annotations

from collections.abc import Callable

BURST_SECONDS = 0.5  # of drawing at every tick after a change
LONGEST_SECONDS = 8.0  # between two frames of a window in which nothing happens


class Redraws:
    """Counts down to the next frame. Args: clock: seconds, such as `time.monotonic`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """What is shown has changed."""
        self._changed = self._next = self._clock()

    def due(self) -> bool:
        """Whether to draw now; call it once a tick."""
        now = self._clock()
        if now < self._next:
            return False
        since = now - self._changed
        wait = 0.0 if since < BURST_SECONDS else min(since, LONGEST_SECONDS)
        self._next = now + wait
        return True
