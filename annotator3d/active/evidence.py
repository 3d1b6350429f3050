"""What a strategy may know of a scan when it scores its voxels.

A strategy declares in `QueryStrategy.needs` what it asks for beyond the prediction; only that is
computed, and what it has not declared is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.kernels.voxels import Voxels

FEATURES = "features"
"""`Evidence.features`: what the network's layer before the head gives."""
VIEWS = "views"
"""`Evidence.views`: the predictions of the scan turned and mirrored."""
PREVIOUS = "previous"
"""`Evidence.previous`: what the network of the round before predicted here."""
NEIGHBOURS = "neighbours"
"""`Evidence.neighbours`: what is predicted at the same places in other scans."""
POOL = "pool"
"""`Evidence.pool`: what `QueryStrategy.conclude` made of a pass over the whole pool."""
LABELLED = "labelled"
"""`Evidence.labelled`: points of each class that the answers so far have labelled."""
PROTOTYPES = "prototypes"
"""`Evidence.prototypes`: mean features of each class of the source."""
NEEDS = (FEATURES, VIEWS, PREVIOUS, NEIGHBOURS, POOL, LABELLED, PROTOTYPES)


class Moment(NamedTuple):
    """Which round is selected, of how many, and how much it may ask."""

    round: int = 1
    rounds: int = 1
    budget: int = 1
    """Voxels of the round over all scans."""
    seed: int = 0
    scans: int = 1
    """Of the pool, that may be asked about."""
    per_scan: int = 1
    """Most voxels of one scan."""


class Agreement(NamedTuple):
    """What the scans that see a voxel's place in the world predict there, this scan among them."""

    means: NDArray[np.float32]
    """[V, C] mean class probabilities over these scans."""
    entropy: NDArray[np.float32]
    """[V] mean over these scans of the entropy, in bits, of each one's class probabilities."""
    scans: NDArray[np.int64]
    """[V] how many these are, at least 1."""


@dataclass(frozen=True)
class Given:
    """What is known of a scan beside its points and its prediction; see `Evidence`."""

    features: Tensor | None = None
    """[M, D], of the rows of the prediction."""
    views: Tensor | None = None
    intensity: Tensor | None = None
    previous: NDArray[np.float32] | None = None
    neighbours: Agreement | None = None
    pool: Any = None
    labelled: NDArray[np.int64] | None = None
    prototypes: Tensor | None = None
    moment: Moment = field(default_factory=Moment)


NOTHING = Given()


@dataclass(frozen=True)
class Evidence:
    """One scan of N points in V voxels, as a strategy sees it; tensors on one device."""

    scan_id: str
    voxels: Voxels
    voxel_size: float  # metres
    num_classes: int
    xyz: Tensor
    """[N, 3] float32 metres, sensor frame."""
    prediction: Tensor | None
    """[N, C] logits, or another prediction that the strategy takes."""
    intensity: Tensor | None
    """[N] float32; None where the caller gave none."""
    features: Tensor | None
    """[N, D] float32, of each point's network voxel."""
    views: Tensor | None
    """[A, N, C] logits of each view of the scan."""
    previous: NDArray[np.float32] | None
    """[V, C] mean class probabilities by the network of the round before; None in a first round."""
    neighbours: Agreement | None
    pool: Any
    labelled: NDArray[np.int64] | None
    """[C] points."""
    prototypes: Tensor | None
    """[C, D] float32; NaN for a class without points in the source."""
    asked: NDArray[np.int32]
    """[Q, 3] cells of this scan that are not asked about again."""
    moment: Moment
