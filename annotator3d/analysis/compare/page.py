"""The page of a comparison, section by section."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from annotator3d.analysis.compare.background import (
    classes_sections,
    design_section,
    environment_section,
    queries_sections,
)
from annotator3d.analysis.compare.calibration_page import (
    Calibrated,
    calibration_card,
    calibration_sections,
)
from annotator3d.analysis.compare.environment import environment, is_simulated
from annotator3d.analysis.compare.equal_budgets import (
    base_of,
    best_table,
    worth_at_equal_budgets,
    worth_table,
)
from annotator3d.analysis.compare.findings import Finding, calibration, wins
from annotator3d.analysis.compare.paired import is_exact, pairs_needed
from annotator3d.analysis.compare.picks import COSTS_STATED
from annotator3d.analysis.compare.pictures import difference_panels, intervals, panels
from annotator3d.analysis.compare.plan import tests_of
from annotator3d.analysis.compare.results import Results
from annotator3d.analysis.compare.tables import (
    findings_table,
    looks_table,
    measure_words,
    pairs_table,
    scores_table,
    wins_table,
)
from annotator3d.analysis.figures.comparison import (
    Panel,
    curve_panels,
    heights,
    in_groups,
    interval_plot,
)
from annotator3d.analysis.report.blocks import (
    Card,
    Note,
    Picture,
    Section,
    Table,
    duration,
    picture,
)
from annotator3d.analysis.report.experiment import BOTH_SIMULATED
from annotator3d.analysis.report.page import Page
from annotator3d.analysis.summary import CURVE_NOTE
from annotator3d.errors import count, some

SECONDARY = (
    "The experiment file named one measure before the runs, and only that one is claimed by. These "
    "are the others, each corrected by itself."
)


def page_of(
    results: Results, claimed: Sequence[Finding], others: Sequence[Sequence[Finding]]
) -> Page:
    """Everything that the report shows."""
    experiment = results.experiment
    calibrated = calibration(results)
    arm = experiment.calibrate.arm if experiment.calibrate else ""
    against_itself = list(calibration_sections(calibrated, arm))
    sections = [
        *([_shown(results, claimed)] if claimed else against_itself),
        *_equal_budgets(results),
        *_curves(results),
        Section("What every arm reached", [scores_table(results), Note(_references_words())]),
        *([_secondary(others, experiment.test)] if claimed else []),
        *_wins(results),
        *classes_sections(results),
        *queries_sections(results),
        *(against_itself if claimed else []),
        design_section(results),
        environment_section(results),
    ]
    return Page(
        title=f"annotator3d compare: {experiment.name}",
        lead=f"{measure_words(experiment.measure, experiment.axes[0])}; {_pairs_words(results)}",
        cards=_cards(results, claimed, calibrated),
        sections=sections,
        notice=" ".join(_notices(results, claimed)),
    )


def _pairs_words(results: Results) -> str:
    seeds = results.seeds
    most = "at most " if results.experiment.sequential else ""
    words = f"{most}{count(len(seeds), 'pair')}, seeds {seeds[0]} to {seeds[-1]}"
    if more := len({entry["seed"] for entry in results.planned} - set(seeds)):
        words += f"; {count(more, 'seed')} more to calibrate"
    return words


def _cards(results: Results, claimed: Sequence[Finding], calibrated: Calibrated) -> list[Card]:
    shown = sum(each.shown for each in claimed)
    done, planned = len(results.runs), len(results.planned)
    minutes = environment(results)["minutes"]
    first = [
        Card("Shown", f"{shown} of {len(claimed)}", "planned comparisons, at a family-wise 5 %"),
        Card("Pairs", str(_whole_pairs(claimed)), "in the comparison with the fewest"),
    ]
    return [
        *(first if claimed else [calibration_card(calibrated)]),
        Card("Runs", f"{done} of {planned}", "have ended"),
        Card("Wall time", duration(60 * minutes), "of all runs, added up"),
    ]


def _whole_pairs(claimed: Sequence[Finding]) -> int:
    return min((each.paired.pairs if each.paired else 0 for each in claimed), default=0)


def _notices(results: Results, claimed: Sequence[Finding]) -> Iterable[str]:
    if is_simulated(results):
        yield BOTH_SIMULATED
    failed = [entry for entry in results.planned if entry["state"] == "failed"]
    missing = [entry for entry in results.planned if entry["state"] == "missing"]
    if failed:
        names = dict.fromkeys("/".join(filter(None, (e["task"], e["arm"]))) for e in failed)
        yield f"{count(len(failed), 'run')} failed ({some(names)}): see Design, below."
    if _waits(results, claimed, bool(missing)):
        yield f"{count(len(missing), 'run')} have not ended yet: this report is a preliminary one."
    if results.amendments:
        yield "The experiment file was changed after the first run; what changed is under Design."
    experiment = results.experiment
    tests = tests_of(experiment, results.active)
    needed = pairs_needed(tests, experiment.test)
    limited = experiment.test == "sign-flip" and experiment.sequential is None
    if limited and tests and len(results.seeds) < needed:
        yield (
            f"With {count(len(results.seeds), 'pair')} and {count(tests, 'comparison')} the "
            f"smallest p that the sign-flip test can give is "
            f"{min(1.0, tests * 2 / 2 ** len(results.seeds)):.3g} after Holm's correction: nothing "
            f"can be shown at 5 %, {needed} pairs are needed."
        )


def _waits(results: Results, claimed: Sequence[Finding], missing: bool) -> bool:
    """Whether runs are still to come; of a sequential experiment, those that are needed."""
    sequential = results.experiment.sequential
    if sequential is None:
        return missing
    return any(not each.shown and len(each.looks) < sequential.looks for each in claimed)


def _shown(results: Results, claimed: Sequence[Finding]) -> Section:
    experiment = results.experiment
    blocks = []
    if drawn := intervals(claimed):
        caption = (
            "The difference of each pair (hollow dots), their mean and its 95 % interval "
            "(Student's t). Coloured and filled: shown."
        )
        blocks.append(picture("intervals", interval_plot(drawn), caption))
    blocks += [findings_table(claimed, experiment.test), *map(Note, _test_words(results, claimed))]
    if experiment.sequential is not None:
        blocks.append(looks_table(claimed))
    blocks.append(pairs_table(claimed, results.seeds))
    words = measure_words(experiment.measure, experiment.axes[0])
    return Section(f"What is shown: {words}", blocks)


def _test_words(results: Results, claimed: Sequence[Finding]) -> Iterable[str]:
    experiment = results.experiment
    if experiment.sequential is not None:
        plan = experiment.sequential
        yield (
            f"Sequential: a look after every {plan.group} pairs, at most {plan.looks}. A "
            "difference is shown when the sum of differences reaches the boundary; all looks and "
            f"comparisons together claim falsely in at most 5 % of experiments. Intervals and p "
            "values do not know of the looks and are too optimistic where a comparison ended early."
        )
    elif experiment.test == "sign-flip":
        way = "every sign of every difference is tried" if is_exact(len(results.seeds)) else (
            "65,536 drawn signs are tried"
        )  # fmt: skip
        yield (
            f"Decided by the sign-flip permutation test: {way}, and p is the share of them with a "
            "mean at least as far from 0. It assumes only that the arms are exchangeable within a "
            "pair if there is no difference."
        )
    else:
        yield (
            "Decided by the paired t-test, which assumes that differences are normally "
            "distributed; few pairs cannot tell whether they are."
        )
    if experiment.sequential is None:
        yield f"Holm's correction is over {count(len(claimed), 'test')}."
    yield (
        "'Detectable' is the smallest true difference that so many pairs of this spread would show "
        "in 80 % of experiments, by one t-test at 5 % without the correction. 'Not shown' does not "
        "mean 'equal'."
    )


def _equal_budgets(results: Results) -> Iterable[Section]:
    worth, base = worth_at_equal_budgets(results), base_of(results.experiment)
    if not any(each.paired for each in worth):
        return
    words = (
        f"The area under the curve of an arm, minus that of {base}, over the budgets that both "
        "cover (points of mIoU, mean of the pairs and 95 % interval). '-': they share no budget on "
        "this axis. Bold: shown at 5 % after Holm's correction over the tasks and arms of the "
        "axis. The arm with the highest of many means owes a part of its lead to chance."
    )
    yield Section(
        "What a question is worth at equal budgets",
        [best_table(worth, base), Note(words), worth_table(worth, base)],
    )


def _secondary(others: Sequence[Sequence[Finding]], test: str) -> Section:
    blocks: list = [Note(SECONDARY)]
    for group in others:
        if group:
            table = findings_table(group, test)
            title = measure_words(group[0].measure, group[0].axis)
            blocks.append(Table(title, table.head, table.rows))
    return Section("Other measures", blocks)


def _references_words() -> str:
    return (
        "Means over the seeds of the pairs. The area is the mean height of the curve over the "
        "budgets that all runs of the task cover. An arm without budgets is a control: the same "
        "training without any label. A task without arms asks nothing."
    )


def _curves(results: Results) -> Iterable[Section]:
    rows = panels(results)
    if rows:
        caption = (
            "mIoU against every budget of the same runs: mean of the seeds, and minimum to "
            "maximum. Lines without marks are runs that ask nothing. The bands of two arms say "
            "nothing of their difference."
        )
        base = base_of(results.experiment)
        blocks = [*_pictures("curves", rows, "mIoU [%]", caption, base), Note(CURVE_NOTE)]
        yield Section("Budget curves", [*blocks, Note(COSTS_STATED)])
    gaps = difference_panels(results)
    if gaps:
        caption = "Mean difference of the pairs at each budget, and its 95 % interval."
        label = "difference [points of mIoU]"
        yield Section("Differences over the budget", _pictures("differences", gaps, label, caption))


def _pictures(
    name: str, rows: list[list[Panel]], label: str, caption: str, base: str | None = None
) -> list[Picture]:
    """A figure for each handful of curves, all of one scale; the first has the caption."""
    limits, found = heights(rows), []
    for group in in_groups(rows, base):
        curves = dict.fromkeys(arm for row in group for panel in row for arm in panel.bands)
        words = f"The same of {', '.join(curves)}." if found else caption
        found.append(picture(name, curve_panels(group, label, limits), words))
    return found


def _wins(results: Results) -> Iterable[Section]:
    found = {task: wins(results, task) for task in results.active}
    found = {task: each for task, each in found.items() if len(each[0]) > 1 and each[2]}
    if not found:
        return
    blocks = []
    for task, (arms, matrix, budgets) in found.items():
        table = wins_table(arms, matrix)
        blocks.append(Table(f"{task}, {count(budgets, 'budget')}", table.head, table.rows))
    if len(found) > 1:
        names = list(dict.fromkeys(arm for arms, _, _ in found.values() for arm in arms))
        total = np.zeros((len(names), len(names)))
        for arms, matrix, _ in found.values():
            places = [names.index(arm) for arm in arms]
            total[np.ix_(places, places)] += matrix
        table = wins_table(names, total)
        blocks.append(Table(f"Sum over {len(found)} tasks", table.head, table.rows))
    words = (
        "The share of budgets at which the row's arm is significantly better than the column's "
        "(paired t-test at 5 %), after Ash et al. 2020. These tests are not corrected for their "
        "number: the matrix sums up and claims nothing."
    )
    yield Section("Who beats whom", [Note(words), *blocks])
