"""How good the answers of a run are: agreement, repeats, disputes, proposals and corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from annotator3d.analysis.quality.agreement import (
    Comparison,
    class_kappa,
    class_percentage,
    cohen_kappa,
    compare,
    confused_classes,
    percentage,
)
from annotator3d.analysis.quality.corrections import HOW, CorrectionRecord, correction_records
from annotator3d.analysis.report.blocks import Section, Table
from annotator3d.ledger.describe import describe_answer
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.lineage import EventView
from annotator3d.ledger.resolution import Outcome
from annotator3d.ledger.schema import Ask

_SHOWN = 20  # confused classes and disputed queries that a table names


def quality_of(ledger: Ledger) -> dict[str, Any]:
    """Everything in one dictionary of plain Python, for JSON; shares are 0..1, None: undefined."""
    names = [*ledger.taxonomy_names, "no class"]
    found = compare(ledger.histories(), len(names) - 1)
    standing = ledger.outcomes()
    disputed = [(query, where) for query, where in standing if where.disputed]
    per_round = {entry.number: 0 for entry in ledger.rounds()}
    for query, _ in disputed:
        per_round[query.round] += 1
    nothing = Comparison.empty(len(names) - 1)
    return {
        "classes": names,
        "together": {**_figures(found.together), "by_class": _by_class(found.together, names)},
        "pairs": [
            {"people": list(people), **_whole(compared, names)}
            for people, compared in found.pairs.items()
        ],
        "repeats": [
            {"person": person, **_whole(compared, names)}
            for person, compared in found.repeats.items()
        ],
        "rounds": [
            {"round": number, "disputed": count, **_figures(found.rounds.get(number, nothing))}
            for number, count in per_round.items()
        ],
        "confused": [
            {"classes": [names[a], names[b]], "points": points, "voxels": voxels}
            for a, b, points, voxels in confused_classes(found.together)
        ],
        "disputed": [
            {
                "query": query.id,
                "round": query.round,
                "scan": query.scan,
                "said": [[e.annotator, _answer_of(ledger, e)] for e in where.active_responses],
            }
            for query, where in disputed
        ],
        "requests": _requests(ledger, [where for _, where in standing]),
        "people": [_person(name, record) for name, record in correction_records(ledger).items()],
    }


def quality_tables(report: dict[str, Any]) -> list[Table]:
    """The report as tables; those that would be empty are left out."""
    head = ["voxels", "identical", "points agree", "kappa", "voxels agree", "kappa"]
    pairs = [[" and ".join(p["people"]), *_cells(p)] for p in report["pairs"]]
    over = ""
    if len(pairs) > 1:
        pairs.append(["all pairs", *_cells(report["together"])])
        over = ", all pairs"
    classes = [
        [c["class"], f"{c['points']:,}", *map(_percent_or_kappa, _CLASS, map(c.get, _CLASS))]
        for c in report["together"]["by_class"]
        if c["points"]
    ]
    rounds = [
        [str(r["round"]), *_cells(r), str(r["disputed"])] for r in report["rounds"] if r["voxels"]
    ]
    found = [
        Table("Two people on the same voxels", ["people", *head], pairs),
        Table("The same person again", ["person", *head],
              [[r["person"], *_cells(r)] for r in report["repeats"]]),
        Table(f"By class{over}", ["class", "points named", *head[2:]], classes),
        Table(f"By round{over}", ["round", *head, "disputed"], rounds),
        Table("Confused with each other", ["classes", "points", "voxels"],
              [[" / ".join(c["classes"]), f"{c['points']:,}", f"{c['voxels']:,}"]
               for c in report["confused"][:_SHOWN]]),
        Table("Disputed: nobody has decided", ["voxel", "round", "scan", "answers"],
              [[str(d["query"]), str(d["round"]), d["scan"],
                "; ".join(f"{who}: {answer}" for who, answer in d["said"])]
               for d in report["disputed"][:_SHOWN]]),
        Table("Asked again", ["why", "asked", "waiting"],
              [[ask, str(n["asked"]), str(n["waiting"])]
               for ask, n in report["requests"].items() if n["asked"]]),
        Table("Proposals and corrections",
              ["person", "answers", "proposals accepted", *(f"{how}, changed" for how in HOW)],
              [_person_row(p) for p in report["people"]]),
    ]  # fmt: skip
    return [each for each in found if each.rows]


def quality_section(ledger: Ledger) -> list[Section]:
    """For the page of a run; empty where nobody was asked twice and nothing was proposed."""
    report = quality_of(ledger)
    offered = any(person["accepted_share"] is not None for person in report["people"])
    if not (offered or report["pairs"] or report["repeats"] or report["disputed"]):
        return []
    return [Section("Quality of the answers", quality_tables(report))]


def _figures(compared: Comparison) -> dict[str, Any]:
    return {
        "voxels": compared.voxels,
        "identical": compared.identical / compared.voxels if compared.voxels else None,
        "agreement_points": percentage(compared.points),
        "kappa_points": cohen_kappa(compared.points),
        "agreement_voxels": percentage(compared.dominant),
        "kappa_voxels": cohen_kappa(compared.dominant),
    }


_FIGURES = ("identical", "agreement_points", "kappa_points", "agreement_voxels", "kappa_voxels")
_CLASS = _FIGURES[1:]


def _by_class(compared: Comparison, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each class; `points` are those that either person gave it."""
    points, dominant = compared.points, compared.dominant
    return [
        {
            "class": name,
            "points": compared.named(c),
            "agreement_points": class_percentage(points, c),
            "kappa_points": class_kappa(points, c),
            "agreement_voxels": class_percentage(dominant, c),
            "kappa_voxels": class_kappa(dominant, c),
        }
        for c, name in enumerate(names)
    ]


def _whole(compared: Comparison, names: Sequence[str]) -> dict[str, Any]:
    return {
        **_figures(compared),
        "by_class": _by_class(compared, names),
        "confusion_points": compared.points.tolist(),
        "confusion_voxels": compared.dominant.tolist(),
    }


def _requests(ledger: Ledger, standing: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    waiting = [request.ask for where in standing for request in where.pending_requests]
    asked = [request.ask for request in ledger.requests(undone=False)]
    return {ask: {"asked": asked.count(ask), "waiting": waiting.count(ask)} for ask in Ask}


def _person(name: str, record: CorrectionRecord) -> dict[str, Any]:
    return {
        "person": name,
        "answers": record.answers.total(),
        "accepted_share": record.accepted_share,
        **{
            how: {
                "answers": record.answers[how],
                "changed": record.corrected[how],
                "by": dict(sorted(record.by[how].items())),
            }
            for how in HOW
        },
    }


def _person_row(person: dict[str, Any]) -> list[str]:
    cells = [person["person"], f"{person['answers']:,}", _percent(person["accepted_share"])]
    for how in HOW:
        part = person[how]
        by = ", ".join(f"{who} {count}" for who, count in part["by"].items())
        text = f"{part['changed']} of {part['answers']}" + (f" (by {by})" if by else "")
        cells.append(text if part["answers"] else "-")
    return cells


def _answer_of(ledger: Ledger, event: EventView) -> str:
    if event.labels is None:
        return "no labels"
    return describe_answer(ledger, event.id, np.frombuffer(event.labels, np.uint8)) or "no class"


def _cells(figures: dict[str, Any]) -> list[str]:
    return [f"{figures['voxels']:,}", *(_percent_or_kappa(n, figures[n]) for n in _FIGURES)]


def _percent_or_kappa(name: str, value: float | None) -> str:
    if name.startswith("kappa"):
        return "-" if value is None else f"{value:.2f}"
    return _percent(value)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
