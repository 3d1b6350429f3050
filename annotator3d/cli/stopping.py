"""Ends a session of work when its process is told to end, so that what it holds is given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from annotator3d.errors import RunStoppedError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(KeyboardInterrupt):
    """Passes through whatever handles errors, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run_until_stopped(work: Callable[[], None], saved: str) -> None:
    """Have Ctrl-C, SIGTERM and SIGHUP unwind `work`; what comes after the first is ignored.

    A signal that is ignored stays ignored. Outside the main thread, where Python allows no handler,
    nothing is changed.

    Args:
        saved: what is kept, in words.

    Raises:
        RunStoppedError: with the number of the signal, once `work` has been left.
    """
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise _Stop(number)

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    came = 0
    try:
        work()
    except KeyboardInterrupt as stopped:
        came = getattr(stopped, "number", signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise RunStoppedError(came, saved)
