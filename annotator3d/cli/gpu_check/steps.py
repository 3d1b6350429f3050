"""Run steps one after the other: one that fails, crashes or takes too long stops no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

State = Literal["passed", "failed", "timed out", "skipped"]
FIGURES = "figures: "  # begins the line of a step's output that holds its figures, as JSON
SHORTEST = 5.0  # seconds; a step that has less is not started
_SHOWN = 300  # characters of the output of a step that failed


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        limit: seconds that it may take.
        skip: why it cannot run here; "" if it can.
        environment: variables that it gets besides ours.
        read: gets figures from its output where it prints no line of `FIGURES`.
    """

    name: str
    command: Sequence[str]
    limit: float
    skip: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    read: Callable[[str], dict[str, object]] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a step ended; `words` says why it did not pass."""

    name: str
    state: State
    seconds: float = 0.0
    words: str = ""
    figures: dict[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


Execute = Callable[[Step, float], tuple[int, str]]


def run_steps(
    steps: Sequence[Step],
    total: float,
    after: Callable[[list[Outcome]], None],
    execute: Execute | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run all steps in their order, at most `total` seconds together.

    Args:
        after: called with the outcomes so far after each step, so that a table is there even if
            the whole is stopped.
        execute: runs a step for at most so many seconds and gives exit code and output;
            `subprocess.TimeoutExpired` when it was stopped. Default: `run_process`.

    Raises:
        KeyboardInterrupt: the user stopped it; `after` has been called for what was finished.
    """
    execute, outcomes, start = execute or run_process, [], clock()
    for step in steps:
        left = total - (clock() - start)
        outcomes.append(_run(step, left, execute, clock))
        after(list(outcomes))
    return outcomes


def _run(step: Step, left: float, execute: Execute, clock: Callable[[], float]) -> Outcome:
    if step.skip:
        return Outcome(step.name, "skipped", words=step.skip)
    if left < SHORTEST:
        return Outcome(step.name, "skipped", words="no time was left for it")
    limit, start = min(step.limit, left), clock()
    try:
        code, output = execute(step, limit)
    except subprocess.TimeoutExpired:
        words = f"stopped after {limit:.0f} s"
        return Outcome(step.name, "timed out", clock() - start, words)
    except Exception as error:  # the command cannot be started, say
        words = f"{type(error).__name__}: {error}"
        return Outcome(step.name, "failed", clock() - start, words)
    figures, seconds = _figures(step, output), clock() - start
    if code == 0:
        return Outcome(step.name, "passed", seconds, "", figures)
    return Outcome(step.name, "failed", seconds, _end_of(output, code), figures)


def _figures(step: Step, output: str) -> dict[str, object]:
    try:
        if step.read is not None:
            return step.read(output)
        lines = [line for line in output.splitlines() if line.startswith(FIGURES)]
        return dict(json.loads(lines[-1].removeprefix(FIGURES))) if lines else {}
    except (ValueError, TypeError):  # it was cut off while it wrote
        return {}


def _end_of(output: str, code: int) -> str:
    """The last words of a step that failed, which say why; its exit code if there are none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(FIGURES)]
    said = " ".join(lines[-3:])[-_SHOWN:]
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"ended by {name}. {said}".strip()
    return said or f"exit code {code}"


def run_process(step: Step, limit: float) -> tuple[int, str]:
    """Run the command of a step; its whole process group is ended if it takes too long.

    Raises:
        subprocess.TimeoutExpired: it took longer than `limit` seconds.
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(step.command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **step.environment},
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        output, _ = process.communicate(timeout=limit)
        return process.returncode, output
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """End what is left of a process and of those it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nothing is left
        pass
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
