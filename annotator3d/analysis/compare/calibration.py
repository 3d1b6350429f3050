"""An A/A test: one arm against itself with other seeds. How often is a difference "shown"?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotator3d.analysis.compare.paired import LEVEL, sign_flip_p, t_p


@dataclass(frozen=True)
class FalseAlarms:
    """Of tests between two halves of the runs of one arm, between which there is no difference."""

    runs: int
    pairs: int  # in each test
    tests: int
    alarms: int  # tests with p <= 0.05
    low: float  # 95 % interval of the share of alarms (Clopper and Pearson)
    high: float
    promised: float  # the share that the test promises not to exceed

    @property
    def rate(self) -> float:
        return self.alarms / self.tests


def false_alarms(scores: Sequence[float], test: str, splits: int = 1000) -> FalseAlarms | None:
    """Split the runs of one arm into two groups at random, again and again, and test each split.

    The runs of a group are paired with those of the other at random. The splits share runs, so
    the interval says how well this many splits measure the rate of these runs; it says less of
    other runs. None for fewer than four runs.

    Args:
        scores: one for each run, all with other seeds.
        test: one of `paired.TESTS`.
    """
    from scipy import stats

    values = np.asarray(scores, float)
    pairs = len(values) // 2
    if pairs < 2:
        return None
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(splits):
        drawn = random.permutation(values)[: 2 * pairs]
        differences = drawn[:pairs] - drawn[pairs:]
        p = sign_flip_p(differences) if test == "sign-flip" else t_p(differences)
        alarms += p <= LEVEL
    low, high = stats.binomtest(alarms, splits).proportion_ci()
    return FalseAlarms(len(values), pairs, splits, int(alarms), float(low), float(high), LEVEL)
