"""The texts of the panel: the same in a window and in a browser."""

from __future__ import annotations

import numpy as np

from annotator3d.annotation.review_session import ReviewSession
from annotator3d.annotation.session import LabelSession
from annotator3d.errors import count
from annotator3d.ledger.describe import (
    TO_LABEL,
    describe_answer,
    describe_classes,
    describe_holders,
    describe_points,
)
from annotator3d.ledger.records import UNASSIGNED
from annotator3d.ledger.schema import EventKind
from annotator3d.viz.keys import KeyTable

_NEARBY = 3  # answers that are named


def heading(session: LabelSession) -> str:
    """Which voxel is on the screen."""
    query = session.current
    if query is None:
        held = session.held_by_others
        words = describe_holders(held[q] for q in session.matching() if q in held)
        return "no voxel on the screen" + (f"; {words}" if words else "")
    place, of = session.position
    x, y, z = ((np.array(query.cell) + 0.5) * session.ledger.voxel_size).tolist()
    lines = [
        f"voxel {place} of {of} (number {query.id}, round {query.round})",
        f"scan {query.scan}, {describe_points(query)}, {np.hypot(x, y):.0f} m away",
        f"state: {session.state}",
    ]
    if session.parts.count > 1:
        parts = session.parts
        lines.append(f"part {parts.current + 1} of {parts.count} ({parts.method})")
    if session.held:
        lines.append(session.held)
    response = session.response
    if isinstance(session, ReviewSession):
        lines += _opinions(session)
    elif response is not None:
        lines.append(
            f"by {response.answer.annotator}, {response.created_at[:16].replace('T', ' ')}"
        )
    lines += [f"note: {event.answer.note}" for event in session.notes]
    return "\n".join(lines)


def _opinions(session: ReviewSession) -> list[str]:
    """Who answered what; the opinion on the screen is marked."""
    found, approved, lines = session.opinions, session.approved, []
    for place, event in enumerate(found):
        answer = event.answer
        said = "no class" if answer.kind is EventKind.IGNORE else answer.kind
        if answer.labels is not None:
            said = describe_answer(session.ledger, event.id, answer.labels)
        words = " (approved)" if place in approved else ""
        mark = ">" if place == session.opinion % len(found) else " "
        when = event.created_at[:16].replace("T", " ")
        lines.append(f"{mark} {place + 1}. {answer.annotator}, {when}: {said}{words}")
    if len(found) > 1:
        lines.append(f"they differ in {count(int(session.differing.sum()), 'point')}")
    shown = found[session.opinion % len(found)].answer.labels if found else None
    if shown is not None and UNASSIGNED in shown:
        lines.append(f"after approval the voxel stays open for the points {TO_LABEL}")
    return lines


def offers(session: LabelSession) -> str:
    """The proposal that can be accepted, and the answers nearby."""
    lines = []
    for proposal in session.proposals[:1]:
        source = "predicted" if proposal.source == "prediction" else "answered here in other scans"
        names = describe_classes(proposal.labels, session.class_names)
        lines.append(f"proposed: {names} ({source})")
    for near in session.nearby()[:_NEARBY] if session.view is not None else []:
        names = describe_classes(session.labels_of(near.query), session.class_names)
        where = "" if near.scan == session.current.scan else f", scan {near.scan}"
        lines.append(f"{near.distance:.1f} m away: {names}{where}")
    return "\n".join(lines)


def progress(session: LabelSession) -> str:
    """What is done, and how long the rest will take."""
    done = session.progress
    text = f"{done.settled} of {done.total} done"
    if done.skipped or done.unsure:
        text += f" ({done.skipped} skipped, {done.unsure} unsure)"
    if done.seconds_per_answer is not None:
        text += f"; {done.seconds_per_answer:.1f} s each, {duration(done.seconds_left)} left"
    if done.set_aside:
        text += f"; {done.set_aside} set aside"
    if isinstance(session, ReviewSession):
        text += f"; {session.to_review} to review, {done.disputed} disputed"
    return text


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def help_lines(keys: KeyTable) -> list[str]:
    """The help panel."""
    return [f"{key:>11}  {text}: {help}" for key, text, help in keys.help()]
