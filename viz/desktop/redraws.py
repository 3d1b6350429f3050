"""Has every change drawn, and tells when it is on the screen.

The renderer drops a frame without a word while it is still busy with the ones before, as it always
is without a GPU. A picture of a scene that nobody sees settles both: the renderer returns it after
every earlier frame is finished, and the frame that follows is not dropped.
"""

from __future__ import annotations

from collections.abc import Callable


class Redraws:
    """Counts the changes of a window up to what is on the screen.

    Args:
        flush: asks the renderer to finish all frames before the next one. It calls back while the
            window draws, when they are finished.
    """

    def __init__(self, flush: Callable[[Callable[[], None]], None]) -> None:
        self._flush = flush
        self._changes = 1
        self._drawn = 0  # the last change that a frame shows which was not dropped
        self._finished = 0  # the last change that the renderer has finished
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    def begin(self) -> None:
        """What is shown has changed."""
        self._changes += 1

    def when_drawn(self, done: Callable[[], None]) -> None:
        """Call `done` once every change so far is on the screen."""
        self._waiting.append((self._changes, done))

    def tick(self) -> bool:
        """Whether to draw the scene now. Call it once a tick, before the window draws."""
        # Keys that were pressed while the window drew have arrived between that and this tick, so
        # what was finished then counts only from here on.
        ready = [done for change, done in self._waiting if change <= self._finished]
        self._waiting = [wait for wait in self._waiting if wait[0] > self._finished]
        for done in ready:
            done()
        if not self.is_pending:
            return False
        drawn, self._drawn = self._drawn, self._changes
        self._flush(lambda: setattr(self, "_finished", max(self._finished, drawn)))
        return drawn != self._changes

    @property
    def is_pending(self) -> bool:
        """Whether something is not on the screen yet, so that the window has to go on drawing."""
        return self._finished != self._changes
