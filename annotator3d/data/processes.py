"""Processes that work for another one: they leave Ctrl-C to it, and end when it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Started processes. They are not forked: the caller may hold threads (torch), which do not
    survive a fork. A script that asks for several must guard its main part.

    Ctrl-C reaches all processes of a terminal. Here it is blocked: the caller ends the work.
    """
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
    )
    resource_tracker.ensure_running()  # first, since it unblocks Ctrl-C when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit it
    try:
        for _ in range(workers):  # each starts one, as long as none is idle
            pool.submit(int)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pool


def end_with_parent() -> None:
    """Let this process end as soon as the one that started it has ended, however it was killed.

    A process that waits for work would wait for ever: it holds an end of the pipe itself.
    """
    threading.Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
