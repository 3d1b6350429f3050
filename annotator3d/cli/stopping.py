"""Ends a session of work when its process is told to end, so that what it holds is given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from annotator3d.errors import RunStoppedError

Result = TypeVar("Result")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(KeyboardInterrupt):
    """Passes through whatever handles errors, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run_until_stopped(work: Callable[[], Result], saved: str) -> Result:
    """Have Ctrl-C, SIGTERM and SIGHUP unwind `work`; what comes after the first is ignored.

    A signal that is ignored stays ignored. Outside the main thread, where Python allows no handler,
    nothing is changed.

    Args:
        saved: what is kept, in words.

    Returns:
        what `work` returns.

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
    try:
        return work()
    except KeyboardInterrupt as stopped:
        came = getattr(stopped, "number", signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise RunStoppedError(came, saved)
