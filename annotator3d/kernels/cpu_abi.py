"""The C ABI of csrc/cpu (csrc/abi.h): structures, signatures, finding a library that has it."""

from __future__ import annotations

import ctypes
import os
import site
import sys
import sysconfig
from ctypes import c_char_p, c_double, c_float, c_int64, c_void_p
from pathlib import Path
from typing import NoReturn

import torch

BAD_VALUE, NO_MEMORY = -1, -2

_ABI = 4
_NAMES = ("libannotator3d_cpu.so", "libannotator3d_cpu.dylib", "annotator3d_cpu.dll")
_VARIABLE = "ANNOTATOR3D_KERNELS"
KINDS = {torch.float32: 0, torch.float64: 1, torch.uint8: 2, torch.int32: 3, torch.int64: 4}
"""A3dKind of a prediction of this dtype."""
SCORES = ("none", "vcd", "entropy", "margin")
REDUCTIONS = ("max", "mean")


def _structure(name: str, fields: str, **nested: type) -> type[ctypes.Structure]:
    """A structure of csrc/abi.h from 'type field ...': p pointer, i int64, d double; or nested."""
    types = {"p": c_void_p, "i": c_int64, "d": c_double, **nested}
    words = fields.split()
    pairs = [(f, types[t]) for t, f in zip(words[::2], words[1::2], strict=True)]
    return type(name, (ctypes.Structure,), {"_fields_": pairs})


GroupOut = _structure(
    "GroupOut", "p cells p scan p point_to_voxel p members p splits p scan_splits"
)
Select = _structure(
    "Select",
    "p points i stride p splits i scans d size p prediction i kind i prediction_rows p rows "
    "i classes i score i reduce p table i table_length p asked p asked_splits p seeds i k "
    "i min_points d max_range i threads p cells p scores p counts p pick_of_point p point_scores",
)
Interpolation = _structure(
    "Interpolation",
    "p points i point_stride p point_splits p cells p splits i scans i stride i threads p index "
    "p weight",
)
Devoxelize = _structure(
    "Devoxelize",
    "p input i element p index p weight i points i neighbours i voxels i channels p out",
)
Rulebook = _structure(
    "Rulebook", "p rows_in p rows_out p starts i pairs i offsets i block_rows i inputs i outputs"
)
Convolution = _structure(
    "Convolution",
    "Rulebook rules p in p weight i weight_depth i weight_column i weight_offset p bias p residual "
    "i relu p out i depth i columns i element i threads",
    Rulebook=Rulebook,
)
WeightGradient = _structure(
    "WeightGradient",
    "Rulebook rules p in p grad p out i depth i columns i element i threads",
    Rulebook=Rulebook,
)
BatchNorm = _structure(
    "BatchNorm",
    "p rows p weight p bias p residual p out p mean p variance p gradient p in_gradient "
    "p weight_gradient p bias_gradient p masked_gradient d epsilon i relu i length i channels "
    "i element i threads",
)

_SIGNATURES = {  # in the order of csrc/abi.h; s text
    "use": "s",
    "use_team": "p",
    "group_points": "pifpiip",
    "group_cells": "ppiip",
    "group_write": "ppi",
    "group_free": "p",
    "select": "p",
    "classes": "piiip",
    "point_scores": "piipp",
    "histogram": "pppiip",
    "confusion": "pppipp",
    "mean": "pippiip",
    "interpolation": "p",
    "devoxelize": "p",
    "devoxelize_backward": "p",
    "kernel_map": "ppipippip",
    "convolve": "p",
    "weight_gradient": "p",
    "batch_norm": "p",
    "batch_norm_gradient": "p",
    "rulebook": "ppipiiip",
    "rulebook_write": "pippp",
    "rulebook_free": "p",
    "rulebook_sort": "pppiiiippp",
    "lovasz": "ppiiipp",
}


def folders() -> list[Path]:
    """Where the library may lie: beside this file, then in any site-packages.

    An editable install puts it into site-packages while this file is in the checkout, and so does a
    plain install when Python starts in the checkout, whose folder then shadows the installed one.
    """
    roots = [sysconfig.get_path("platlib"), *site.getsitepackages(), site.getusersitepackages()]
    found = [Path(__file__).parent, *(Path(r) / "annotator3d/kernels" for r in roots + sys.path)]
    return list(dict.fromkeys(found))


def find() -> tuple[ctypes.CDLL | None, str]:
    """The library and its path; or None, and why.

    Raises:
        ValueError: the environment names a variant that cannot run here.
    """
    wanted = os.environ.get(_VARIABLE, "")
    if wanted == "reference":
        return None, f"{_VARIABLE}=reference"
    reason = "the C++ library is not built"
    for path in (folder / name for folder in folders() for name in _NAMES):
        if path.is_file():
            try:
                library = _load(str(path))
            except OSError as error:
                reason = f"{path} cannot be loaded ({error})"
                continue
            if wanted and library.a3d_use(wanted.encode()) == BAD_VALUE:
                _refuse(wanted, "this processor runs", library.a3d_variants().decode().split())
            return library, str(path)
    if wanted:
        _refuse(wanted, f"{reason}; there is", [])
    return None, reason


def _refuse(wanted: str, why: str, variants: list[str]) -> NoReturn:
    possible = ", ".join([*variants, "reference"])
    raise ValueError(
        f"{_VARIABLE}: expected generic, v3, v4 or reference, and one that can run here ({why} "
        f"{possible}), got {wanted!r}"
    )


def _load(path: str) -> ctypes.CDLL:
    """The library at this path; OSError where it cannot be loaded or is of another version."""
    types = {"p": c_void_p, "i": c_int64, "f": c_float, "s": c_char_p}
    library = ctypes.CDLL(path)
    try:
        library.a3d_abi.restype = c_int64
        if library.a3d_abi() == _ABI:
            for name, letters in _SIGNATURES.items():
                function = getattr(library, f"a3d_{name}")
                function.argtypes, function.restype = [types[t] for t in letters], c_int64
            for name in ("build", "variants", "variant"):
                getattr(library, f"a3d_{name}").restype = c_char_p
            return library
    except AttributeError as error:
        raise OSError(str(error)) from error
    raise OSError("it is from another version; reinstall annotator3d")
