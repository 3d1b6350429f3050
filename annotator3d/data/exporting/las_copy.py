"""A LAS file as it was imported, with other labels: everything else stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import plain
from annotator3d.data.importing.card import Origin
from annotator3d.data.importing.rules import FIELDS

if TYPE_CHECKING:
    import laspy

_OWN = "label"  # the field for ids that the file's own one cannot hold
_MODERN = 6  # point formats from here on have 8 bits for the classification, earlier ones 5


def holds(las: laspy.LasData, xyz: NDArray[np.float32], origin: Origin) -> bool:
    """Whether a file still has the points that were imported: in number, place and order.

    Args:
        xyz: [N, 3] as stored by the import, metres; NaN where a point was left out.
    """
    if len(las.points) != len(xyz):
        return False
    unit = np.array(origin.unit or (1.0, 1.0, 1.0))
    now = np.array(las.xyz, np.float64) * unit - np.array(origin.offset or (0.0, 0.0, 0.0))
    near = np.array(las.header.scales) * unit + np.spacing(np.abs(xyz))
    with np.errstate(invalid="ignore"):
        return not (np.abs(now - xyz) > near).any()


def relabel(
    las: laspy.LasData,
    raw: NDArray,
    largest: int,
    instances: NDArray[np.uint16] | None,
    origin: Origin,
) -> str:
    """Put raw ids [N] where an import looks for them, and return the name of that field.

    That is the field that the labels were imported from, else the first that an import would find;
    or ``label``, made for the purpose, where that one cannot hold ids up to `largest`: the same
    field in every file of a dataset.
    """
    names = list(las.point_format.dimension_names)
    field = _field(names, origin)
    if largest > _largest(las, field):
        if _OWN in las.point_format.extra_dimension_names:
            las.remove_extra_dim(_OWN)
        _add(las, _OWN, raw.astype(np.uint16))
        field = _OWN
    else:
        las[field] = raw.astype(np.float64 if _kind(las, field) == "f" else np.int64)
    known = {plain(name) for name in names}
    if instances is not None and not known & set(FIELDS["instance"]):
        _add(las, "instance", instances)
    return field


def drop_index(las: laspy.LasData) -> bool:
    """Remove the records of a cloud-optimised file, which are wrong of any other; whether any."""
    found = [v for v in las.header.vlrs if v.user_id == "copc"]
    found_extended = [v for v in las.evlrs or [] if v.user_id == "copc"]
    for record in found:
        las.header.vlrs.remove(record)
    for record in found_extended:
        las.evlrs.remove(record)
    return bool(found or found_extended)


def _field(names: list[str], origin: Origin) -> str:
    if origin.labels in names:
        return origin.labels
    by_name = {plain(name): name for name in reversed(names)}
    return next(by_name[name] for name in FIELDS["label"] if name in by_name)


def _largest(las: laspy.LasData, field: str) -> float:
    if field == "classification":
        return 255 if las.point_format.id >= _MODERN else 31
    values = np.array(las[field])
    if values.dtype.kind == "f":
        return 2**24 if values.dtype.itemsize == 4 else 2**53
    bits = las.point_format.dimension_by_name(field).num_bits
    return 2 ** (bits - (values.dtype.kind == "i")) - 1


def _kind(las: laspy.LasData, field: str) -> str:
    return np.array(las[field][:1]).dtype.kind


def _add(las: laspy.LasData, name: str, values: NDArray) -> None:
    import laspy

    las.add_extra_dim(laspy.ExtraBytesParams(name, values.dtype))
    las[name] = values
