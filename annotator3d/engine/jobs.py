"""Several runs side by side, one process each on one thread: on CPU that uses the cores best.

A folder that already holds the finished run of the same config is not run again, so an experiment
that was stopped continues where it was.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

from annotator3d.data.processes import end_with_parent
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.record import RunRecord
from annotator3d.engine.workdir import WorkDir, WorkDirBusyError
from annotator3d.reporter import Reporter


@dataclass(frozen=True)
class Job:
    """A run; `starts_from` names the job whose last checkpoint initialises it.

    `data_root` is the root of the target and the validation scans, where the config has none.
    """

    name: str
    config: RunConfig
    work_dir: WorkDir
    starts_from: str | None = None
    data_root: str | None = None


def last_checkpoint(job: Job) -> Path:
    return job.work_dir.checkpoints / f"epoch_{job.config.schedule.epochs}.pth"


def run_jobs(
    jobs: Sequence[Job],
    reporter: Reporter,
    workers: int | None = None,
    changed: Callable[[str, str], None] = lambda name, state: None,
    failed: Callable[[str, str], None] | None = None,
) -> int:
    """Train every job, those it starts from first; else in the order given.

    A job in whose folder another process works waits until that one has left it.

    Args:
        workers: processes; default: the cores that this process may use.
        changed: called in this process with a job's name when it is "running" and when it has
            "ended"; also, at first, for those that had ended before, if any is to be run.
        failed: called with the name of a job that failed and why, in words; the others go on, but
            for those that start from it, which have failed, too. None: see Raises.

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
    done = {name for name, job in waiting.items() if is_done(job)}
    for name in done:
        del waiting[name]
    count = len(waiting)
    if not waiting:
        return 0
    for name in done:
        changed(name, "ended")
    workers = min(workers or len(os.sched_getaffinity(0)), count)
    others = set(multiprocessing.active_children())
    slots = _Slots(workers)
    try:
        _Queue(waiting, done, slots, reporter, changed, failed).work_through()
    except BaseException:  # Ctrl-C too; leaving the pools would wait for what is running
        slots.close()
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    slots.close()
    return count


def is_done(job: Job) -> bool:
    """Whether its folder holds the finished run of its config."""
    return RunRecord(job.work_dir, job.config, []).is_done()


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


class _Slots:
    """Places for runs, each with a process of its own: one that dies takes no other with it."""

    def __init__(self, count: int) -> None:
        self._context = prepare_processes()
        self.messages = self._context.Queue()
        self._free = [self._pool() for _ in range(count)]
        self._taken: dict[Future, ProcessPoolExecutor] = {}

    def __len__(self) -> int:
        """Places that are free."""
        return len(self._free)

    def start(self, job: Job) -> Future:
        pool = self._free.pop()
        future = pool.submit(_run, job)
        self._taken[future] = pool
        return future

    def give_back(self, future: Future) -> None:
        pool = self._taken.pop(future)
        if isinstance(future.exception(), BrokenProcessPool):
            pool.shutdown(wait=False)
            pool = self._pool()
        self._free.append(pool)

    def close(self) -> None:
        for pool in [*self._free, *self._taken.values()]:
            pool.shutdown(wait=not self._taken, cancel_futures=True)

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, _begin_worker, (self.messages,))


@dataclass
class _Queue:
    """The jobs of one call of `run_jobs` and how far they are."""

    waiting: dict[str, Job]
    done: set[str]
    slots: _Slots
    reporter: Reporter
    changed: Callable[[str, str], None]
    failed: Callable[[str, str], None] | None
    running: dict[Future, Job] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)  # job that failed -> why
    busy: dict[str, float] = field(default_factory=dict)  # job -> when to try again

    def work_through(self) -> None:
        total = len(self.waiting) + len(self.done)
        while self.waiting or self.running:
            self._start()
            finished, _ = wait(self.running, timeout=0.3, return_when=FIRST_COMPLETED)
            if not self.running and self.waiting:
                time.sleep(0.3)  # all wait for other processes
            _show(self.slots.messages, self.reporter)
            for future in finished:
                self._settle(self.running.pop(future), future)
                self.reporter.progress("runs", len(self.done) + len(self.lost), total)

    def _start(self) -> None:
        """No more than there are places: a pool would begin the next one unasked."""
        now = time.monotonic()
        for name, job in list(self.waiting.items()):
            if name in self.busy and is_done(job):  # another process has trained it
                del self.waiting[name]
                self._end(name)
            elif job.starts_from in self.lost:
                del self.waiting[name]
                self._lose(name, f"it starts from {job.starts_from}, which failed")
            elif job.starts_from in (None, *self.done) and self.busy.get(name, now) <= now:
                if not len(self.slots):
                    return
                self.running[self.slots.start(self.waiting.pop(name))] = job
                if name not in self.busy:
                    self.changed(name, "running")

    def _settle(self, job: Job, future: Future) -> None:
        self.slots.give_back(future)
        error = future.exception()
        if isinstance(error, WorkDirBusyError) and not is_done(job):
            if job.name not in self.busy:
                self.reporter.info(f"{job.name}: {error}; waiting")
            self.busy[job.name] = time.monotonic() + _TRY_AGAIN
            self.waiting = {job.name: job, **self.waiting}
        elif error is None or is_done(job):
            self._end(job.name)
        elif self.failed is None:
            raise RuntimeError(f"{job.name}: {_words(error)}") from error
        else:
            self._lose(job.name, _words(error))

    def _end(self, name: str) -> None:
        self.done.add(name)
        self.changed(name, "ended")

    def _lose(self, name: str, why: str) -> None:
        self.lost[name] = why
        self.failed(name, why)


def _words(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return "its process was killed; is there memory enough for so many runs side by side?"
    return str(error) or type(error).__name__


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


_CLAIM = ".claim"  # locked in the folder of a run from before it reads anything there
_TRY_AGAIN = 2.0  # seconds after which a busy folder is looked at again
_messages = None


def _begin_worker(messages) -> None:
    """One thread; the parent alone decides on Ctrl-C; no parent, no worker."""
    global _messages
    _messages = messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    import torch

    torch.set_num_threads(1)


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
    """Train a job, unless another process has done so by the time that its folder is free.

    A run reads where it continues before it locks its folder. With a lock around all of that, no
    run is begun at a place that another process has moved on from.
    """
    from annotator3d.engine.run import train

    with job.work_dir.lock(_CLAIM):
        if is_done(job):
            return
        train(
            job.config,
            job.work_dir,
            resume=True,  # what is there; a new folder has nothing
            data_root=job.data_root,
            reporter=_Forward(job.name),
            may_grow=False,  # an experiment compares runs of one config
        )
