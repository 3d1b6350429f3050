"""Batch norm of rows, with what follows it: on CPU one kernel of this package in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from annotator3d.kernels import batch_norm


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that is defined for 0 and 1 rows, where a batch has no variance."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) < 2:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps
            )
        return self.with_batch(x) if has_kernel(self, x) else super().forward(x)

    def with_batch(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """By the statistics of the batch, which are recorded; then plus `residual`, then ReLU."""
        out, mean, variance = batch_norm(x, self.weight, self.bias, residual, relu, self.eps)
        if self.track_running_stats and self.running_mean is not None:
            self.num_batches_tracked.add_(1)
            share = self.momentum
            if share is None:  # the mean of all batches
                share = 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (len(x) / (len(x) - 1)), share)
        return out


def has_kernel(norm: nn.Module, x: Tensor) -> bool:
    """Whether the kernel normalises these rows: a batch on CPU, by its own statistics."""
    return (
        isinstance(norm, BatchNorm)
        and norm.training
        and norm.affine
        and x.is_cpu
        and x.dtype == norm.weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and len(x) > 1
    )


def normalize_and_rectify(norm: nn.Module, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """``relu(norm(x) + residual)``.

    Args:
        norm: a batch norm. x, residual: [V, C].
    """
    if has_kernel(norm, x):
        return norm.with_batch(x, residual, relu=True)
    x = norm(x)
    return torch.relu(x if residual is None else x + residual)
