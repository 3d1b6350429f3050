"""Signals that end the process while Open3D runs its loop.

Python handles a signal in the midst of whatever it does, mostly a callback here, and an exception
that leaves a callback of Open3D hangs or crashes the process. So the signal is noted, the window
closes at the next tick, and the handler that was there before acts when the loop has ended.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Within its ``with`` block the first signal is noted, and acts at the end of the block.

    A signal that is ignored stays ignored, as does one whose handler is not Python's. Outside the
    main thread, where Python allows no handler, nothing is changed.

    Attributes:
        number: of the signal that came; 0: none yet.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if callable(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.number:
            self._before[self.number](self.number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
