"""How far two answers to the same items agree beyond chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cohen_kappa(matrix: NDArray[np.int64]) -> float | None:
    """Cohen's kappa; None without items, and where both always gave one and the same answer.

    J. Cohen, A coefficient of agreement for nominal scales, Educational and Psychological
    Measurement 20(1), 1960.

    Args:
        matrix: [K, K] items by the first and the second answer.
    """
    total = int(matrix.sum())
    by_chance = sum(int(a) * int(b) for a, b in zip(matrix.sum(0), matrix.sum(1), strict=True))
    if by_chance == total * total:
        return None
    return (int(np.trace(matrix)) * total - by_chance) / (total * total - by_chance)
