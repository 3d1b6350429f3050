"""The report's section on what a run will not learn, and whether another round is worth it."""

from __future__ import annotations

from pathlib import Path

from annotator3d.active.outlook import Stability, advice, in_words, stability, unlearnt
from annotator3d.active.pool_predictions import read
from annotator3d.analysis.report.blocks import Note, Paragraph, Section, Table
from annotator3d.ledger.effort import round_costs
from annotator3d.ledger.reader import LedgerReader

_SOURCE = (
    "Without labels: the kappa between the predictions of consecutive rounds on the same "
    "64 points of each scan; stop when its mean over 3 rounds reaches 0.99 (Bloodgood and "
    "Vijay-Shanker, CoNLL 2009). Hours are those that people spent on the round's answers."
)


def outlook_section(ledger: LedgerReader, rounds_folder: Path) -> list[Section]:
    """Empty where nothing was predicted.

    Args:
        rounds_folder: ``rounds/`` of the work directory.
    """
    numbers = [entry.number for entry in ledger.rounds()]
    if not numbers:
        return []
    found = stability(rounds_folder, numbers)
    predicted = read(rounds_folder, numbers[-1])
    missing = in_words(unlearnt(ledger, predicted, numbers[-1]))
    blocks = [Paragraph(missing[:1].upper() + missing[1:] + ".")] if missing else []
    if found:
        hours = _hours(ledger)
        last = hours.get(found[-1].round)
        blocks += [Paragraph(advice(found, last)), _table(found, hours), Note(_SOURCE)]
    return [Section("Is another round worth it?", blocks)] if blocks else []


def _hours(ledger: LedgerReader) -> dict[int, float]:
    """Of the rounds whose answers were timed: hours that all their voxels take at that pace."""
    return {
        cost.round: cost.seconds / cost.answered * cost.voxels / 3600
        for cost in round_costs(ledger)
        if cost.seconds and cost.answered
    }


def _table(found: list[Stability], hours: dict[int, float]) -> Table:
    rows = []
    for each in found:
        spent = hours.get(each.round)
        rows.append(
            [
                str(each.round),
                f"{each.kappa:.3f}",
                f"{100 * each.changed:.1f} %",
                f"{each.points:,}",
                f"{spent:.2f}" if spent else "-",
                f"{100 * each.changed / spent:.1f} %" if spent else "-",
            ]
        )
    head = ["round", "kappa with the\nround before", "predictions\nchanged", "points compared"]
    return Table("", [*head, "hours of\nanswers", "changed\nan hour"], rows)
