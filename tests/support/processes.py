"""Processes for tests, forked from one that has imported everything: they start in no time.

What a test runs in them is a function of a module in this folder, so that it can be found there.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(  # what a run imports, late imports of others included
    ["annotator3d.engine.run", "torch._dynamo"]
    + [f"annotator3d.cli.{name}" for name in ("main", "parser", "terminal")]
    + [f"annotator3d.models.{name}" for name in ("minkunet", "polarnet", "salsanext", "spvcnn")]
    + ["matplotlib.pyplot", "matplotlib.backends.backend_agg", "annotator3d.engine.fork_source"]
)


HANGS_AFTER = 100  # seconds in which no test's process is still at work


def start(function: Callable, *args, env: dict[str, str], log: Path):
    """Start ``function(*args)`` in a process of one thread; what it prints goes to `log`."""
    process = CONTEXT.Process(target=_child, args=(function, args, env, str(log)), daemon=False)
    process.start()
    process.log = log
    return process


@contextmanager
def ranks(size: int, function: Callable, *args, log: Path) -> Iterator[list]:
    """``function(*args)`` in `size` processes of one run, which end with the block.

    They meet in a store of this process, as torchrun's do in its own: no port can be taken away.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    world = {
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    processes = []
    try:
        for rank in range(size):
            env = {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            path = log.with_name(f"{log.name}.{rank}")
            processes.append(start(function, *args, env=env, log=path))
        yield processes
    finally:
        for process in processes:
            process.kill()


def run_ranks(size: int, function: Callable, *args, log: Path) -> list[int]:
    """The exit codes of `ranks`; fails if a process hangs."""
    with ranks(size, function, *args, log=log) as processes:
        return [ended(process) for process in processes]


def ended(process) -> int:
    """The exit code; for one that hangs, what all of its run said and where their threads are."""
    process.join(HANGS_AFTER + 20)
    if process.is_alive():
        logs = sorted(process.log.parent.glob(f"{process.log.stem}*"))
        said = "\n".join(f"{path.name}:\n{path.read_text()}" for path in logs)
        pytest.fail(f"the process of {process.log.name} hung\n{said}")
    return process.exitcode


def _child(function: Callable, args: tuple, env: dict[str, str], log: str) -> None:
    with open(log, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(env)
    faulthandler.dump_traceback_later(HANGS_AFTER)
    # Processes that read scans are forked as in any run, not from a server that imports again.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    code = 1
    try:
        code = function(*args) or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
