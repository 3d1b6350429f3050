"""What the command line shows: progress bars and tables (rich)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from annotator3d.cli.visible import terminal, visible
from annotator3d.reporter import Reporter

_UNBOUNDED = 1 << 20  # columns


class RichReporter(Reporter):
    """Bars on a terminal; on anything else a line at each tenth of a task."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, int] = {}  # rich's ids on a terminal, else tenths that are printed
        self.begun: dict[str, tuple[float, int]] = {}  # not on a terminal: when, and at how much

    def info(self, text: str) -> None:
        """Print `text` as it is: neither rich's markup nor wrapped."""
        self.bars.console.print(
            visible(text), markup=False, emoji=False, highlight=False, soft_wrap=True
        )

    def progress(self, task: str, done: int, total: int) -> None:
        if self.bars.console.is_interactive:
            self._bar(task, done, total)
        else:
            self._line(task, done, total)

    def _bar(self, task: str, done: int, total: int) -> None:
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(visible(task), total=total)
        self.bars.update(self.tasks[task], completed=done, total=total)
        if done >= total:
            self.bars.remove_task(self.tasks.pop(task))

    def _line(self, task: str, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        now = time.monotonic()
        since, first = self.begun.setdefault(task, (now, done))
        if tenth > self.tasks.get(task, 0) or done >= total:
            rate = (done - first) / max(now - since, 1e-3)
            self.info(f"{task}: {done} of {total}{_pace(rate, total - done)}")
        self.tasks[task] = 0 if done >= total else tenth
        if done >= total:
            del self.begun[task]


class RateColumn(ProgressColumn):
    """Steps or scans a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{_rate(task.speed)}/s" if task.speed else "", style="progress.data.speed")


def _rate(a_second: float) -> str:
    return f"{a_second:.0f}" if a_second >= 10 else f"{a_second:.2g}"


def _pace(rate: float, left: int) -> str:
    """How fast it goes and how long it will take, in words, once that is known."""
    if rate <= 0:
        return ""
    if not left:
        return f" ({_rate(rate)}/s)"
    minutes, seconds = divmod(round(left / rate), 60)
    hours, minutes = divmod(minutes, 60)
    return f" ({_rate(rate)}/s, {hours}:{minutes:02d}:{seconds:02d} left)"


@contextmanager
def open_reporter(*, aside: bool = False) -> Iterator[Reporter]:
    """Bars, or lines, for as long as the block lasts.

    Args:
        aside: on standard error, since a program reads what is printed (``--json``).
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=Console(file=terminal(aside)), transient=True)
    with bars if bars.console.is_interactive else nullcontext():
        yield RichReporter(bars)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    whole: Sequence[str] = (),
) -> None:
    """A table of plain texts; `whole` names columns that stay on one line on a narrow terminal.

    What does not fit continues in the next line. In a file or a pipe, each row is one line.
    """
    table = Table(title=None if title is None else Text(visible(title)))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    _print(table)


def _print(table: Table) -> None:
    console = Console(file=terminal())
    if not console.is_terminal:
        unbounded = console.options.update(max_width=_UNBOUNDED)
        console.width = max(1, Measurement.get(console, unbounded, table).maximum)
    console.print(table)


def print_iou_table(result: dict) -> None:
    """IoU of each class and the mean, in percent, of `engine.evaluation`'s result."""
    table = Table("class", "IoU %", "points", title=f"mIoU {result['miou']:.2f} %")
    for name, iou in result["iou_per_class"].items():
        points = result["points_per_class"][name]
        table.add_row(Text(visible(name)), "absent" if iou is None else f"{iou:.2f}", f"{points:,}")
    _print(table)
