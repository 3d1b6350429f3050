"""One scan in several .npy files, one for each attribute of its points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.files import require_file
from annotator3d.data.formats.cloud import Cloud, CloudError, from_columns
from annotator3d.data.formats.npy import read_array

_TRIPLES = {
    "colo": ("red", "green", "blue"),
    "rgb": ("red", "green", "blue"),
    "norm": ("nx", "ny", "nz"),
}


def read_parts(parts: Mapping[str, Path]) -> Cloud:
    """Read attribute -> file; the first is the coordinates [N, 3], the others are [N] or [N, K].

    Raises:
        CloudError: a file has another number of rows, or no numbers.
    """
    (_, first), *others = parts.items()
    xyz = _array(first)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or xyz.dtype.kind not in "fiu" or xyz.itemsize == 1:
        raise CloudError(f"holds {xyz.dtype} of shape {xyz.shape}, expected coordinates [N, 3]")
    columns = dict(zip("xyz", xyz.T, strict=True))
    remarks: dict[str, int] = {}
    for name, path in others:
        values = _array(path)
        if len(values) != len(xyz):
            raise CloudError(
                f"has {len(xyz)} points, but {path.name} has {len(values)} rows: they do not "
                "belong together"
            )
        values = values.reshape(len(xyz), -1)
        triple = next((names for word, names in _TRIPLES.items() if name.startswith(word)), None)
        if values.shape[1] == 1:
            columns[name] = values[:, 0]
        elif values.shape[1] == 3 and triple is not None:
            columns |= dict(zip(triple, values.T, strict=True))
        else:
            remarks[f"not used: {path.name} with {values.shape[1]} numbers a point"] = 0
    cloud = from_columns(columns)
    return Cloud(cloud.xyz, cloud.fields, remarks=remarks)


def _array(path: Path) -> NDArray:
    require_file(path)
    try:
        values = read_array(path)
    except CloudError as error:
        raise CloudError(f"cannot be read without {path.name}, which {error}") from None
    return values if values.ndim else np.atleast_1d(values)
