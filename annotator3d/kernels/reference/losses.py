"""Losses whose gradient is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient [P, C]: see :func:`annotator3d.kernels.lovasz_softmax`.

    Equal errors are taken in the order of their rows.
    """
    checks.row_range("target", target, probabilities.shape[1], missing=False)
    truth = torch.nn.functional.one_hot(target, probabilities.shape[1]).to(probabilities.dtype).T
    present = truth.sum(1) > 0
    truth = truth[present]  # [K, P]
    gap = truth - probabilities.T[present]
    errors, order = gap.abs().sort(dim=1, descending=True, stable=True)
    hits = truth.gather(1, order)
    # Jaccard loss of the n worst points, for n = 1..P; its increments weigh the errors.
    total = hits.sum(1, keepdim=True)
    jaccard = 1 - (total - hits.cumsum(1)) / (total + (1 - hits).cumsum(1))
    weight = torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], dim=1)
    gradient = torch.zeros_like(probabilities)
    if len(target) == 0:
        return probabilities.new_zeros(()), gradient
    slope = torch.empty_like(weight).scatter_(1, order, weight) / len(truth)
    gradient[:, present] = (-gap.sign() * slope).T
    return (errors * weight).sum(1).mean(), gradient
