"""Argument checks of the public functions. Every message says: argument, expected, got."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from annotator3d.kernels.labels import IGNORE

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FULL_FLOATS = (torch.float32, torch.float64)
FLOATS = (torch.float16, torch.bfloat16, *FULL_FLOATS)
_MAX_ROWS = 2**31 - 1


def fail(name: str, expected: str, got: object) -> NoReturn:
    """Raise the ValueError that every check raises."""
    raise ValueError(f"{name}: expected {expected}, got {got}")


def tensor(
    name: str,
    value: object,
    shape: tuple[int | None, ...],
    dtypes: tuple[torch.dtype, ...],
    like: Tensor | None = None,
) -> Tensor:
    """A tensor of this shape (None: any length) and dtype, on the device of ``like``."""
    if not isinstance(value, Tensor):
        fail(name, "a torch tensor", type(value).__name__)
    if value.dtype not in dtypes:
        fail(name, " or ".join(str(d).removeprefix("torch.") for d in dtypes), value.dtype)
    found = value.shape
    if len(found) != len(shape) or not _fits(found, shape):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        fail(name, f"shape [{wanted}]", list(found))
    if found and found[0] > _MAX_ROWS:
        fail(name, f"at most {_MAX_ROWS} rows", found[0])
    if like is not None and value.device != like.device:
        fail(name, f"a tensor on {like.device}", f"one on {value.device}")
    return value


def _fits(found: Sequence[int], shape: tuple[int | None, ...]) -> bool:
    for n, m in zip(shape, found, strict=True):  # a generator would take twice as long
        if n is not None and n != m:
            return False
    return True


def row_bounds(name: str, splits: Tensor | None, rows: int, like: Tensor) -> list[int]:
    """Row boundaries of the scans of a batch as numbers; None means one scan.

    Boundaries on the CPU are read there, without waiting for the device of ``like``.
    """
    if splits is None:
        return [0, rows]
    on_host = isinstance(splits, Tensor) and splits.is_cpu
    tensor(name, splits, (None,), (torch.int64,), None if on_host else like)
    values = splits.tolist()
    if not values or values[0] != 0 or values[-1] != rows or values != sorted(values):
        shown = values if len(values) <= 8 else f"{values[:4]} ... {values[-3:]}"
        fail(name, f"non-decreasing row numbers from 0 to {rows}", shown)
    return values


def row_splits(name: str, splits: Tensor | None, rows: int, like: Tensor) -> Tensor:
    """:func:`row_bounds` as a tensor on the device of ``like``."""
    bounds = row_bounds(name, splits, rows, like)
    if splits is not None and splits.device == like.device:
        return splits.contiguous()
    return on_device(torch.tensor(bounds), like)


def on_device(values: Tensor, like: Tensor) -> Tensor:
    """A small tensor on the device of ``like``, copied without waiting for that device."""
    if values.is_cpu and like.is_cpu:
        return values
    return values.to(like.device, non_blocking=True)


def voxel_size(size: float) -> float:
    """A finite voxel size in metres that float32 can hold."""
    if isinstance(size, bool) or not isinstance(size, int | float):
        fail("size", "a number of metres > 0", repr(size))
    if not math.isfinite(size) or not 1e-37 < size < 1e38:  # a normal float32
        fail("size", "a number of metres > 0", size)
    return float(size)


def integer(name: str, value: int, low: int, high: int) -> int:
    """An int in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        fail(name, f"an int in {low}..{high}", repr(value))
    return value


def choice(name: str, value: object, known: tuple[str, ...]) -> str:
    """One of these words."""
    if value not in known:
        fail(name, " or ".join(map(repr, known)), repr(value))
    return value


def finite_rows(name: str, values: Tensor, scan_of_row: Tensor | None) -> None:
    """No NaN or Inf in any row; names the first scan that has one and how many rows it has."""
    bad = ~torch.isfinite(values)
    bad = bad.any(1) if bad.dim() == 2 else bad
    if bad.any():
        if scan_of_row is None:
            fail(name, "finite values", f"NaN or Inf in {int(bad.sum())} rows")
        scans, counts = scan_of_row[bad].unique(return_counts=True)
        fail(
            name,
            "finite values",
            f"NaN or Inf in {int(counts[0])} rows of scan {int(scans[0])} of the batch "
            f"({int(bad.sum())} rows in all)",
        )


def int32_cells(name: str, cells: Tensor, scan_of_row: Tensor) -> None:
    """Floored cells (as float) fit int32; names the first scan that has one beyond."""
    bad = ((cells < -(2.0**31)) | (cells >= 2.0**31)).any(1)
    if bad.any():
        scans, counts = scan_of_row[bad].unique(return_counts=True)
        fail(
            name,
            "coordinates whose cells fit 32 bits (use a larger size or nearer points)",
            f"{int(counts[0])} rows beyond in scan {int(scans[0])} of the batch",
        )


def row_range(name: str, rows: Tensor, length: int, missing: bool = True) -> None:
    """Row numbers of a tensor of this length; -1 as well if a row may be missing."""
    low = -1 if missing else 0
    bad = rows[(rows < low) | (rows >= length)]
    if len(bad):
        fail(name, f"row numbers {low}..{length - 1}", f"{int(bad[0])} ({len(bad)} wrong in all)")


def label_range(name: str, labels: Tensor, num_classes: int) -> None:
    """Labels are 0..num_classes-1 or 255."""
    bad = labels[((labels < 0) | (labels >= num_classes)) & (labels != IGNORE)]
    if len(bad):
        values, counts = bad.unique(return_counts=True)
        fail(
            name,
            f"0..{num_classes - 1} or {IGNORE}",
            f"{int(values[0])} at {int(counts[0])} points ({len(bad)} wrong points in all)",
        )
