"""The sections of a comparison's report that say what was run, on what, and what was asked."""

from __future__ import annotations

from collections.abc import Iterable

from annotator3d.analysis.compare.environment import environment, facts
from annotator3d.analysis.compare.queries import overlaps
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.compare.tables import (
    asked_table,
    class_table,
    costs_table,
    overlap_table,
)
from annotator3d.analysis.report.blocks import Note, Paragraph, Section, Table
from annotator3d.engine.config.experiment import settings_of


def classes_sections(results: Results) -> Iterable[Section]:
    tables = [table for task in results.active if (table := class_table(results, task))]
    if tables:
        words = (
            "Differences of the final IoU, in points, with the 95 % interval of the pairs. So many "
            "numbers are not tested: some intervals leave 0 out by chance. Rare: less than 1 % of "
            "the test points."
        )
        yield Section("Differences by class", [*tables, Note(words)])


def queries_sections(results: Results) -> Iterable[Section]:
    asked = [table for task in results.active if (table := asked_table(results, task))]
    if asked:
        words = (
            "Share of each class of the labelled points, all seeds together; pool: of its points."
        )
        yield Section("Classes that were asked about", [*asked, Note(words)])
    tables = [
        overlap_table(task, found) for task in results.active if (found := overlaps(results, task))
    ]
    if tables:
        words = (
            "Voxels that two arms both asked about, as a share of those that either did; mean of "
            "the pairs."
        )
        yield Section("Overlap of the query sets", [*tables, Note(words)])


def design_section(results: Results) -> Section:
    experiment = results.experiment
    blocks: list = []
    if experiment.bets:
        blocks.append(
            Table("Bets, written before the runs", ["bet"], [[b] for b in experiment.bets])
        )
    rows = [
        [name, task.config, _lines(task.overrides), task.starts_from or "-"]
        for name, task in experiment.tasks.items()
    ]
    blocks.append(Table("Tasks", ["task", "config", "changed", "starts from"], rows))
    if experiment.folds:
        rows = [[name, ", ".join(folds)] for name, folds in experiment.folds.items()]
        blocks.append(Table("Folds, tested as one", ["name", "tasks"], rows))
    rows = [
        [name, _lines(arm.overrides), ", ".join(arm.tasks or ["all"]), "yes" if arm.control else ""]
        for name, arm in experiment.arms.items()
    ]
    blocks.append(Table("Arms", ["arm", "changed", "tasks", "control"], rows))
    if experiment.overrides:
        blocks.append(Note(f"Changed in every run: {_lines(experiment.overrides)}"))
    failed = [entry for entry in results.planned if entry["state"] == "failed"]
    if failed:
        rows = [
            [entry["task"], entry["arm"] or "-", str(entry["seed"]), str(entry.get("error", ""))]
            for entry in failed
        ]
        blocks.append(Table("Runs that failed", ["task", "arm", "seed", "error"], rows))
    if results.amendments:
        rows = [
            [str(a.get("at")), str(a.get("ended")), ", ".join(a.get("keys", []))]
            for a in results.amendments
        ]
        head = ["when", "runs that had ended", "changed"]
        blocks.append(Table("Changes of the experiment after its first run", head, rows))
    return Section("Design", blocks)


def _lines(overrides: dict) -> str:
    return "\n".join(settings_of(overrides)) or "-"


def environment_section(results: Results) -> Section:
    lines = [Note(line) for line in facts(environment(results)) if line]
    again = (
        "results.zip holds the raw results; `annotator3d compare --from results.zip --out DIR` "
        "makes this report from it again."
    )
    return Section("What it ran on", [costs_table(results), *lines, Paragraph(again)])
