"""What the answers of a run have taken, what makes them slow, and what the open ones will take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.active.stored_predictions import predicted_classes
from annotator3d.active.timing import (
    MIN_ANSWERS,
    TimeModel,
    after_answers,
    before_answers,
    held_out,
    seconds_of,
    timed,
    total_interval,
)
from annotator3d.analysis.quality.corrections import correction_records
from annotator3d.analysis.report.blocks import Note, Section, Table, duration, percent
from annotator3d.errors import count
from annotator3d.ledger.effort import Effort, effort_by_query, round_costs
from annotator3d.ledger.ledger import Ledger, Query
from annotator3d.ledger.resolution import Outcome, outcome

EFFECTS = (
    "twice the points",
    "10 m further away",
    "one more class in the answer",
    "proposal accepted (none offered: 1)",
    "proposal overwritten (none offered: 1)",
)


def cost_of(ledger: Ledger, rounds_folder: Path) -> dict[str, Any]:
    """Everything in one dictionary of plain Python, for JSON; times in seconds, None: unknown.

    Args:
        rounds_folder: ``rounds/`` of the work directory, with what was predicted for the voxels.
    """
    work = effort_by_query(ledger)
    answers = timed(work)
    ahead, times = _ahead(ledger)
    result: dict[str, Any] = {
        "spent": _spent(work),
        "people": _people(ledger, work),
        "rounds": [
            {
                **{name: getattr(meter, name) for name in ("round", "voxels", "points")},
                **{name: getattr(meter, name) for name in ("answered", "clicks", "seconds")},
                "decision": ledger.round_decision(meter.round),
            }
            for meter in round_costs(ledger)
        ],
        "remaining": {"voxels": len(ahead), "answers": int(times.sum())},
        "model": None,
        "why_no_model": _why_none(work, answers),
        "absurd_events": ledger.absurd_events(),
    }
    if result["why_no_model"] is None:
        seen = [each.query for each in answers]
        size, people = ledger.voxel_size, [each.annotator for each in answers]
        features = before_answers(seen, size, predicted_classes(rounds_folder, seen))
        seconds = seconds_of(answers)
        result["model"] = _model(answers, features, people, seconds, size)
        if ahead:
            coming = before_answers(ahead, size, predicted_classes(rounds_folder, ahead))
            total = TimeModel(features, people, seconds).predict(coming) @ times
            low, high = total_interval(features, people, seconds, coming, times)
            result["remaining"] |= {"seconds": float(total), "low": low, "high": high}
    return result


def cost_tables(report: dict[str, Any]) -> list[Table]:
    """The report as tables; those that would be empty are left out."""
    people = [
        [p["person"], f"{p['answers']:,}", f"{p['points']:,}", _count(p["clicks"]),
         _time(p["seconds"]), _each(p["seconds_per_answer"]), percent(_hundred(p), " %")]
        for p in report["people"]
    ]  # fmt: skip
    rounds = [
        [str(r["round"]), f"{r['voxels']:,}", f"{r['points']:,}", f"{r['answered']:,}",
         _count(r["clicks"]), _time(r["seconds"] or None)]
        for r in report["rounds"]
    ]  # fmt: skip
    effects = [
        [name, f"x {factor:.2f}"]
        for name, factor in (report["model"] or {"effects": {}})["effects"].items()
    ]
    found = [
        Table("Spent, by person", ["person", "answers", "points", "clicks", "time",
              "an answer", "proposals accepted"], people),
        Table("Spent, by round", ["round", "voxels", "points", "answered", "clicks", "time"],
              rounds),
        Table("What makes an answer take longer", ["", "time"], effects),
    ]  # fmt: skip
    return [each for each in found if each.rows]


def cost_words(report: dict[str, Any]) -> list[str]:
    """What the tables do not say: the total, what remains, and how far to trust it."""
    spent, left, model = report["spent"], report["remaining"], report["model"]
    total = (
        f"spent: {count(spent['answers'], 'answer')} about {count(spent['voxels'], 'voxel')} "
        f"({count(spent['points'], 'point')}), {_count(spent['clicks'])} clicks, "
        f"{_time(spent['seconds'])}"
    )
    lines = [total if spent["answers"] else "spent: nothing yet, no query is answered"]
    if absurd := report.get("absurd_events"):
        lines.append(
            f"{absurd} events hold a time, clicks, a date or a name that cannot be; such times and "
            "clicks are left out: `annotator3d ledger verify` lists them"
        )
    lines += [f"round {r['round']}: {r['decision']}" for r in report["rounds"] if r["decision"]]
    wait = f"{count(left['answers'], 'answer')} about {count(left['voxels'], 'voxel')} wait"
    if "seconds" in left:
        lines.append(
            f"{wait}: {duration(left['seconds'])} of work (90 % interval "
            f"{duration(left['low'])} to {duration(left['high'])})"
        )
    elif left["answers"]:
        lines.append(wait)
    if model is None:
        return [*lines, report["why_no_model"]]
    error = model["held_out"]
    lines.append(
        f"held out, fitted to {count(model['answers'], 'answer')}: one answer is "
        f"{error['answer']:.1f} s "
        f"off (their constant mean {error['answer_mean']:.1f} s), the total of a fifth "
        f"{100 * error['total']:.0f} % (constant mean {100 * error['total_mean']:.0f} %)"
    )
    return lines


def cost_section(ledger: Ledger, rounds_folder: Path) -> list[Section]:
    """For the page of a run; empty where no answer was timed and none waits for a person."""
    report = cost_of(ledger, rounds_folder)
    if report["spent"]["seconds"] is None and not report["remaining"]["answers"]:
        return []
    notes = [Note(line) for line in cost_words(report)]
    # The rounds have a section of their own.
    tables = [each for each in cost_tables(report) if "round" not in each.head]
    return [Section("Time and cost", [*notes, *tables])]


def _spent(work: Sequence[Effort]) -> dict[str, Any]:
    queries = {each.query.id: each.query for each in work if each.given}
    return {
        "voxels": len(queries),
        "points": sum(query.num_labels for query in queries.values()),
        "answers": sum(each.given for each in work),
        "clicks": sum(each.clicks for each in work),
        "seconds": _sum(work),
    }


def _people(ledger: Ledger, work: Sequence[Effort]) -> list[dict[str, Any]]:
    history, found = correction_records(ledger), []
    for name in sorted({each.annotator for each in work}):
        mine = [each for each in work if each.annotator == name]
        found.append(
            {
                "person": name,
                **_spent(mine),
                "seconds_per_answer": _seconds_per_answer(mine),
                "accepted_share": history[name].accepted_share if name in history else None,
            }
        )
    return found


def _seconds_per_answer(work: Sequence[Effort]) -> float | None:
    """Of an answer as it was given: a correction is one more, not a longer first one."""
    known = [each for each in work if each.answering is not None]
    given = sum(each.given for each in known)
    return sum(each.answering for each in known) / given if given else None


def _ahead(ledger: Ledger) -> tuple[list[Query], np.ndarray]:
    """Queries that wait, and how many answers each waits for."""
    found = [(query, _answers_left(outcome(told))) for query, told in ledger.histories()]
    waiting = [(query, left) for query, left in found if left]
    return [query for query, _ in waiting], np.array([left for _, left in waiting], np.int64)


def _answers_left(where: Outcome) -> int:
    """The first answer, or the rest of a split class; and one for each request."""
    return int(not where.active_responses or where.in_part) + len(where.pending_requests)


def _why_none(work: Sequence[Effort], answers: Sequence[Effort]) -> str | None:
    """Why nothing is predicted, in words; None if it is."""
    if not answers and any(each.answered for each in work):
        who = ", ".join(sorted({each.annotator for each in work}))
        return f"no answer was timed: {who} is not a person, so there is nothing to learn from"
    if len(answers) < MIN_ANSWERS:
        return (
            f"too few answers to predict from: {len(answers)} were timed, {MIN_ANSWERS} are needed"
        )
    return None


def _model(
    answers: Sequence[Effort],
    features: np.ndarray,
    people: Sequence[str],
    seconds: np.ndarray,
    voxel_size: float,
) -> dict[str, Any]:
    """What makes answers slow, and the errors of predictions from what is known beforehand."""
    given = after_answers(answers, voxel_size)
    explained = TimeModel(given, people, seconds)
    varies = given.min(0) < given.max(0)
    effects = {
        name: float(factor)
        for name, factor, told in zip(EFFECTS, explained.factors, varies, strict=True)
        if told
    }
    if len(explained.names) > 1:
        persons = explained.person_factors.items()
        effects |= {f"{name} (mean person: 1)": factor for name, factor in persons}
    return {
        "answers": len(answers),
        "effects": effects,
        "held_out": vars(held_out(features, people, seconds)),
    }


def _sum(work: Sequence[Effort]) -> float | None:
    seconds = [each.seconds for each in work if each.seconds is not None]
    return float(sum(seconds)) if seconds else None


def _hundred(person: dict[str, Any]) -> float | None:
    share = person["accepted_share"]
    return None if share is None else 100 * share


def _time(seconds: float | None) -> str:
    return "no time recorded" if seconds is None else duration(seconds)


def _each(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _count(clicks: int) -> str:
    return f"{clicks:,}" if clicks else "-"
