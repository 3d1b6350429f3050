"""Public kernels of losses. Arguments are checked here once."""

from __future__ import annotations

import torch
from torch import Tensor

from annotator3d.kernels import checks
from annotator3d.kernels.dispatch import run
from annotator3d.kernels.operators import differentiable, fake, operator


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> Tensor:
    """Lovasz-softmax over the classes present (Berman, Triki and Blaschko, CVPR 2018).

    Args:
        probabilities: [P, C] float32 or float64, rows sum to 1.
        target: [P] int64 in 0..C-1.

    Returns:
        scalar: mean over the classes that occur in `target`; 0 for P = 0. Has a gradient.

    Raises:
        ValueError: wrong type, shape or device.
    """
    checks.tensor("probabilities", probabilities, (None, None), checks.FULL_FLOATS)
    checks.tensor("target", target, (probabilities.shape[0],), (torch.int64,), probabilities)
    return lovasz_with_gradient(probabilities, target)[0]


@operator
def lovasz_with_gradient(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient [P, C]."""
    return run("lovasz_softmax", probabilities, target)


@fake(lovasz_with_gradient)
def _(probabilities, target):
    return probabilities.new_empty(()), torch.empty_like(probabilities)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx, of_loss, _):
    return of_loss * ctx.saved_tensors[0], None


differentiable(lovasz_with_gradient, _keep, _gradient)
