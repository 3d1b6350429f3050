"""The base of strategies that choose among candidates of the whole pool, such as core-sets.

Each scan gives candidates and what describes them; rank 0 chooses among those of all scans, as
many as the round may ask and no more of a scan than `active.queries_per_scan`. What was not chosen
comes last, in the order of the hash.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.budget import scan_seed
from annotator3d.active.descriptors import Descriptors, describe_voxels
from annotator3d.active.draws import uniform
from annotator3d.active.evidence import FEATURES, POOL, Evidence, Moment
from annotator3d.active.exact import exact_means, points_of
from annotator3d.active.pool_candidates import Chosen, Pool, ScanCandidates, most_of_scan
from annotator3d.active.query_strategy import QueryStrategy
from annotator3d.active.selector import among, may_be_picked
from annotator3d.errors import in_yaml
from annotator3d.kernels.scores import entropy_and_margin, voxel_reduce
from annotator3d.kernels.selection import top_voxels


class PoolStrategy(QueryStrategy):
    """Chooses among candidates of all scans. A strategy writes `describe` and `choose`.

    Args:
        voxel_size, max_range, min_points: as `QueryStrategy`.
        candidates: most voxels of a scan; see `pool_candidates.most_of_scan`.
        draw: which ones: hash (drawn) or entropy (of the highest mean entropy of their points).
    """

    needs = (POOL, FEATURES)
    uses_asked = True
    """Whether `choose` reads what earlier rounds asked about."""

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        candidates: int = 200,
        draw: str = "hash",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points)
        if draw not in ("hash", "entropy"):
            raise ValueError(f"draw: expected 'hash' or 'entropy', got {in_yaml(draw)}")
        if candidates < 1:
            raise ValueError(f"candidates: expected at least 1, got {candidates}")
        self.candidates, self.draw = candidates, draw

    @abstractmethod
    def width(self, evidence: Evidence) -> int:
        """D of `describe`."""

    @abstractmethod
    def describe(self, evidence: Evidence, rows: Tensor) -> NDArray[np.float64]:
        """[k, D] what describes the voxels `rows` [k]; the order of points changes no bit."""

    @abstractmethod
    def choose(self, pool: Pool, moment: Moment) -> Sequence[int]:
        """Rows of the pool in the order in which they are chosen."""

    def observe(self, evidence: Evidence) -> ScanCandidates:
        """The candidates of a scan."""
        voxels, moment = evidence.voxels, evidence.moment
        asked = among(voxels.cells, evidence.asked)
        allowed = may_be_picked(voxels, self.voxel_size, self.max_range, self.min_points) & ~asked
        purpose = f"candidates of round {moment.round}"
        draws = uniform(voxels.cells, moment.seed, evidence.scan_id, purpose)
        most = most_of_scan(self.candidates, self.width(evidence), moment)
        worth = draws if self.draw == "hash" else mean_entropy(evidence)
        seed = torch.tensor([scan_seed(moment.seed, f"{purpose}\0{evidence.scan_id}")])
        (rows,) = top_voxels(worth, voxels, most, seed.to(draws.device), ~allowed)
        known = (asked & self.uses_asked).nonzero()[:, 0]
        known = known[draws[known].argsort(stable=True)]
        values = self.describe(evidence, torch.cat([rows, known])).astype(np.float32)
        return ScanCandidates(
            voxels.cells[rows].cpu().numpy(),
            values[: len(rows)],
            draws[rows].cpu().numpy(),
            values[len(rows) :],
            int(allowed.sum()),
            evidence.num_classes,
        )

    def conclude(self, observed: Mapping[str, Any], moment: Moment) -> Chosen:
        pool = Pool.join(observed)
        return Chosen.of(pool, self.choose(pool, moment), moment)

    def remark(self, pool: Chosen) -> str:
        return pool.words

    def score(self, evidence: Evidence) -> Tensor:
        """[V] float64, place from the end among what was chosen of the pool; 0: not chosen."""
        return evidence.pool.utilities(evidence.scan_id, evidence.voxels.cells)


class DescriptorStrategy(PoolStrategy):
    """A strategy of the pool in the space of geometric descriptors, for which no network is needed,
    or of features.

    Args:
        voxel_size, max_range, min_points, candidates: as `PoolStrategy`.
        space: geometry, of which each descriptor has mean 0 and variance 1 over the candidates, or
            features, as vectors of length 1.
    """

    def __init__(
        self,
        voxel_size: float = 0.25,
        max_range: float | None = None,
        min_points: int = 1,
        candidates: int = 200,
        space: str = "geometry",
    ) -> None:
        super().__init__(voxel_size, max_range, min_points, candidates)
        if space not in ("geometry", "features"):
            raise ValueError(f"space: expected 'geometry' or 'features', got {in_yaml(space)}")
        self.space = space
        self.needs_model = space == "features"
        self.needs = (POOL, FEATURES) if self.needs_model else (POOL,)

    def width(self, evidence: Evidence) -> int:
        return evidence.features.shape[1] if self.needs_model else len(Descriptors._fields)

    def describe(self, evidence: Evidence, rows: Tensor) -> NDArray[np.float64]:
        if self.needs_model:
            return mean_features(evidence, rows)
        found = describe_voxels(
            evidence.xyz, evidence.voxels, self.voxel_size, evidence.intensity, rows
        )
        return np.column_stack(found)

    def places(self, pool: Pool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where candidates [n, D] and voxels asked about before [q, D] lie in the space."""
        values, asked = pool.values.astype(np.float64), pool.asked.astype(np.float64)
        both = np.concatenate([values, asked])
        if self.needs_model:
            both = both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
        elif len(both):
            deviation = both.std(0)
            both = (both - both.mean(0)) / np.where(deviation > 0, deviation, 1)
        return both[: len(values)], both[len(values) :]


def mean_features(evidence: Evidence, rows: Tensor) -> NDArray[np.float64]:
    """[k, D] mean features of the points of the voxels `rows` [k]."""
    points, voxel = points_of(evidence.voxels, rows)
    return exact_means(evidence.features[points], voxel, len(rows)).cpu().numpy()


def mean_entropy(evidence: Evidence) -> Tensor:
    """[V] int64, mean entropy of the points of each voxel; one bit is `SCORE_ONE`."""
    if evidence.prediction.dim() != 2:
        raise ValueError("entropy needs logits [N, C], not classes or scores of points")
    return voxel_reduce(entropy_and_margin(evidence.prediction)[0], evidence.voxels, "mean")
