"""Labels that a person can accept with one key, from a prediction or from answers near by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger.records import IGNORE

OFFERS = ("uniform", "all", "off")
"""Which predictions are offered: those of a single class, all, or none."""

_MOVABLE = frozenset(
    "car cars bus buses truck trucks van lorry trailer caravan vehicle vehicles tram train on-rails"
    " bicycle bike motorcycle motorbike moped scooter bicyclist cyclist motorcyclist rider riders"
    " person persons people pedestrian pedestrians human child adult animal animals dog boat ship"
    " crane excavator forklift wheelchair stroller movable moving".replace("on-", "").split()
)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Labels that one key accepts."""

    labels: NDArray[np.uint8]  # [n] one per point that is asked about
    source: str  # "prediction", or "place": answers for the same place in other scans
    queries: tuple[int, ...] = ()  # the queries whose answers it comes from


def propose_from_prediction(predicted: NDArray[np.uint8] | None, offer: str) -> Proposal | None:
    """The predicted classes [n] of a voxel as a proposal, where `offer` (of `OFFERS`) allows it."""
    if predicted is None or offer == "off" or not len(predicted) or (predicted == IGNORE).any():
        return None
    if offer == "uniform" and len(np.unique(predicted)) > 1:
        return None
    return Proposal(predicted, "prediction")


def propose_from_neighbours(
    num_labels: int,
    answers: Sequence[tuple[int, NDArray[np.uint8]]],
    movable: frozenset[int] | None,
) -> Proposal | None:
    """One class for the voxel, if that is what the answers for the same place agree on.

    Args:
        num_labels: points that are asked about.
        answers: (query, labels) of answered voxels at the same place.
        movable: train ids of things that move, which may have left since; None: nobody has said
            which, so nothing is offered.
    """
    if movable is None or not answers:
        return None
    found = np.unique(np.concatenate([labels for _, labels in answers]))
    if len(found) != 1 or found[0] == IGNORE or int(found[0]) in movable:
        return None
    labels = np.full(num_labels, found[0], np.uint8)
    return Proposal(labels, "place", tuple(query for query, _ in answers))


def movable_classes(names: Sequence[str]) -> frozenset[int]:
    """Train ids of the classes whose name has a word for something that moves by itself.

    ``other-vehicle`` and ``construction_vehicle`` are found, ``vegetation`` is not. A class list
    with other words needs the session's option `movable`.
    """
    words = [set(re.split(r"[^a-z]+", name.lower())) for name in names]
    return frozenset(index for index, found in enumerate(words) if found & _MOVABLE)
