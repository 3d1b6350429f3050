"""Processes for tests, forked from one that has imported everything: they start in no time.

What a test runs in them is a function of a module in this folder, so that it can be found there.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(  # what a run imports, late imports of others included
    ["annotator3d.engine.run", "annotator3d.terminal", "matplotlib.pyplot", "torch._dynamo"]
)


def start(function: Callable, *args, env: dict[str, str], log: Path):
    """Start ``function(*args)`` in a process of one thread; what it prints goes to `log`."""
    process = CONTEXT.Process(target=_child, args=(function, args, env, str(log)), daemon=False)
    process.start()
    return process


def start_ranks(size: int, function: Callable, *args, log: Path) -> list:
    """Start ``function(*args)`` in `size` processes of one run, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        start(
            function,
            *args,
            env={**world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            log=log.with_name(f"{log.name}.{rank}"),
        )
        for rank in range(size)
    ]


def run_ranks(size: int, function: Callable, *args, log: Path) -> list[int]:
    """`start_ranks`, then the exit codes; fails if a process hangs."""
    processes = start_ranks(size, function, *args, log=log)
    try:
        return [ended(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def ended(process, timeout: float = 120) -> int:
    process.join(timeout)
    assert not process.is_alive(), f"process {process.pid} hung"
    return process.exitcode


def _child(function: Callable, args: tuple, env: dict[str, str], log: str) -> None:
    with open(log, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(env)
    # Processes that read scans are forked as in any run, not from a server that imports anew.
    multiprocessing.set_start_method("fork", force=True)
    import torch

    torch.set_num_threads(1)
    code = 1
    try:
        code = function(*args) or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
