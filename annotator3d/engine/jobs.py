"""Several runs side by side, one process each on one thread: on CPU that uses the cores best.

A folder that already holds the finished run of the same config is not run again, so an experiment
that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from annotator3d.engine.config import RunConfig, dump_config
from annotator3d.engine.screen import Screen


@dataclass(frozen=True)
class Job:
    """A run; `starts_from` names the job whose last checkpoint initialises it."""

    name: str
    config: RunConfig
    work_dir: Path
    starts_from: str | None = None


def last_checkpoint(job: Job) -> Path:
    return job.work_dir / "checkpoints" / f"epoch_{job.config.schedule.epochs}.pth"


def run_jobs(jobs: Sequence[Job], screen: Screen, workers: int | None = None) -> None:
    """Train every job, those it starts from first.

    Args:
        workers: processes; default: the cores that this process may use.

    Raises:
        RuntimeError: a job failed; the others that had begun are ended first.
    """
    by_name = {job.name: job for job in jobs}
    waiting = {
        job.name: replace(job, config=replace(job.config, init=_init(job, by_name))) for job in jobs
    }
    done = {name for name, job in waiting.items() if _is_done(job)}
    for name in done:
        del waiting[name]
    if not waiting:
        return
    workers = workers or len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        messages = manager.Queue()
        with ProcessPoolExecutor(
            min(workers, len(waiting)), context, _one_thread, (messages,)
        ) as pool:
            running: dict[Future, str] = {}
            while waiting or running:
                for name, job in list(waiting.items()):
                    if job.starts_from is None or job.starts_from in done:
                        running[pool.submit(_run, waiting.pop(name))] = name
                finished, _ = wait(running, timeout=0.3, return_when=FIRST_COMPLETED)
                _show(messages, screen)
                for future in finished:
                    name = running.pop(future)
                    if error := future.exception():
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise RuntimeError(f"{name}: {error}") from error
                    done.add(name)
                    screen.progress("runs", len(jobs) - len(waiting) - len(running), len(jobs))


def _init(job: Job, by_name: dict[str, Job]) -> str | None:
    if job.starts_from is None:
        return job.config.init
    return str(last_checkpoint(by_name[job.starts_from]))


def _is_done(job: Job) -> bool:
    card, config = job.work_dir / "run.json", job.work_dir / "config.yaml"
    if not (card.is_file() and config.is_file()):
        return False
    same = config.read_text() == dump_config(job.config)
    return same and json.loads(card.read_text())["state"] == "done"


def _show(messages, screen: Screen) -> None:
    while True:
        try:
            kind, *rest = messages.get_nowait()
        except queue.Empty:
            return
        if kind == "say":
            screen.say(*rest)
        else:
            screen.progress(*rest)


_messages = None


def _one_thread(messages) -> None:
    global _messages
    _messages = messages
    import torch

    torch.set_num_threads(1)


class _Forward(Screen):
    """Sends to the parent what a run tells its user, a few times a second at most."""

    def __init__(self, name: str) -> None:
        self.name, self.sent = name, {}

    def say(self, text: str) -> None:
        _messages.put(("say", f"{self.name}: {text}"))

    def progress(self, task: str, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if self.sent.get(task) != percent:
            self.sent[task] = percent
            _messages.put(("progress", f"{self.name}: {task}", done, total))


def _run(job: Job) -> None:
    from annotator3d.engine.run import train

    train(job.config, job.work_dir, resume=job.work_dir.exists(), screen=_Forward(job.name))
