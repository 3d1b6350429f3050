"""What a run will not learn, and whether another round is worth it, without any label.

Stopping by the stability of predictions: Bloodgood and Vijay-Shanker, A method for stopping active
learning based on stabilizing predictions and the need for user-adjustable stopping, CoNLL 2009:
stop when the kappa of consecutive models on a fixed set of points, averaged over three rounds,
reaches 0.99. Change per hour of a person: the cost of an answer belongs into such a decision
(Settles, Craven and Friedland, Active learning with real annotation costs, NIPS workshop on
cost-sensitive learning, 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.kappa import cohen_kappa
from annotator3d.active.pool_predictions import PoolPredictions, read
from annotator3d.data.scan import IGNORE
from annotator3d.errors import count
from annotator3d.ledger.reader import LedgerReader

STABLE = 0.99
WINDOW = 3
_NAMED = 6  # classes that a line names


@dataclass(frozen=True)
class Unlearnt:
    """A class that no answer holds so far."""

    name: str
    queries: int  # answered ones
    scans: int | None  # in which the network predicts it; None: nothing was predicted
    of: int  # scans of the pool that were predicted


@dataclass(frozen=True)
class Stability:
    """How far the network of a round predicts what that of the round before did."""

    round: int
    kappa: float
    changed: float  # share of the points, 0..1
    points: int  # that were compared


def unlearnt(
    ledger: LedgerReader, predicted: PoolPredictions | None, up_to_round: int
) -> list[Unlearnt]:
    """Classes without a labelled point in the answers of these rounds; none before an answer."""
    names = ledger.taxonomy_names
    points, queries = np.zeros(IGNORE + 1, np.int64), 0
    for answers in ledger.labels_by_scan(up_to_round=up_to_round).values():
        for answer in answers:
            points += np.bincount(answer.labels, minlength=IGNORE + 1)
            queries += 1
    if queries == 0:
        return []
    scans = [None] * len(names) if predicted is None else predicted.scans.tolist()
    of = 0 if predicted is None else len(predicted.samples)
    return [Unlearnt(n, queries, scans[c], of) for c, n in enumerate(names) if points[c] == 0]


def in_words(missing: Sequence[Unlearnt]) -> str:
    """One line of warning, with what helps; empty for nothing."""
    if not missing:
        return ""
    shown = [_of_class(each) for each in missing[:_NAMED]]
    if len(missing) > _NAMED:
        shown.append(f"and {count(len(missing) - _NAMED, 'more class', 'more classes')}")
    helps = []
    if any(each.scans for each in missing):
        helps.append("active.class_quota asks about every class that is predicted somewhere")
    if missing[0].scans is None:
        helps.append("a round that a network scores looks for more than chance finds")
    if any(each.scans == 0 for each in missing):
        helps.append(
            "no score finds a class that is predicted nowhere: voxels drawn by the strategy "
            "geometry_random may, and source scans that hold it (setting ada) teach it"
        )
    return f"not learnt so far: {', '.join(shown)}. What helps: {'; '.join(helps)}"


def _of_class(each: Unlearnt) -> str:
    where = ""
    if each.scans is not None:
        where = ", predicted in " + (
            f"{each.scans:,} of {count(each.of, 'scan')}" if each.scans else "no scan"
        )
    return f"{each.name} (0 of {count(each.queries, 'answer')}{where})"


def stability(folder: Path, rounds: Sequence[int]) -> list[Stability]:
    """Of each round whose predictions, and those of the round before, are stored.

    Args:
        folder: ``rounds/`` of a work directory.
        rounds: numbers, ascending.
    """
    found = []
    before = None
    for round in rounds:
        now = read(folder, round)
        if now is not None and before is not None and now.taxonomy == before.taxonomy:
            pairs = confusion(before, now)
            if points := int(pairs.sum()):
                same = float(np.trace(pairs)) / points
                found.append(Stability(round, kappa(pairs), 1 - same, points))
        before = now
    return found


def confusion(before: PoolPredictions, now: PoolPredictions) -> NDArray[np.int64]:
    """[C, C] sampled points of the scans of both, by the class before and now."""
    classes = len(now.points)
    both = sorted(before.samples.keys() & now.samples.keys())
    if not both:
        return np.zeros((classes, classes), np.int64)
    old = np.concatenate([before.samples[scan] for scan in both]).astype(np.int64)
    new = np.concatenate([now.samples[scan] for scan in both]).astype(np.int64)
    known = (old < classes) & (new < classes)
    pairs = np.bincount(old[known] * classes + new[known], minlength=classes**2)
    return pairs.reshape(classes, classes)


def kappa(pairs: NDArray[np.int64]) -> float:
    """Cohen's kappa of a square table of counts; 1 where both say the same one class only."""
    found = cohen_kappa(pairs)
    return 1.0 if found is None else found


def advice(found: Sequence[Stability], hours: float | None) -> str:
    """Whether to stop, in words.

    Args:
        hours: what the next round will take a person; None: not known.
    """
    if len(found) < WINDOW:
        return (
            f"{count(len(found), 'round')} of {WINDOW} that are compared with the round before: "
            "too few to say whether another round is worth it."
        )
    mean = float(np.mean([each.kappa for each in found[-WINDOW:]]))
    last = found[-1]
    change = f"the last round changed {100 * last.changed:.1f} % of the predictions"
    if hours:
        change += f"; at its pace the next one, of about {hours:.1f} h, changes "
        change += f"{100 * last.changed / hours:.1f} % an hour"
    if mean >= STABLE:
        return (
            f"Stop: over the last {WINDOW} rounds the predictions agree with those of the round "
            f"before (mean kappa {mean:.3f}, stable from {STABLE}); {change}."
        )
    return (
        f"Go on: mean kappa over the last {WINDOW} rounds is {mean:.3f}, below {STABLE}; {change}."
    )
