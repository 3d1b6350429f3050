"""Where the labels of an imported scan are: in a field, in colours or in a file of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import Cloud, CloudError
from annotator3d.data.formats.kitti import read_label, split_label
from annotator3d.data.formats.npy import read_array
from annotator3d.data.importing.rules import NONE, Rules, wanted
from annotator3d.data.importing.sources import Source

# Raw ids [N], instances [N] or None, where they were found, number of points without a class.
Found = tuple[NDArray, NDArray | None, str, int]


def find_labels(cloud: Cloud, source: Source, rules: Rules) -> Found | None:
    """The labels of a scan; a label file takes precedence over a field. None: it has no labels.

    Raises:
        CloudError, ValueError: they are not whole numbers in range, or of another length.
    """
    if rules.label_field == NONE:
        return None
    if rules.label_colors:
        return _by_color(cloud, rules)
    if source.labels is not None and rules.label_field is None:
        return _side_labels(source, len(cloud), rules)
    return _in_field(cloud, rules)


def _in_field(cloud: Cloud, rules: Rules) -> Found | None:
    name = cloud.find(wanted(rules.label_field, "label"))
    if name is None:
        return None
    raw, packed, void = _whole(cloud.fields[name], name, rules.void)
    instance = cloud.find(wanted(rules.instance_field, "instance"))
    if instance is None:
        return raw, packed, name, void
    ids, upper, _ = _whole(cloud.fields[instance], instance, 0)
    if upper is not None:
        raise CloudError(
            f"has instance ids above 65535 in {instance!r}; pass --instance-field none"
        )
    return raw, ids, name, void


def _by_color(cloud: Cloud, rules: Rules) -> Found:
    channels = [cloud.fields[cloud.find(c)] for c in ("red", "green", "blue")]
    values = np.column_stack(channels).astype(np.int64)
    if values.max(initial=0) > 255:  # LAS keeps 16 bits
        values >>= 8
    packed = values @ [1 << 16, 1 << 8, 1]
    raw = np.full(len(cloud), rules.void)
    known = np.zeros(len(cloud), bool)
    for rgb, id_ in rules.colors:
        same = packed == np.array(rgb) @ [1 << 16, 1 << 8, 1]
        raw[same] = id_
        known |= same
    return raw, None, "color", int((~known).sum())


def _side_labels(source: Source, num_points: int, rules: Rules) -> Found:
    path = source.labels
    if path.suffix == ".label":
        raw, instances = split_label(read_label(path, num_points, scan_path=source.path))
        return raw, instances, path.suffix, 0
    try:
        # .bin: one byte a point, as nuScenes has them
        values = np.fromfile(path, np.uint8) if path.suffix == ".bin" else read_array(path)
    except CloudError as error:
        raise ValueError(f"the labels {path} cannot be read: the file {error}") from None
    if values.shape != (num_points,):
        raise ValueError(
            f"{path} has labels of shape {values.shape}, but {source.path} has {num_points} "
            "points: the two files do not belong together or one is incomplete"
        )
    try:
        raw, instances, void = _whole(values, "it", rules.void)
    except CloudError as error:
        raise ValueError(f"{path} {error}") from None
    return raw, instances, path.suffix, void


def _whole(values: NDArray, name: str, void: int) -> tuple[NDArray, NDArray | None, int]:
    """Raw ids [N], upper 16 bits [N] or None, and how many -1 and NaN became `void`."""
    if values.dtype.kind not in "fiub":
        raise CloudError(f"has labels of type {values.dtype} in {name!r}; expected whole numbers")
    values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    nothing = np.isnan(values) | (values == -1)
    values = np.where(nothing, void, values)
    with np.errstate(invalid="ignore"):  # infinite values are refused below
        whole = values.astype(np.int64)
    if ((whole != values) | (whole < 0) | (whole > 0xFFFFFFFF)).any():
        wrong = values[(whole != values) | (whole < 0) | (whole > 0xFFFFFFFF)]
        raise CloudError(
            f"has the label {wrong[0]:g} in {name!r}; expected whole numbers from 0 to 65535"
        )
    upper = whole >> 16
    return whole & 0xFFFF, upper if upper.any() else None, int(nothing.sum())
