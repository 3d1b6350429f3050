"""All that one scan is taught, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.agreement import Agreed
from annotator3d.active.propagation.audit import Audit, Counts, counts_by_distance
from annotator3d.active.propagation.surface import SurfaceRule, spread
from annotator3d.active.propagation.teaching import (
    Taught,
    TeachingRule,
    Witness,
    distance,
    teach,
)
from annotator3d.data.scan import IGNORE, Scan
from annotator3d.data.taught_labels import Kind, TaughtLabels


@dataclass(frozen=True)
class Lesson:
    """What a scan is taught.

    `pairs` [k, 3] int64 says for each scan that is the nearest one to teach any of its points: its
    number among the others, points whose truth or own answer is known, and those that are right.
    """

    taught: TaughtLabels
    audit: Audit
    pairs: NDArray[np.int64]


def lesson(
    scan: Scan,
    answers: NDArray[np.uint8],
    answered: NDArray[np.bool_],
    target: Witness | None,
    others: Sequence[Witness],
    classes: int,
    rule: TeachingRule | None = None,
    surface: SurfaceRule | None = None,
    predicted: NDArray[np.uint8] | None = None,
    agreed: Agreed | None = None,
) -> Lesson:
    """What answers about other scans, those on its own surfaces and predictions teach a scan of N
    points.

    A point that both answers teach has the label of its place; where they differ it is left out.
    Predictions teach the points that no answer teaches.

    Args:
        scan: its labels, if it has any, are the truth, which the audit alone looks at.
        answers, answered: [N], see `teach`.
        target: the scan among its others; None: it has no pose.
        classes: C.
        predicted: [N], see `spread`.
        agreed: what predictions teach; None: nothing was predicted.
    """
    audit, labels = Audit.empty(classes), np.full(len(scan), IGNORE, np.uint8)
    audit.answered[:] = np.bincount(answers[answers != IGNORE], minlength=classes)
    kinds, pairs = np.full(len(scan), Kind.PLACE, np.uint8), np.zeros((0, 3), np.int64)
    along, on_surface, conflicts = np.zeros(0, np.int64), np.zeros(0, np.uint8), 0
    open = np.ones(len(scan), bool)
    if surface is not None:
        along, on_surface, conflicts = spread(scan.xyz, answers, answered, predicted, surface)
    audit.conflicts[0] = conflicts
    if rule is not None and target is not None and others:
        found = teach(scan.xyz, answers, answered, target, others, rule)
        labels[along] = on_surface
        differ = (labels[found.rows] != IGNORE) & (labels[found.rows] != found.labels)
        labels[found.rows] = np.where(differ, IGNORE, found.labels)
        open[found.rows[differ]] = False
        audit.conflicts[0] += found.conflicts + differ.sum()
        found = replace(
            found,
            rows=found.rows[~differ],
            labels=found.labels[~differ],
            source=found.source[~differ],
        )
        alone = np.isin(along, found.rows, invert=True) & (labels[along] != IGNORE)
        along, on_surface = along[alone], on_surface[alone]
        pairs = _audit_places(audit, found, scan.labels, answers, target, others, classes)
    labels[along], kinds[along] = on_surface, Kind.SURFACE
    _audit_surfaces(audit, along, on_surface, scan.labels, classes)
    audit.scans[0] = (labels != IGNORE).any()
    if agreed is not None:
        _add_agreed(audit, agreed, open, labels, kinds, scan.labels)
    rows = np.flatnonzero(labels != IGNORE)
    return Lesson(TaughtLabels(rows, labels[rows], kinds[rows]), audit, pairs)


def _audit_places(
    audit: Audit,
    found: Taught,
    truth: NDArray[np.uint8] | None,
    answers: NDArray[np.uint8],
    target: Witness,
    others: Sequence[Witness],
    classes: int,
) -> NDArray[np.int64]:
    """Count what places taught; returns `Lesson.pairs`."""
    apart = np.array([distance(target.pose, other.pose) for other in others])

    def add(counts, labels, source) -> None:
        counts += counts_by_distance(labels, apart[source], classes)

    known = np.zeros(len(found.rows), bool)
    right = known.copy()
    if truth is not None:
        known = truth[found.rows] != IGNORE
        right = known & (truth[found.rows] == found.labels)
    same = answers[found.checked_rows] == found.checked_labels
    add(audit.taught, found.labels, found.source)
    add(audit.judged, found.labels[known], found.source[known])
    add(audit.right, found.labels[right], found.source[right])
    add(audit.checked, found.checked_labels, found.checked_source)
    add(audit.agreed, found.checked_labels[same], found.checked_source[same])
    audit.unseen[0], audit.freed[0] = found.unseen, found.freed
    source = np.concatenate([found.source[known], found.checked_source])
    judged = np.bincount(source, minlength=len(others))
    correct = np.bincount(source, np.concatenate([right[known], same]), len(others))
    used = np.flatnonzero(judged)
    return np.column_stack([used, judged[used], correct[used]]).astype(np.int64)


def _audit_surfaces(
    audit: Audit,
    rows: NDArray[np.int64],
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    classes: int,
) -> None:
    counts = audit.surface, audit.surface_judged, audit.surface_right
    _judge(counts, rows, labels, truth, classes)


def _add_agreed(
    audit: Audit,
    agreed: Agreed,
    open: NDArray[np.bool_],
    labels: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
) -> None:
    """Teach and count what predictions say of the open points [N] that have no label."""
    added = open[agreed.rows] & (labels[agreed.rows] == IGNORE)
    rows, found = agreed.rows[added], agreed.labels[added]
    labels[rows], kinds[rows] = found, Kind.AGREEMENT
    counts = audit.agreement, audit.agreement_judged, audit.agreement_right
    _judge(counts, rows, found, truth, len(audit.agreement))
    audit.refuted[0], audit.predicted[0], audit.agreement_scans[0] = agreed.refuted, 1, added.any()


def _judge(
    counts: tuple[Counts, Counts, Counts],
    rows: NDArray[np.int64],
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None,
    classes: int,
) -> None:
    """Count [C] the labels of these rows, those whose truth is known, and those that are right."""
    counts[0][:] = np.bincount(labels, minlength=classes)
    if truth is not None:
        known = truth[rows] != IGNORE
        counts[1][:] = np.bincount(labels[known], minlength=classes)
        counts[2][:] = np.bincount(labels[truth[rows] == labels], minlength=classes)
