"""PCD: ascii, binary and binary_compressed (pypcd4)."""

from __future__ import annotations

import os

import numpy as np

from annotator3d.data.formats.cloud import Cloud, CloudError, from_columns


def read_pcd(path: str | os.PathLike[str], columns: object = None) -> Cloud:
    """Every field of count 1; a packed ``rgb`` becomes red, green and blue.

    Source: https://pointclouds.org/documentation/tutorials/pcd_file_format.html
    """
    from pypcd4 import PointCloud

    cloud = PointCloud.from_path(path)
    data = np.atleast_1d(cloud.pc_data)
    if len(data) != cloud.points:
        raise CloudError(
            f"is truncated: its header says {cloud.points} points, there are {len(data)}"
        )
    columns = {name: data[name] for name in data.dtype.names if "~~" not in name}
    packed = next((name for name in ("rgb", "rgba") if name in columns), None)
    if packed and columns[packed].dtype.itemsize == 4:
        rgb = PointCloud.decode_rgb(np.ascontiguousarray(columns.pop(packed)))
        columns |= {name: rgb[:, i] for i, name in enumerate(("red", "green", "blue"))}
    return from_columns(columns)
