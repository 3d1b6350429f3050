"""Calls of the C++ library (csrc/cpu) for batch norm: see `cpu`."""

from __future__ import annotations

from ctypes import byref

import torch
from torch import Tensor

from annotator3d.kernels import cpu_abi
from annotator3d.kernels.cpu_library import checked, library


def batch_norm(
    rows: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, relu: bool, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`.reference.batch_norm`."""
    rows, weight, bias = rows.contiguous(), weight.contiguous(), bias.contiguous()
    residual = None if residual is None else residual.contiguous()
    out, mean, variance = torch.empty_like(rows), torch.empty_like(weight), torch.empty_like(weight)
    question = cpu_abi.BatchNorm(
        rows=rows.data_ptr(),
        weight=weight.data_ptr(),
        bias=bias.data_ptr(),
        residual=None if residual is None else residual.data_ptr(),
        out=out.data_ptr(),
        mean=mean.data_ptr(),
        variance=variance.data_ptr(),
        **_shape(rows, relu, epsilon),
    )
    checked(library().a3d_batch_norm(byref(question)))
    return out, mean, variance


def batch_norm_gradient(
    grad: Tensor,
    rows: Tensor,
    out: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    relu: bool,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`.reference.batch_norm_gradient`."""
    grad, rows, weight = grad.contiguous(), rows.contiguous(), weight.contiguous()
    of_rows, of_weight, of_bias = (torch.empty_like(t) for t in (rows, weight, weight))
    before = torch.empty_like(grad) if relu else grad.new_empty(0)
    question = cpu_abi.BatchNorm(
        rows=rows.data_ptr(),
        weight=weight.data_ptr(),
        out=out.data_ptr(),
        mean=mean.data_ptr(),
        variance=variance.data_ptr(),
        gradient=grad.data_ptr(),
        in_gradient=of_rows.data_ptr(),
        weight_gradient=of_weight.data_ptr(),
        bias_gradient=of_bias.data_ptr(),
        masked_gradient=before.data_ptr(),
        **_shape(rows, relu, epsilon),
    )
    checked(library().a3d_batch_norm_gradient(byref(question)))
    return of_rows, before, of_weight, of_bias


def _shape(rows: Tensor, relu: bool, epsilon: float) -> dict[str, float]:
    length, channels = rows.shape
    return {
        "epsilon": epsilon,
        "relu": relu,
        "length": length,
        "channels": channels,
        "element": rows.element_size(),
        "threads": torch.get_num_threads(),
    }
