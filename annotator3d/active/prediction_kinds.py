"""What the numbers of a prediction mean: logits, probabilities or scores of points.

Softmax reads logits. Probabilities are logits once their logarithm is taken, where a probability of
0 is minus infinity. Numbers that look like probabilities are refused until somebody says what they
are: their own softmax would be nearly the same for every class.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from annotator3d.errors import ConfigError, in_yaml

KINDS = ("logits", "probabilities", "scores")
_SUM_ERROR = 0.02  # of rows that were rounded, as half precision and three digits in a text are
_FEW = 8  # points whose sums may be equal by chance
_FAR_BELOW = 1e4  # a softmax of float32 gives 0 from 104 on


class UnclearPredictionError(ConfigError):
    """Numbers that may mean several things.

    Args:
        words: what they look like.
        kinds: what they may be, such as 'logits'; the likeliest first.
    """

    def __init__(self, words: str, *kinds: str) -> None:
        super().__init__(words, *kinds)
        self.words, self.kinds = words, kinds

    def __str__(self) -> str:
        kinds = " or ".join(map(repr, self.kinds))
        return f"prediction: {self.words}; say what they are with prediction_kind={kinds}"


def settle(
    given: Tensor, kind: str | None, only_classes: bool = False, num_classes: int = 255
) -> Tensor:
    """A prediction of points as strategies take it: of floats [N, C] logits for a softmax.

    Args:
        given: [N, C] floats: logits, whose -inf is the logarithm of a probability of 0; or
            probabilities, each row with the sum 1. [N] floats: scores. Others are left as they are.
        kind: one of `KINDS`; None: logits or scores, unless the numbers look otherwise.
        only_classes: only the class with the highest value of each row is used, which is the same
            in logits and in probabilities.

    Returns:
        finite values wherever `given` is finite or -inf; others are left to the kernels, which
        refuse them.

    Raises:
        UnclearPredictionError: `kind` is None, and the numbers look like something else.
        ConfigError: an unknown `kind`.
        ValueError: numbers that are not of this kind, or a row that is -inf in each class.
    """
    if kind not in (None, *KINDS):
        raise ConfigError(
            f"prediction_kind: expected {', '.join(KINDS)} or None, got {in_yaml(kind)}"
        )
    if not given.is_floating_point() or given.dim() not in (1, 2):
        return given
    if kind is not None and (kind == "scores") != (given.dim() == 1):
        shape = "[N]" if kind == "scores" else "[N, C]"
        raise ValueError(f"prediction: {kind} are {shape}, got {list(given.shape)}")
    if given.dim() == 1:
        if kind is None and not only_classes and _looks_like_class_ids(given, num_classes):
            words = "all scores are whole numbers, as classes are, which are given as integers"
            raise UnclearPredictionError(words, "scores")
        return given
    if kind == "probabilities":
        return _finite(_checked_probabilities(given.float()).log())
    if kind is None and (costs := _negative_logarithms_in(given)):
        words = f"{costs}: the lowest would be the likeliest class; negate them if they are that"
        raise UnclearPredictionError(words, "logits")
    if kind is None and not only_classes and (words := _other_logarithms_in(given)):
        raise UnclearPredictionError(f"{words}; a softmax expects natural ones", "logits")
    if kind is None and not only_classes and (words := probabilities_in(given)):
        words = f"{words}, as probabilities have and logits have not"
        raise UnclearPredictionError(words, "probabilities", "logits")
    return _finite(given)


def probabilities_in(values: Tensor) -> str:
    """Why [N, C] numbers are probably no logits, in words; empty where nothing speaks against it.

    No row of a trained network's logits lies in 0..1 by chance, let alone all rows of a scan.
    """
    if values.shape[0] == 0 or values.shape[1] < 2 or not values.is_floating_point():
        return ""
    low, high = float(values.min()), float(values.max())
    if not 0 <= low < high < math.inf:  # NaN: false
        return ""
    sums = values.float().sum(1)
    usual, count = float(sums.median()), len(sums)
    equal = int(((sums - usual).abs() <= _SUM_ERROR * usual).sum())
    if high <= 1 + _SUM_ERROR:
        if equal >= count / 2 and abs(usual - 1) <= _SUM_ERROR:
            return f"{equal:,} of {count:,} points have values in 0..1 with the sum 1"
        return f"all values of all {count:,} points lie in 0..1"
    if usual > 0 and count >= _FEW and equal >= 0.99 * count:
        return f"{equal:,} of {count:,} points have values from 0 on with the sum {usual:.3g}"
    return ""


def _negative_logarithms_in(values: Tensor) -> str:
    """Why [N, C] numbers probably are costs, whose highest is the least likely class; else empty.

    The negative logarithms of the probabilities of a point are at least 0, and the sum of what they
    are logarithms of is 1, which no logits have by chance.
    """
    if len(values) < _FEW or values.shape[1] < 2 or not bool((values >= 0).all()):
        return ""
    if 2 * int((values > 0).all(1).sum()) < len(values):  # logits less their smallest have 0 there
        return ""
    equal = int((((-values.float()).exp().sum(1) - 1).abs() <= _SUM_ERROR).sum())
    if equal < 0.99 * len(values) or probabilities_in(values):
        return ""
    return f"{equal:,} of {len(values):,} points have the negative logarithms of probabilities"


def _other_logarithms_in(values: Tensor) -> str:
    """Why [N, C] numbers probably are logarithms of probabilities to the base 2 or 10; else empty.

    Their softmax is another distribution, which changes entropies and margins.
    """
    if len(values) < _FEW or values.shape[1] < 2 or not bool((values <= 0).all()):
        return ""
    exact = values.double()
    for base in (2, 10):
        equal = int((((exact * math.log(base)).exp().sum(1) - 1).abs() <= _SUM_ERROR).sum())
        if equal >= 0.99 * len(values) and not bool((exact.exp().sum(1) - 1).abs().max() < 0.1):
            return (
                f"{equal:,} of {len(values):,} points have logarithms of probabilities to the base "
                f"{base}"
            )
    return ""


def _looks_like_class_ids(scores: Tensor, num_classes: int) -> bool:
    """Whether [N] floats are probably classes: whole numbers, three or more different ones."""
    known = scores.unique()
    whole = (known == known.round()) & (((known >= 0) & (known < num_classes)) | (known == 255))
    return len(known) > 2 and bool(whole.all())


def _checked_probabilities(values: Tensor) -> Tensor:
    wrong = ((values < 0) | (values > 1 + _SUM_ERROR)).any(1)
    wrong |= (values.sum(1) - 1).abs() > _SUM_ERROR
    wrong &= torch.isfinite(values).all(1)  # the kernels refuse the others
    if wrong.any():
        sums = values.sum(1)[wrong]
        raise ValueError(
            f"prediction: expected probabilities, in 0..1 and with the sum 1, but {len(sums):,} of "
            f"{len(values):,} points have others (sums {float(sums.min()):.4g} to "
            f"{float(sums.max()):.4g}); give the outputs of a softmax, or logits"
        )
    return values


def _finite(values: Tensor) -> Tensor:
    """`values` with numbers in the place of -inf whose softmax is 0."""
    missing = torch.isneginf(values)
    if not missing.any():
        return values
    values = values.float()
    highest = values.max(1, keepdim=True).values
    if torch.isneginf(highest).any():
        count = int(torch.isneginf(highest).sum())
        raise ValueError(
            f"prediction: -inf is the logarithm of the probability 0, but {count:,} points have it "
            "in each class; give one class of such a point a finite value"
        )
    return torch.where(missing, highest - highest.abs() - _FAR_BELOW, values)
