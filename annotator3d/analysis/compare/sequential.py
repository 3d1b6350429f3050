"""Looking at an experiment before it ends, with the chance of a false claim under control.

After the idea of AdaStop (Mathieu et al., "AdaStop: adaptive statistical testing for sound
comparisons of Deep RL agents", 2023, arXiv:2306.10882): a group sequential permutation test, which
looks after each group of runs and stops a comparison as soon as it is decided. What is implemented
here is simpler and differs in three points:

- Each comparison is that of one arm with its reference, on pairs; the permutations are the 2^n
  signs of the differences. They give the exact distribution if the arms are alike.
- C comparisons share the level by Bonferroni: each has 0.05 / C. AdaStop uses the largest statistic
  of all arms and a step-down, which has more power and holds for many seeds only.
- A comparison ends early only when a difference is shown. AdaStop may also end one early as equal.

At look k of K, the share of signs that have crossed a boundary at this or an earlier look is at
most k / K of the level; the boundary is the smallest that keeps this. The observed differences are
one of the signs, each as likely as the others if the arms are alike, so the chance of a false claim
in all looks together is at most the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotator3d.analysis.compare.paired import LEVEL, flips


@dataclass(frozen=True)
class Look:
    """One look at one comparison."""

    pairs: int
    statistic: float  # absolute sum of the differences
    boundary: float | None  # the statistic at which a difference is shown; None: none would do
    shown: bool


def look_at(
    differences: Sequence[float], group: int, looks: int, comparisons: int = 1
) -> list[Look]:
    """Replay the looks at one comparison, up to the one that shows a difference.

    Args:
        differences: of the pairs so far, in the order in which they were planned.
        group: pairs between two looks. looks: at most.
        comparisons: of the experiment; each gets 0.05 / comparisons.

    Returns:
        the looks for which there are pairs enough. Only the last may have `shown`.
    """
    values = np.asarray(differences, float)
    signs = flips(group * looks)
    level = LEVEL / max(comparisons, 1)
    inside = np.ones(len(signs), bool)  # has crossed no boundary yet
    found: list[Look] = []
    for k in range(1, looks + 1):
        n = k * group
        if n > len(values):
            break
        # Whole units of the last bits, so that equal sums are equal.
        unit = max(1e-9 * float(np.abs(values[:n]).sum()), np.finfo(float).tiny)
        sums = np.round(np.abs(signs[:, :n] @ values[:n]) / unit)
        allowed = int(np.floor(level * k / looks * len(signs) + 1e-9)) - int((~inside).sum())
        boundary = _boundary(sums[inside], allowed)
        crossed = inside & (sums >= boundary)
        height = None if np.isinf(boundary) else float(boundary * unit)
        shown = bool(crossed[0])
        found.append(Look(n, float(abs(values[:n].sum())), height, shown))
        inside &= ~crossed
        if shown:
            break
    return found


def _boundary(sums: np.ndarray, allowed: int) -> float:
    """The smallest of these values that at most `allowed` of them reach; infinite if none is."""
    ordered = np.sort(sums)[::-1]
    if allowed <= 0:
        return np.inf
    reached = ordered[ordered > ordered[allowed]]  # ties stay out as a whole
    return float(reached[-1]) if len(reached) else np.inf
