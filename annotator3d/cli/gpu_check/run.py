"""Run a GPU check and write its table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from annotator3d.cli.gpu_check.machine import describe_machine
from annotator3d.cli.gpu_check.plan import TOTAL
from annotator3d.cli.gpu_check.steps import Execute, Outcome, Step, run_steps
from annotator3d.cli.gpu_check.table import markdown
from annotator3d.data.files import atomic_write


def check_gpu(
    steps: Sequence[Step],
    table: Path,
    say: Callable[[str], None],
    *,
    total: float = TOTAL,
    execute: Execute | None = None,
    describe: Callable[[], dict[str, str]] = describe_machine,
) -> bool:
    """Run the steps of a plan; True if none failed or took too long, and some passed.

    Args:
        table: the Markdown file; rewritten after each step.
        say: gets a line for each step that has ended.
        total: seconds for all steps.
        execute, describe: in the place of the real ones.
    """
    date, machine = time.strftime("%Y-%m-%d"), dict(describe())

    def after(outcomes: list[Outcome]) -> None:
        last = outcomes[-1]
        words = f": {last.words}" if last.words else ""
        say(f"[{len(outcomes)}/{len(steps)}] {last.name}: {last.state}{words}")
        if last.name == steps[0].name:
            machine.update(describe())  # the first step may have built the library
        with atomic_write(table) as file:
            file.write(markdown(date, machine, outcomes, len(steps)).encode())

    outcomes = run_steps(steps, total, after, execute)
    states = [outcome.state for outcome in outcomes]
    return "passed" in states and not {"failed", "timed out"} & set(states)
