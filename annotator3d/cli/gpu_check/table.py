"""The result of a GPU check as Markdown, to paste into docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annotator3d.cli.gpu_check.steps import Outcome

_LONGEST = 400  # characters of a cell


def markdown(
    date: str, machine: Mapping[str, str], outcomes: Sequence[Outcome], planned: int
) -> str:
    """Device and versions, then one row for each step that has ended; `planned` is their number."""
    passed = sum(outcome.state == "passed" for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    lines = [f"### {machine.get('device', 'no device')}, {date}", "", "| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in machine.items()]
    lines += ["", f"{passed} of {planned} steps passed, in {seconds:.0f} s.", ""]
    lines += ["| step | result | seconds | measured |", "|---|---|--:|---|"]
    for outcome in outcomes:
        result = outcome.state + (f": {outcome.words}" if outcome.words else "")
        taken = f"{outcome.seconds:.0f}" if outcome.state != "skipped" else ""
        measured = "; ".join(f"{name} {_value(v)}" for name, v in outcome.figures.items())
        lines.append(f"| {_cell(outcome.name)} | {_cell(result)} | {taken} | {_cell(measured)} |")
    if len(outcomes) < planned:
        lines.append(f"| {planned - len(outcomes)} more | not run | | |")
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(text: object) -> str:
    """One line without what Markdown would read as the end of the cell."""
    flat = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|")
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 6] + " [...]"
