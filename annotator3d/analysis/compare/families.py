"""Several comparisons at once: Holm's correction, and the matrix of who beats whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotator3d.analysis.compare.paired import LEVEL, t_p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given: all of them at or below 0.05 may be claimed.

    The chance of any false claim among them is then at most 5 %, no matter how the comparisons
    depend on each other.
    """
    from statsmodels.stats.multitest import multipletests

    if not len(p_values):
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def win_matrix(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    """The pairwise penalty matrix of one task.

    For each budget, an arm gets 1 / B from every arm that it beats in a paired t-test at 5 %, so
    an entry is the share of budgets at which the row's arm is significantly better than the
    column's. Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds"
    (ICLR 2020). These many tests are not corrected: the matrix sums up, it claims nothing.

    Args:
        curves: for each of A arms [S, B] scores by seed and budget; the same seeds and budgets,
            nan where a seed is missing.

    Returns:
        [A, A] float64 in 0..1, in the order of `curves`.
    """
    arms = list(curves.values())
    wins = np.zeros((len(arms), len(arms)))
    for i, one in enumerate(arms):
        for j, other in enumerate(arms):
            if i != j and one.shape[1]:
                beaten = [_is_better(difference) for difference in (one - other).T]
                wins[i, j] = np.mean(beaten)
    return wins


def _is_better(differences: np.ndarray) -> bool:
    known = differences[np.isfinite(differences)]
    return len(known) > 1 and known.mean() > 0 and t_p(known) <= LEVEL
