"""How long answers take: a model of seconds, fitted to the answers that a ledger holds.

Ridge regression on the logarithm of 1 + seconds. Its predictions are scaled so that they sum to the
true total over the answers that it was fitted to (smearing): a team plans with totals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.ledger.effort import Effort
from annotator3d.ledger.records import Query

Floats = NDArray[np.float64]
People = Sequence[str] | NDArray[np.str_]

MIN_ANSWERS = 30  # timed answers below which nothing is predicted
FOLDS = 5
_RIDGE, _RIDGE_PERSON = 1.0, 5.0  # in answers: a person with 5 is half way to the mean person
_RESAMPLES = 200


@dataclass(frozen=True)
class HeldOut:
    """Errors on answers that the model was not fitted to, beside those of a constant mean."""

    answer: float  # mean absolute error of one answer, seconds
    answer_mean: float
    total: float  # relative, of the total of a fifth of the answers; mean over the fifths
    total_mean: float


class TimeModel:
    """Seconds of an answer from features of its voxel and, where it is known, the person.

    Args:
        features: [n, K], such as `before_answers` or `after_answers` give.
        people: n names, one effect for each; None: no effects of people.
        seconds: [n] what each answer took.
    """

    def __init__(self, features: Floats, people: People | None, seconds: Floats) -> None:
        self._centre = features.mean(0)
        spread = features.std(0)
        self._spread = np.where(spread > 1e-12, spread, 1.0)
        self.names = [] if people is None else np.unique(np.asarray(people, str)).tolist()
        columns, one_hot = self._scaled(features), self._one_hot(people, len(features))
        self._share = one_hot.mean(0)
        design = np.hstack([columns, one_hot - self._share])
        logs = np.log1p(seconds)
        self._level = logs.mean()
        ridge = [_RIDGE] * columns.shape[1] + [_RIDGE_PERSON] * len(self.names)
        normal = design.T @ design + np.diag(ridge)
        weights = np.linalg.solve(normal, design.T @ (logs - self._level))
        self._slopes, self._effects = np.split(weights, [columns.shape[1]])
        total, fitted = (1 + seconds).sum(), np.exp(self._level + design @ weights)
        self._smear = total / fitted.sum()
        self._smear_anyone = total / np.exp(self._level + columns @ self._slopes).sum()

    def predict(self, features: Floats, people: People | None = None) -> Floats:
        """[m] seconds; of the mean person without `people`, or for a person who is not known."""
        smear = self._smear_anyone if people is None else self._smear
        return np.maximum(smear * np.exp(self._logs(features, people)) - 1, 0.0)

    @property
    def factors(self) -> Floats:
        """[K] factor on the seconds for one more of each feature; above 1: it takes longer."""
        return np.exp(self._slopes / self._spread)

    @property
    def person_factors(self) -> dict[str, float]:
        """Factor on the seconds of the mean person, by person; above 1: slower."""
        effects = self._effects - self._effects @ self._share
        return dict(zip(self.names, np.exp(effects).tolist(), strict=True))

    def _logs(self, features: Floats, people: People | None) -> Floats:
        logs = self._level + self._scaled(features) @ self._slopes
        if people is not None and self.names:
            one_hot = self._one_hot(people, len(features))
            known = one_hot.any(1)
            logs[known] += (one_hot[known] - self._share) @ self._effects
        return logs

    def _scaled(self, features: Floats) -> Floats:
        return (features - self._centre) / self._spread

    def _one_hot(self, people: People | None, count: int) -> Floats:
        if people is None or not self.names:
            return np.zeros((count, len(self.names)))
        return (np.asarray(people)[:, None] == np.array(self.names, str)).astype(float)


def timed(work: Iterable[Effort]) -> list[Effort]:
    """The answers whose time was measured, in their order."""
    return [each for each in work if each.answered and each.seconds is not None]


def before_answers(
    queries: Sequence[Query], voxel_size: float, classes: Sequence[int | None] | None = None
) -> Floats:
    """[n, 4] features that are known before the answers.

    Logarithm to base 2 of the points asked about, tens of metres from the sensor to the centre of
    the voxel, predicted classes beyond the first, and whether a prediction is known.

    Args:
        classes: number of predicted classes of each voxel, None where none was stored.
    """
    predicted = [None] * len(queries) if classes is None else classes
    rows = [
        (*place(query.num_labels, query.cell, voxel_size), (count or 1) - 1, count is not None)
        for query, count in zip(queries, predicted, strict=True)
    ]
    return np.array(rows, float).reshape(-1, 4)


def after_answers(work: Sequence[Effort], voxel_size: float) -> Floats:
    """[n, 5] features of given answers.

    Points and range as `before_answers`, classes beyond the first, proposal accepted, typed over.
    """
    rows = [
        (
            *place(each.query.num_labels, each.query.cell, voxel_size),
            each.classes - 1,
            each.proposal is True,
            each.proposal is False,
        )
        for each in work
    ]
    return np.array(rows, float).reshape(-1, 5)


def place(num_points: int, cell: Sequence[int], voxel_size: float) -> tuple[float, float]:
    """Logarithm to base 2 of the points, tens of metres from the sensor to the centre."""
    metres = float(np.linalg.norm((np.asarray(cell) + 0.5) * voxel_size))
    return float(np.log2(num_points)), metres / 10


def seconds_of(work: Sequence[Effort]) -> Floats:
    return np.array([each.seconds for each in work], float)


def held_out(features: Floats, people: People, seconds: Floats) -> HeldOut:
    """Errors over `FOLDS` stretches of answers, each predicted from the others.

    A stretch is a fifth of the answers, in their order. Its people count as unknown, as do those
    who will answer the open queries.
    """
    names, order = np.array(people, str), np.arange(len(seconds))
    each, each_mean, total, total_mean = [], [], [], []
    for fold in np.array_split(order, FOLDS):
        rest = np.setdiff1d(order, fold)
        model = TimeModel(features[rest], names[rest], seconds[rest])
        guess, mean, actual = model.predict(features[fold]), seconds[rest].mean(), seconds[fold]
        each.append(np.abs(guess - actual))
        each_mean.append(np.abs(mean - actual))
        whole = max(actual.sum(), 1e-9)
        total.append(abs(guess.sum() - whole) / whole)
        total_mean.append(abs(mean * len(fold) - whole) / whole)
    pooled = (float(np.concatenate(errors).mean()) for errors in (each, each_mean))
    return HeldOut(*pooled, float(np.mean(total)), float(np.mean(total_mean)))


def total_interval(
    features: Floats,
    people: People,
    seconds: Floats,
    ahead: Floats,
    times: NDArray[np.int64],
) -> tuple[float, float]:
    """90 % interval of the total of future answers, in seconds.

    Block bootstrap: stretches of answers are resampled, the model is fitted again, and residuals
    are resampled too. It assumes that the future is like the past.

    Args:
        ahead: [m, K] features of the open voxels.
        times: [m] how many answers each of them needs.
    """
    random, names, count = np.random.default_rng(0), np.array(people, str), len(seconds)
    block = int(np.ceil(np.sqrt(count)))
    off = seconds - TimeModel(features, people, seconds).predict(features)
    sums = np.convolve(off, np.ones(block), "valid")  # of every stretch
    draws, left = int(np.ceil(count / block)), int(times.sum())
    found = []
    for _ in range(_RESAMPLES):
        starts = random.integers(0, count - block + 1, draws)
        rows = (starts[:, None] + np.arange(block)).ravel()[:count]
        model = TimeModel(features[rows], names[rows], seconds[rows])
        total = model.predict(ahead) @ times
        whole, part = divmod(left, block)
        noise = random.choice(sums, whole).sum() + random.choice(off, part).sum()
        found.append(max(total + noise, 0.0))
    low, high = np.percentile(found, (5, 95))
    return float(low), float(high)
