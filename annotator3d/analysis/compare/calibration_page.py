"""What the report says of an arm that was tested against itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from annotator3d.analysis.compare.calibration import FalseAlarms
from annotator3d.analysis.report.blocks import Card, Note, Section, Table
from annotator3d.errors import count

Calibrated = Mapping[str, FalseAlarms | None]  # by task; see `findings.calibration`


def calibration_card(calibrated: Calibrated) -> Card:
    """The share of false alarms over all tasks."""
    found = [each for each in calibrated.values() if each is not None]
    tests = sum(each.tests for each in found)
    if not tests:
        return Card("False alarms", "-", "fewer than four runs of a task have ended")
    rate = sum(each.alarms for each in found) / tests
    words = f"of {count(tests, 'test')} of an arm against itself; promised: at most 5 %"
    return Card("False alarms", f"{100 * rate:.1f} %", words)


def calibration_sections(calibrated: Calibrated, arm: str) -> Iterable[Section]:
    """The counts of each task; none where nothing is calibrated."""
    if not calibrated:
        return
    head = ["task", "runs", "pairs in a test", "tests", "false alarms", "rate", "95 % interval"]
    rows = [
        [task, "too few", *["-"] * 5]
        if each is None
        else [
            task,
            str(each.runs),
            str(each.pairs),
            f"{each.tests:,}",
            f"{each.alarms:,}",
            f"{100 * each.rate:.1f} %",
            f"{100 * each.low:.1f} to {100 * each.high:.1f} %",
        ]
        for task, each in calibrated.items()
    ]
    words = (
        f"{arm} against itself: its runs are split into two groups of "
        "other seeds at random, again and again, and their mIoU at the end is tested as in a "
        "comparison. At most 5 % may be significant. The splits share runs, so the interval says "
        "how well they measure the rate of these runs, not of others."
    )
    yield Section("Calibration: an arm against itself", [Table("", head, rows), Note(words)])
