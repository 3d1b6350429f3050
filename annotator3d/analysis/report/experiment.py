"""A report of an experiment as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from annotator3d.analysis.report.blocks import (
    Card,
    Cell,
    Code,
    Note,
    Paragraph,
    Section,
    Table,
    duration,
    percent,
    picture,
)
from annotator3d.analysis.report.page import Page, write_page
from annotator3d.analysis.summary import CURVE_NOTE, SETTING_ORDER, STRATEGY_ORDER, ordered
from annotator3d.errors import count

ONE_SEED = "One seed: no ranking."
ABOVE_TARGET = (
    "(*) Above target-only is possible: target-only starts from nothing and sees no source scan, "
    "so at a short schedule it is a reference and no upper bound."
)
BOTH_SIMULATED = (
    "Both domains are simulated. The numbers show that the loop works and what it costs, not how "
    "well it does on real scans."
)
REFERENCE_TEXT = {
    "source_only": ("Source-only", "trained on source labels"),
    "zero_label": ("Zero-label", "the same schedule, no answer"),
    "target_only": ("Target-only", "trained on all target labels"),
}
CAPTIONS = {
    "curves": "mIoU against queried voxels (left) and labelled points (right). Hollow marks were "
    "evaluated during training; the filled one is the final result.",
    "classes": "IoU of each class at the final evaluation. A class that does not occur in the test "
    "scans has no bar and does not count in the mIoU.",
    "birds_eye": "One scan from above, with its queried voxels marked in the order of asking.",
}
HEADINGS = {"curves": "Budget curves", "classes": "Classes", "birds_eye": "What was asked"}


Figure = bytes | str | os.PathLike[str]  # a PNG, or the path of one


@dataclass(frozen=True)
class Notes:
    """What a report says beside the numbers. All of it is shown as plain text."""

    title: str = "annotator3d: report"
    source: str = ""  # for example "ideal (simulated)"
    target: str = ""
    simulated: bool = False  # both domains are
    commands: Sequence[str] = ()  # in a shell, to repeat everything
    remarks: Sequence[str] = ()  # one paragraph each

    @property
    def domains(self) -> str:
        return " to ".join(name for name in (self.source, self.target) if name)


def write_report(
    path: str | os.PathLike[str],
    summary: Mapping[str, Any],
    figures: Mapping[str, Figure],
    notes: Notes,
) -> None:
    """Write the report as one HTML file (inline style, embedded pictures).

    Args:
        path: of the HTML file, replaced in one step.
        summary: from `summarise`.
        figures: PNG bytes or PNG file by name. The names "curves", "classes" and "birds_eye" get
            their caption; any other name is its own caption.
        notes: title, domains, commands and remarks.

    Raises:
        FileNotFoundError: a figure's file does not exist.
        ValueError: a figure is not a PNG.
    """
    sections = [
        headline(summary),
        *figure_sections(figures),
        Section("Budgets", [Note(CURVE_NOTE), _rounds_table(summary)]),
        Section("IoU of each class, final", [_classes_table(summary)]),
    ]
    if notes.commands:
        sections.append(Section("To repeat this", [Code("\n".join(notes.commands))]))
    if notes.remarks:
        sections.append(Section("Remarks", [Paragraph(remark) for remark in notes.remarks]))
    page = Page(
        title=notes.title,
        lead=notes.domains,
        notice=BOTH_SIMULATED if notes.simulated else "",
        cards=_cards(summary),
        sections=sections,
    )
    write_page(path, page)


def _cards(summary: Mapping[str, Any]) -> list[Card]:
    cards = [
        Card(label, percent(summary[f"{name}_miou"]), words)
        for name, (label, words) in REFERENCE_TEXT.items()
    ]
    return [
        *_read_first(summary),
        *cards,
        Card("Wall time", duration(summary["wall_seconds"]), "all runs together"),
    ]


def _read_first(summary: Mapping[str, Any]) -> list[Card]:
    """The run that the report is about, and what it is to be compared with."""
    runs, zero = summary["runs"], summary["zero_label_miou"]
    setting = ordered((run["setting"] for run in runs), SETTING_ORDER)[0]
    own = (run["strategy"] for run in runs if run["setting"] == setting)
    strategy = ordered(own, STRATEGY_ORDER)[-1]
    arm = [run for run in runs if (run["setting"], run["strategy"]) == (setting, strategy)]
    reached = mean(run["rounds"][-1]["miou"] for run in arm)
    spent = max(run["rounds"][-1]["voxels"] for run in arm)
    words = f"read this first: mIoU after {count(spent, 'answer')}"
    if zero is not None:
        words += f"; {percent(zero)} without any, so {reached - zero:+.1f} is what they gave"
    return [Card(f"{setting.upper()}, {strategy}", percent(reached), words)]


def headline(summary: Mapping[str, Any]) -> Section:
    """The final mIoU of each setting and strategy, with what to think of it."""
    seeds = sorted({run["seed"] for run in summary["runs"]})
    words = f"{len(seeds)} seeds: mean, and minimum to maximum."
    words = ONE_SEED if len(seeds) == 1 else words
    blocks = [_final_table(summary), Note(words)]
    target = summary["target_only_miou"]
    if target and any(run["rounds"][-1]["miou"] > target for run in summary["runs"]):
        blocks.append(Note(ABOVE_TARGET))
    return Section("Final mIoU, in percent of all test points", blocks)


def _final_table(summary: Mapping[str, Any]) -> Table:
    runs, target = summary["runs"], summary["target_only_miou"]
    settings = ordered((run["setting"] for run in runs), SETTING_ORDER)
    strategies = ordered((run["strategy"] for run in runs), STRATEGY_ORDER)
    rows = []
    for setting in settings:
        cells = []
        for strategy in strategies:
            arm = [r for r in runs if (r["setting"], r["strategy"]) == (setting, strategy)]
            cells.append(_final_cell([run["rounds"][-1]["miou"] for run in arm], target))
        rows.append([setting.upper(), *cells])
    return Table("", ["setting", *strategies], rows)


def _final_cell(mious: Sequence[float], target: float | None) -> str | Cell:
    if not mious:
        return "-"
    words = []
    if len(mious) > 1:
        words.append(f"{min(mious):.1f} to {max(mious):.1f}")
    if target:
        share = 100 * mean(mious) / target
        words.append(f"{share:.0f} % of target-only" if share <= 100 else "above target-only (*)")
    return Cell(f"{mean(mious):.1f}", small="; ".join(words), strong=True)


def _rounds_table(summary: Mapping[str, Any]) -> Table:
    head = ["setting", "strategy", "seed", "round", "epoch", "voxels asked", "points", "answered"]
    head += ["labelled points", "void queries", "mIoU [%]", "evaluated"]
    rows = [
        [
            run["setting"].upper(),
            run["strategy"],
            str(run["seed"]),
            str(entry["round"]),
            str(entry["epoch"]),
            f"{entry['voxels']:,}",
            f"{entry['points']:,}",
            "-" if entry.get("answered") is None else f"{entry['answered']:,}",
            f"{entry['labelled_points']:,}",
            f"{entry['void_queries']:,}",
            f"{entry['miou']:.1f}",
            "during training"
            if entry["during_training"]
            else Cell("final", strong=True, last=True),
        ]
        for run in summary["runs"]
        for entry in run["rounds"]
    ]
    return Table("", head, rows)


def _classes_table(summary: Mapping[str, Any]) -> Table:
    runs = summary["runs"]
    several = len({run["seed"] for run in runs}) > 1
    head = ["class"]
    for run in runs:
        seed = f"\nseed {run['seed']}" if several else ""
        head.append(f"{run['setting'].upper()}\n{run['strategy']}{seed}")
    rows = [
        [name, *(percent(run["rounds"][-1]["iou_per_class"][name], "") for run in runs)]
        for name in summary["classes"]
    ]
    return Table("", head, rows)


def figure_sections(figures: Mapping[str, Figure]) -> list[Section]:
    """A section for each figure, those with a caption of ours first."""
    known = [name for name in CAPTIONS if name in figures]
    names = known + [name for name in figures if name not in CAPTIONS]
    return [
        Section(HEADINGS.get(name, name), [picture(name, figures[name], CAPTIONS.get(name, name))])
        for name in names
    ]
