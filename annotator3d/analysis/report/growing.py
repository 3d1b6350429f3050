"""The report of an experiment that still runs: what is there already, and what is to come."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotator3d.analysis.report.blocks import Cell, Note, Section, Table, percent
from annotator3d.analysis.report.experiment import (
    BOTH_SIMULATED,
    Figure,
    Notes,
    figure_sections,
    headline,
)
from annotator3d.analysis.report.page import Page, write_page

RELOAD = 5  # seconds


@dataclass(frozen=True)
class RunState:
    """How far one run is; `miou` in percent of the end, None before."""

    name: str
    words: str  # "waiting", "running", "ended"
    miou: float | None = None


def write_growing(
    path: str | os.PathLike[str],
    runs: Sequence[RunState],
    summary: Mapping[str, Any] | None,
    figures: Mapping[str, Figure],
    notes: Notes,
) -> None:
    """Write the page that `experiment.write_report` replaces in the end; it reloads itself.

    Args:
        runs: all of the experiment.
        summary: from `summarise`, of the runs that have ended; None: no run with answers has.
        figures: as for `experiment.write_report`.
    """
    ended = sum(run.miou is not None for run in runs)
    rows = [
        [run.name, run.words, Cell(percent(run.miou, ""), strong=run.miou is not None)]
        for run in runs
    ]
    progress = Section(
        f"{ended} of {len(runs)} runs have ended",
        [
            Table("", ["run", "state", "mIoU [%]"], rows),
            Note(f"This page reads itself again every {RELOAD} seconds until all have."),
        ],
    )
    page = Page(
        title=notes.title,
        lead=notes.domains,
        notice=BOTH_SIMULATED if notes.simulated else "",
        cards=[],
        sections=[
            progress,
            *figure_sections(figures),
            *([headline(summary)] if summary else []),
        ],
        reload=RELOAD,
    )
    write_page(path, page)
