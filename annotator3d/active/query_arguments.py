"""What callers give to `QueryStrategy.query` and `select`, in the types that the kernels take.

Raises ValueError, naming the argument, for what does not fit.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.selector import Array
from annotator3d.errors import in_yaml
from annotator3d.kernels.labels import IGNORE


def as_tensor(values: Array) -> Tensor:
    """A tensor of these values."""
    if isinstance(values, Tensor):
        return values.detach()
    if not isinstance(values, np.ndarray):
        return torch.tensor(values)
    # A copy: torch warns of arrays that are not writable, and takes no negative strides. Nor does
    # it compute with unsigned integers of more than 8 bits, such as the labels of .label files.
    wide = values.dtype.kind == "u" and values.dtype.itemsize > 1
    return torch.from_numpy(np.array(values, np.int64 if wide else None, order="C"))


def points_of(xyz: Array) -> Tensor:
    """[N, 3+] float32."""
    points = as_tensor(xyz)
    if points.dim() != 2 or points.shape[1] < 3 or points.dtype != torch.float32:
        dtype = str(points.dtype).removeprefix("torch.")
        raise ValueError(f"xyz: expected [N, 3] float32, got {list(points.shape)} {dtype}")
    return points


def integer(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, whatever its type."""
    try:
        found = operator.index(value)
    except TypeError:
        raise ValueError(f"{name}: expected an integer, got {in_yaml(value)}") from None
    if least is not None and found < least:
        raise ValueError(f"{name}: expected at least {least}, got {found}")
    return found


def cells_of(exclude: Array | None) -> NDArray[np.int32]:
    """[Q, 3]; none for None."""
    if exclude is None or len(exclude) == 0:
        return np.zeros((0, 3), np.int32)
    cells = exclude.cpu().numpy() if isinstance(exclude, Tensor) else np.asarray(exclude)
    if cells.ndim != 2 or cells.shape[1] != 3 or cells.dtype.kind not in "iu":
        raise ValueError(
            f"exclude: expected cells [Q, 3] of integers, got {cells.dtype} {list(cells.shape)}"
        )
    limits = np.iinfo(np.int32)
    if cells.min() < limits.min or cells.max() > limits.max:
        raise ValueError("exclude: expected cells that fit 32 bits, as those of a pick do")
    return cells.astype(np.int32)


def num_classes_of(prediction: Tensor | None) -> int:
    """C of logits; for train ids one more than the largest; 1 where it does not matter."""
    if prediction is None or (prediction.dim() == 1 and prediction.is_floating_point()):
        return 1
    if prediction.dim() == 2:
        return prediction.shape[1]
    known = prediction[prediction != IGNORE]
    # Within what the kernels take, so that they can say which train ids are wrong.
    return min(max(int(known.max()) + 1, 1), IGNORE) if len(known) else 1


def of_points(prediction: Tensor, rows: Tensor) -> Tensor:
    """The prediction [M, ...] of each point, by its row [N]."""
    wrong = (rows < 0) | (rows >= len(prediction))
    if wrong.any():
        raise ValueError(
            f"rows: expected row numbers 0..{len(prediction) - 1}, got {int(rows[wrong][0])} "
            f"({int(wrong.sum())} wrong in all)"
        )
    return prediction[rows]
