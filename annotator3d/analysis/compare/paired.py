"""One comparison of two arms: the differences of their pairs, and what they can and cannot show.

A pair is one seed: both arms start from the same weights and see the same batches. What is tested
is the difference within the pair, so what makes a seed easy or hard for both arms drops out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LEVEL = 0.05  # of every test and, as 1 - LEVEL, of every interval
POWER = 0.8
MOST_FLIPS = 1 << 16  # up to 16 pairs every sign is tried; beyond, this many are drawn
TESTS = ("sign-flip", "t")


@dataclass(frozen=True)
class Paired:
    """What n differences say. Numbers that fewer than two differences cannot give are None."""

    differences: tuple[float, ...]
    mean: float
    sd: float | None  # sample standard deviation
    low: float | None  # 95 % interval of the mean (Student's t)
    high: float | None
    p_sign_flip: float  # two-sided
    p_t: float | None  # two-sided
    detectable: float | None  # the smallest true difference that n such pairs show

    @property
    def pairs(self) -> int:
        return len(self.differences)

    def p_value(self, test: str) -> float:
        """Of one of `TESTS`; 1 where there are too few pairs for it."""
        p = self.p_sign_flip if test == "sign-flip" else self.p_t
        return 1.0 if p is None else p


def compare_pairs(differences: Sequence[float]) -> Paired:
    """Compare two arms by the differences of their pairs.

    Raises ValueError for no difference, or one that is not finite.
    """
    values = np.asarray(differences, float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"differences: expected finite numbers, at least one, got {differences}")
    found = tuple(values.tolist())
    mean, p_flip = float(values.mean()), sign_flip_p(values)
    if len(values) == 1:
        return Paired(found, mean, None, None, None, p_flip, None, None)
    sd = float(values.std(ddof=1))
    low, high = t_interval(values)
    return Paired(found, mean, sd, low, high, p_flip, t_p(values), detectable(sd, len(values)))


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of values [n], n >= 2, by Student's t."""
    from scipy import stats  # late: it slows down a usage error

    n = len(values)
    half = stats.t.ppf(1 - LEVEL / 2, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return float(values.mean() - half), float(values.mean() + half)


def t_p(values: np.ndarray) -> float:
    """Two-sided p of the paired t-test on differences [n], n >= 2; equal ones have no spread."""
    from scipy import stats

    if np.ptp(values) == 0:
        return 0.0 if values[0] else 1.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def sign_flip_p(values: np.ndarray) -> float:
    """Two-sided p of the sign-flip permutation test on differences [n].

    The null hypothesis is that the arms are alike, so that either sign of a difference was as
    likely. Up to 16 pairs all 2^n signs are tried and p is exact; of more, `MOST_FLIPS` are drawn,
    the same ones each time, and the observed one counts among them.
    """
    sums = np.abs(flips(len(values)) @ values)
    seen = abs(values.sum())
    return float((sums >= seen - _slack(values)).mean())


@lru_cache(maxsize=8)
def flips(n: int) -> np.ndarray:
    """[M, n] int8 of -1 and 1, the first row all 1: all 2^n, or `MOST_FLIPS` that were drawn.

    Not to be changed: the same array each time.
    """
    if 1 << n <= MOST_FLIPS:
        bits = np.arange(1 << n)[:, None] >> np.arange(n) & 1
        return (1 - 2 * bits).astype(np.int8)
    signs = np.random.default_rng(0).integers(0, 2, (MOST_FLIPS, n), np.int8) * 2 - 1
    signs[0] = 1
    return signs.astype(np.int8)


def is_exact(n: int) -> bool:
    """Whether the sign-flip test of n pairs tries every sign."""
    return 1 << n <= MOST_FLIPS


def _slack(values: np.ndarray) -> float:
    """What sums of the same differences may differ by in their last bits."""
    return 1e-9 * float(np.abs(values).sum())


def detectable(sd: float, n: int) -> float:
    """The smallest true difference that n pairs of this spread show in 80 % of experiments.

    For the t-test of one comparison at the level of 5 % (noncentral t, statsmodels). Holm's
    correction for several comparisons makes it larger.
    """
    from statsmodels.stats.power import TTestPower

    return sd * float(TTestPower().solve_power(nobs=n, alpha=LEVEL, power=POWER))


def pairs_needed(tests: int, test: str) -> int:
    """The fewest pairs, at least 5, with which any of so many comparisons can be shown at all.

    The sign-flip test of n pairs has no p below 2 / 2^n, and Holm multiplies the smallest of k by
    k. The t-test has no such limit.
    """
    if test == "t":
        return 5
    return max(5, math.ceil(math.log2(2 * max(tests, 1) / LEVEL) - 1e-12))
