"""The report's sections on what was taught beyond the answers, and how good that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from annotator3d.active.propagation.audit import Audit, purity
from annotator3d.analysis.report.blocks import Note, Paragraph, Section, Table, percent
from annotator3d.engine.teaching.audit import warning_of
from annotator3d.engine.workdir import WorkDir, read_record
from annotator3d.errors import count

_NOTE = (
    "By answers: of the answered points, the part that answers about other scans at the same place "
    "agree with; it needs no ground truth. Distances are between the sensor of a scan and the "
    "nearest one whose answer teaches it. What is taught follows from the ledger, the scans and "
    "their poses, and is no answer."
)
_NOTE_ON_PREDICTIONS = (
    "Points that no answer reaches and whose class several scans predict at the same place. "
    "Predictions are those that the round has stored, and what they teach is no answer: what the "
    "network believes wrongly everywhere is taught, too."
)


def taught_sections(work_dir: WorkDir, rounds: Iterable[int]) -> list[Section]:
    """Empty where nothing was taught.

    Raises ValueError, naming the file, for a record that is damaged.
    """
    found = {}
    for number in rounds:
        path = work_dir.teachings(number)
        if path.is_file():
            found[number] = _checked(read_record(path.read_bytes(), str(path)), path)
    if not found:
        return []
    answers = {number: record for number, record in found.items() if record.get("by_answers", True)}
    predictions = {n: record for n, record in found.items() if record.get("by_predictions")}
    return [
        *([_section_on_answers(answers)] if answers else []),
        *([_section_on_predictions(predictions)] if predictions else []),
    ]


def _section_on_answers(found: dict[int, dict[str, Any]]) -> Section:
    last, audit = found[max(found)], Audit.of(found[max(found)])
    blocks = [_by_round(found), _by_class(last["classes"], audit), _by_distance(last, audit)]
    if last["misfits"]:
        words = warning_of(last["misfits"]).removeprefix("warning: ")
        blocks.insert(0, Paragraph(words[:1].upper() + words[1:] + "."))
    return Section("What the answers taught", [*blocks, Note(_NOTE)])


def _section_on_predictions(found: dict[int, dict[str, Any]]) -> Section:
    head = ["up to round", "scans predicted", "scans taught", "points taught", "purity"]
    head += ["left out:\nan answer differs"]
    rows = []
    for number, record in found.items():
        audit = Audit.of(record)
        rows.append(
            [
                str(number),
                f"{audit.predicted[0]:,} of {record['pool']:,}",
                f"{audit.agreement_scans[0]:,}",
                f"{audit.agreement.sum():,}",
                _share(audit.agreement_right, audit.agreement_judged),
                f"{audit.refuted[0]:,}",
            ]
        )
    last, audit = found[max(found)], Audit.of(found[max(found)])
    classes = [
        [
            name,
            f"{audit.agreement[c]:,}",
            _share(audit.agreement_right[c], audit.agreement_judged[c]),
        ]
        for c, name in enumerate(last["classes"])
        if audit.agreement[c]
    ]
    by_class = Table("Points of each class", ["class", "points taught", "purity"], classes)
    blocks = [Table("", head, rows), by_class, Note(_NOTE_ON_PREDICTIONS)]
    return Section("What predictions taught", blocks)


def _checked(record: dict[str, Any], path) -> dict[str, Any]:
    try:
        Audit.of(record)
        record["answers"], record["classes"], record["edges"], record["misfits"]
        if record.get("by_predictions"):
            int(record["pool"])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error}); put back a copy, or delete it") from None
    return record


def _by_round(found: dict[int, dict[str, Any]]) -> Table:
    head = ["up to round", "answers", "answered\npoints", "taught at\nthe same place"]
    head += ["taught on the\nsame surface", "points an\nanswer taught", "purity\nof places"]
    head += [
        "purity\nof surfaces",
        "by answers",
        "left out:\nanswers differ",
        "left out:\nseen through",
    ]
    rows = []
    for number, record in found.items():
        audit = Audit.of(record)
        taught, along = int(audit.taught.sum()), int(audit.surface.sum())
        rows.append(
            [
                str(number),
                f"{record['answers']:,}",
                f"{audit.answered.sum():,}",
                f"{taught:,}",
                f"{along:,}",
                f"{(taught + along) / max(record['answers'], 1):.1f}",
                _share(audit.right, audit.judged),
                _share(audit.surface_right, audit.surface_judged),
                _share(audit.agreed, audit.checked),
                f"{audit.conflicts[0]:,}",
                f"{audit.unseen[0]:,}",
            ]
        )
    return Table("", head, rows)


def _by_class(names: Sequence[str], audit: Audit) -> Table:
    head = [
        "class",
        "answered points",
        "same place",
        "purity",
        "by answers",
        "same surface",
        "purity",
    ]
    rows = [
        [
            name,
            f"{audit.answered[c]:,}",
            f"{audit.taught[c].sum():,}",
            _share(audit.right[c], audit.judged[c]),
            _share(audit.agreed[c], audit.checked[c]),
            f"{audit.surface[c]:,}",
            _share(audit.surface_right[c], audit.surface_judged[c]),
        ]
        for c, name in enumerate(names)
        if audit.answered[c] or audit.taught[c].any() or audit.surface[c]
    ]
    return Table("Taught points of each class", head, rows)


def _by_distance(record: dict[str, Any], audit: Audit) -> Table:
    edges = [0.0, *record["edges"]]
    names = [f"{a:g} to {b:g} m" for a, b in zip(edges, edges[1:], strict=False)]
    rows = [
        [
            name,
            f"{audit.taught[:, k].sum():,}",
            _share(audit.right[:, k], audit.judged[:, k]),
            _share(audit.agreed[:, k], audit.checked[:, k]),
        ]
        for k, name in enumerate([*names, f"{edges[-1]:g} m and more"])
        if audit.taught[:, k].any() or audit.checked[:, k].any()
    ]
    head = ["between the sensors", "same place", "purity", "by answers"]
    return Table("Taught points by distance", head, rows)


def _share(right: np.ndarray, judged: np.ndarray) -> str:
    share = purity(right, judged)
    return (
        "-" if share is None else f"{percent(100 * share)} of {count(int(judged.sum()), 'point')}"
    )
