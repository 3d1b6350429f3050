"""What the command line shows: progress bars and tables (rich)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from annotator3d.engine.screen import Screen


class RichScreen(Screen):
    """Bars on a terminal; on anything else only the lines that stay and each finished task."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, int] = {}

    def say(self, text: str) -> None:
        self.bars.console.print(text, highlight=False)

    def progress(self, task: str, done: int, total: int) -> None:
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(task, total=total)
        self.bars.update(self.tasks[task], completed=done, total=total)
        if done >= total:
            self.bars.remove_task(self.tasks.pop(task))


@contextmanager
def screen() -> Iterator[Screen]:
    """Bars for as long as the block lasts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console()
    with Progress(*columns, console=console, transient=True) as bars:
        yield RichScreen(bars)


def print_iou_table(result: dict) -> None:
    """IoU of each class and the mean, in percent, of `engine.evaluation`'s result."""
    table = Table("class", "IoU %", "points", title=f"mIoU {result['miou']:.2f} %")
    for name, iou in result["iou_per_class"].items():
        points = result["points_per_class"][name]
        table.add_row(name, "absent" if iou is None else f"{iou:.2f}", f"{points:,}")
    Console().print(table)
