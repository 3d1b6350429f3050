"""The C ABI of csrc/cuda: structures, signatures, loading a library that has it."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int64, c_void_p

import torch
from torch import Tensor

_ABI = 1
_KINDS = {
    torch.float32: 0,
    torch.float64: 1,
    torch.uint8: 2,
    torch.int32: 3,
    torch.int64: 4,
}
SCORES = ("none", "vcd", "entropy", "margin")


def _structure(name: str, fields: str) -> type[ctypes.Structure]:
    """A structure of csrc/cuda/abi.h from 'type field ...': p pointer, i int64, d double."""
    types = {"p": c_void_p, "i": c_int64, "d": c_double}
    words = fields.split()
    pairs = [(f, types[t]) for t, f in zip(words[::2], words[1::2], strict=True)]
    return type(name, (ctypes.Structure,), {"_fields_": pairs})


Run = _structure("Run", "p workspace i bytes i device p stream")
Batch = _structure("Batch", "p points p cells i stride i rows p splits i scans")
Prediction = _structure("Prediction", "p data i kind i rows i classes")


class Select(ctypes.Structure):
    """A3dSelect."""

    _fields_ = (
        ("batch", Batch),
        ("size", c_double),
        ("prediction", Prediction),
        ("row_of_point", c_void_p),
        ("score", c_int64),
        ("mean", c_int64),
        ("table", c_void_p),
        ("table_length", c_int64),
        ("asked", Batch),
        ("seeds", c_void_p),
        ("k", c_int64),
        ("min_points", c_int64),
        ("max_range", c_double),
        *((f, c_void_p) for f in ("cells", "scores", "counts")),
        *((f, c_void_p) for f in ("pick_of_point", "point_scores", "status")),
    )


_SIGNATURES = {  # in the order of csrc/cuda/abi.h; b batch, q prediction, s select
    "group_begin": "bdp",
    "group_finish": "bdiipppppp",
    "voxel_mean": "pippiip",
    "histogram": "qpipp",
    "confusion": "qpipipp",
    "point_scores": "qppp",
    "select": "s",
    "interpolation": "bbippp",
    "devoxelize": "piiippiipp",
    "devoxelize_backward": "piiippiip",
}


def load(path: str) -> ctypes.CDLL:
    """The library at this path.

    Raises:
        OSError: it cannot be loaded, or is of another version.
    """
    types = {"p": c_void_p, "i": c_int64, "d": c_double, "b": POINTER(Batch)}
    types |= {"q": POINTER(Prediction), "s": POINTER(Select)}
    library = ctypes.CDLL(path)
    try:
        library.a3d_cuda_abi.restype = c_int64
        if library.a3d_cuda_abi() != _ABI:
            raise OSError(f"{path} is from another version (reinstall annotator3d)")
        for name, letters in _SIGNATURES.items():
            function = getattr(library, f"a3d_cuda_{name}")
            function.argtypes = [*(types[x] for x in letters), POINTER(Run)]
            function.restype = c_int64
        library.a3d_cuda_build.restype = library.a3d_cuda_error.restype = c_char_p
        library.a3d_cuda_error.argtypes = library.a3d_cuda_ready.argtypes = [c_int64]
        library.a3d_cuda_ready.restype = c_int64
    except AttributeError as error:
        raise OSError(f"{path} is from another version ({error})") from None
    return library


# A structure holds addresses only: each of these also returns the tensor that must outlive it.


def points_batch(points: Tensor, splits: Tensor) -> tuple[Batch, Tensor]:
    if points.stride(1) != 1 or points.stride(0) < 3:
        points = points[:, :3].contiguous()
    stride = points.stride(0)
    return Batch(
        points.data_ptr(), None, stride, len(points), splits.data_ptr(), len(splits) - 1
    ), points


def cells_batch(cells: Tensor, splits: Tensor) -> tuple[Batch, Tensor]:
    cells = cells.contiguous()
    return Batch(None, cells.data_ptr(), 3, len(cells), splits.data_ptr(), len(splits) - 1), cells


def prediction_of(prediction: Tensor, classes: int) -> tuple[Prediction, Tensor]:
    if prediction.dtype not in _KINDS:
        prediction = prediction.float() if prediction.is_floating_point() else prediction.long()
    prediction = prediction.contiguous()
    kind = _KINDS[prediction.dtype]
    return Prediction(prediction.data_ptr(), kind, len(prediction), classes), prediction
