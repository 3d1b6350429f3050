"""Processes that work on many files, and leave Ctrl-C to the one that started them."""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, resource_tracker


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Started processes. They are not forked: the caller may hold threads (torch), which do not
    survive a fork. A script that asks for several must guard its main part.

    Ctrl-C reaches all processes of a terminal. Here it is blocked: the caller ends the work.
    """
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    resource_tracker.ensure_running()  # first, since it unblocks Ctrl-C when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit it
    try:
        for _ in range(workers):  # each starts one, as long as none is idle
            pool.submit(int)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pool
