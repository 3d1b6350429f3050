"""Several runs side by side, one process each on one thread: on CPU that uses the cores best.

A folder that already holds the finished run of the same config is not run again, so an experiment
that was stopped continues where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.record import RunRecord
from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter


@dataclass(frozen=True)
class Job:
    """A run; `starts_from` names the job whose last checkpoint initialises it."""

    name: str
    config: RunConfig
    work_dir: WorkDir
    starts_from: str | None = None


def last_checkpoint(job: Job) -> Path:
    return job.work_dir.checkpoints / f"epoch_{job.config.schedule.epochs}.pth"


def run_jobs(
    jobs: Sequence[Job],
    reporter: Reporter,
    workers: int | None = None,
    changed: Callable[[str, str], None] = lambda name, state: None,
) -> int:
    """Train every job, those it starts from first.

    Args:
        workers: processes; default: the cores that this process may use.
        changed: called in this process with a job's name when it is "running" and when it has
            "ended"; also, at first, for those that had ended before, if any is to be run.

    Returns:
        how many jobs were not done yet.

    Raises:
        RuntimeError: a job failed. The others are stopped, as on Ctrl-C; the next call continues
            from their checkpoints.
    """
    by_name = {job.name: job for job in jobs}
    waiting = {
        job.name: replace(job, config=replace(job.config, init=_init(job, by_name))) for job in jobs
    }
    done = {n for n, job in waiting.items() if RunRecord(job.work_dir, job.config, []).is_done()}
    for name in done:
        del waiting[name]
    count = len(waiting)
    if not waiting:
        return 0
    for name in done:
        changed(name, "ended")
    workers = min(workers or len(os.sched_getaffinity(0)), count)
    context = prepare_processes()
    messages = context.Queue()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _begin_worker, (messages,)) as pool:
        try:
            _work_through(waiting, done, workers, pool, messages, reporter, changed)
        except BaseException:  # Ctrl-C too; leaving the pool would wait for what is running
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise
    return count


def prepare_processes() -> ForkServerContext:
    """Begin to import, in a process of its own, what runs need; early, that costs no time.

    Runs are forked from that process, which has done nothing else: imports take longer than a small
    run.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "annotator3d.engine.run",
            "matplotlib.pyplot",
            "torch._dynamo",
            "annotator3d.engine.fork_source",
        ]
    )
    forkserver.ensure_running()
    return context


def _work_through(
    waiting: dict[str, Job],
    done: set[str],
    workers: int,
    pool: ProcessPoolExecutor,
    messages,
    reporter: Reporter,
    changed: Callable[[str, str], None],
) -> None:
    total = len(waiting) + len(done)
    running: dict[Future, str] = {}
    while waiting or running:
        ready = [n for n, job in waiting.items() if job.starts_from in (None, *done)]
        for name in ready[: workers - len(running)]:  # no more: the pool would begin them unasked
            running[pool.submit(_run, waiting.pop(name))] = name
            changed(name, "running")
        finished, _ = wait(running, timeout=0.3, return_when=FIRST_COMPLETED)
        _show(messages, reporter)
        for future in finished:
            name = running.pop(future)
            if error := future.exception():
                raise RuntimeError(f"{name}: {error}") from error
            done.add(name)
            changed(name, "ended")
            reporter.progress("runs", len(done), total)


def _init(job: Job, by_name: dict[str, Job]) -> str | None:
    if job.starts_from is None:
        return job.config.init
    return str(last_checkpoint(by_name[job.starts_from]))


def _show(messages, reporter: Reporter) -> None:
    while True:
        try:
            kind, *rest = messages.get_nowait()
        except queue.Empty:
            return
        if kind == "info":
            reporter.info(*rest)
        else:
            reporter.progress(*rest)


_messages = None


def _begin_worker(messages) -> None:
    """One thread; the parent alone decides on Ctrl-C; no parent, no worker."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


class _Forward(Reporter):
    """Sends to the parent what a run tells its user, a few times a second at most."""

    def __init__(self, name: str) -> None:
        self.name, self.sent = name, {}

    def info(self, text: str) -> None:
        _messages.put(("info", f"{self.name}: {text}"))

    def progress(self, task: str, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if self.sent.get(task) != percent:
            self.sent[task] = percent
            _messages.put(("progress", f"{self.name}: {task}", done, total))


def _run(job: Job) -> None:
    from annotator3d.engine.run import train

    train(
        job.config,
        job.work_dir,
        resume=job.work_dir.path.exists(),
        reporter=_Forward(job.name),
        may_grow=False,  # an experiment compares runs of one config
    )
