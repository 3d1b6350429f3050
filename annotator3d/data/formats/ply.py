"""PLY, ascii or binary, of either byte order (plyfile)."""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

from annotator3d.data.formats.cloud import Cloud, CloudError, from_columns


def read_ply(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """The element ``vertex``; properties that are lists are left out.

    Source: http://paulbourke.net/dataformats/ply/
    """
    from plyfile import PlyData

    content = PlyData.read(path)
    if "vertex" not in content:
        raise CloudError(f"has no element 'vertex', only {[e.name for e in content.elements]}")
    vertex = content["vertex"]
    data = vertex.data
    names = [p.name for p in vertex.properties if data.dtype[p.name].kind in "fiu"]
    return from_columns({name: np.asarray(data[name]) for name in names})


def write_ply(file: BinaryIO, cloud: Cloud) -> None:
    """Binary little-endian; fields keep their type."""
    from plyfile import PlyData, PlyElement

    columns = {axis: cloud.xyz[:, i] for i, axis in enumerate("xyz")} | dict(cloud.fields)
    dtype = [(name, values.dtype.newbyteorder("<").str) for name, values in columns.items()]
    data = np.empty(len(cloud), dtype)
    for name, values in columns.items():
        data[name] = values
    PlyData([PlyElement.describe(data, "vertex")], byte_order="<").write(file)
