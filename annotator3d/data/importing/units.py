"""The unit of a file's coordinates: as it states, as the user says, or in doubt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import REACH
from annotator3d.data.formats.cloud import Cloud, CloudError
from annotator3d.data.formats.units import Stated, unit_name
from annotator3d.data.importing.rules import Rules

_FEW = 100  # points: too few to judge by
_REPROJECT = "reproject them to metres first (UTM, for example, with PDAL or QGIS)"
_SPARSE = 0.01  # points per square unit: no sensor measures as few over as large an area
_WIDE, _TALL = 5000.0, 1000.0  # units
_DEGREES = 1.0  # the widest scan, in degrees: 111 km
_NO_PLACE = 1e3 * REACH  # as far as sensors reach, in millimetres
_NARROW = 0.25  # metres: the voxels that are asked about


class UnitError(CloudError):
    """The unit is in doubt; `--unit` settles it."""


def metres_of_units(
    cloud: Cloud, rules: Rules, remarks: dict[str, int]
) -> tuple[float, float, float]:
    """Metres of one unit of x, y and z; what was converted is added to `remarks`.

    Raises:
        CloudError: the coordinates are angles.
        UnitError: the unit is in doubt and `rules` do not settle it.
    """
    stated = cloud.stated
    if stated is not None:
        _refuse_stated(cloud, stated, rules)
    if rules.unit is not None:
        own = None if stated is None else stated.horizontal
        if own is not None and abs(own / rules.unit - 1) > 1e-9:
            remarks[
                f"--unit was taken, although the file states {unit_name(own)} ({stated.system})"
            ] = 0
        return (rules.unit,) * 3
    if stated is None or stated.horizontal is None:
        _question(cloud.xyz)
        if stated is not None and stated.kind == "unknown":
            remarks[
                f"the coordinate system {stated.system!r} cannot be read, so metres are assumed"
            ] = 0
    horizontal = 1.0 if stated is None else stated.horizontal or 1.0
    vertical = horizontal if stated is None else stated.vertical or horizontal
    _say(horizontal, vertical, stated, remarks)
    return horizontal, horizontal, vertical


def _say(h: float, v: float, stated: Stated | None, remarks: dict[str, int]) -> None:
    if stated is None or (h == 1.0 and v == 1.0):
        return
    if h == v:
        axes = unit_name(h) if stated.vertical else f"{unit_name(h)}, heights as well"
    else:
        axes = f"{unit_name(h)}, heights in {unit_name(v)}"
    remarks[f"coordinates in {axes} ({stated.system}) were converted to metres"] = 0


def _refuse_stated(cloud: Cloud, stated: Stated, rules: Rules) -> None:
    if stated.kind == "geographic":
        if _may_be_degrees(cloud.xyz):
            raise CloudError(
                f"has longitude and latitude in degrees ({stated.system}), not lengths; "
                f"{_REPROJECT}"
            )
        if rules.unit is None:
            raise UnitError(
                f"states longitude and latitude ({stated.system}), but its values are no degrees; "
                "pass their unit, such as --unit m"
            )
    elif stated.kind == "geocentric" and rules.unit is None:
        raise UnitError(
            f"has coordinates from the centre of the earth ({stated.system}), whose z is not up; "
            f"{_REPROJECT}, or pass --unit m to take them as they are"
        )
    elif stated.kind == "unread" and rules.unit is None:
        raise UnitError(
            f"states its coordinate system as {stated.system}, whose unit only pyproj knows: pip "
            "install 'annotator3d[formats]', or pass the unit, such as --unit m"
        )
    elif stated.kind == "contradictory" and rules.unit is None:
        raise UnitError(f"states two units: {stated.system}; pass the right one, such as --unit m")


def _may_be_degrees(xyz: NDArray) -> bool:
    low, high = _bulk(xyz)
    return bool((np.abs([low, high]) <= 360).all(0)[:2].all() and (high - low)[:2].max() < 90)


def _question(xyz: NDArray) -> None:
    """Refuse values that hardly are metres; `--unit` settles what they are."""
    xyz = xyz[np.isfinite(xyz).all(1) & (xyz != 0).any(1)]
    if len(xyz) < _FEW:
        return
    low, high = _bulk(xyz)
    if max(np.abs(low).max(), np.abs(high).max()) > _NO_PLACE:
        raise CloudError(
            f"has coordinates that no unit makes places, up to {np.abs([low, high]).max():.4g}: it "
            "is damaged, or its numbers are of another type, byte order or column than stated"
        )
    size, where = high - low, np.abs(low + high) / 2
    seen = f"x {low[0]:.7g} to {high[0]:.7g}, y {low[1]:.7g} to {high[1]:.7g}"
    if size[:2].max() < _DEGREES and _like_degrees(low, high, size, where):
        raise UnitError(
            f"has coordinates that look like longitude and latitude ({seen}); {_REPROJECT}, or "
            "pass --unit m if they are metres"
        )
    if size[:2].max() < _NARROW:
        raise UnitError(
            f"has all its points in one voxel of {_NARROW} m ({seen}); pass the unit of its "
            "coordinates, such as --unit km, or --unit m if they are metres"
        )
    whole, tall = _whole(xyz), size[2] > max(_TALL, size[:2].max() / 4)
    sparse = size[:2].min() > _WIDE and len(xyz) / (size[0] * size[1]) < _SPARSE
    if (whole and size.max() >= 2 * _TALL) or tall or sparse:
        looks = "whole numbers" if whole else f"spread over {size[0]:.4g} x {size[1]:.4g}"
        raise UnitError(
            f"has coordinates that look like millimetres or centimetres ({seen}, {looks}); pass "
            "their unit: --unit mm, cm or m"
        )


def _like_degrees(low: NDArray, high: NDArray, size: NDArray, where: NDArray) -> bool:
    """Whether a narrow scan lies in the range of degrees, far from 0 or much taller than wide."""
    if max(abs(low[0]), abs(high[0])) > 180 or max(abs(low[1]), abs(high[1])) > 90:
        return False
    wide = max(size[:2].max(), 1e-12)
    return bool(size[2] > 20 * wide or where[:2].max() > 10 * wide)


def _bulk(xyz: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The range of x, y and z without the outermost 2 % of the points on each side."""
    xyz = xyz[np.isfinite(xyz).all(1)].astype(np.float64)
    if not len(xyz):
        return np.zeros(3), np.zeros(3)
    low, high = np.percentile(xyz, (2, 98), axis=0)
    return low, high


def _whole(xyz: NDArray) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((xyz == np.rint(xyz)).all())
