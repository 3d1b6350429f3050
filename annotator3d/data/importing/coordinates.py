"""Coordinates of an imported scan: from a file's units and place to metres that float32 holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import (
    COARSE,
    FAR,
    FINE,
    REACH,
    at_one_place,
    middle,
    step_at,
    strays,
    within_reach,
    without_return,
)
from annotator3d.data.formats.cloud import Cloud, CloudError
from annotator3d.data.importing.rules import ALWAYS, NEAR, Rules
from annotator3d.data.importing.units import metres_of_units

Triple = tuple[float, float, float]
_FEW = 100  # points: too few to judge by


@dataclass(frozen=True)
class Placed:
    """Coordinates as they are stored.

    Attributes:
        xyz: [N, 3] float32, metres; NaN where no sensor measures.
        offset: what was subtracted, metres; None: nothing.
        steps, origin: coordinates were `origin` and whole multiples of `steps` before, metres; LAS.
        unit: metres of one unit of the file.
        remarks: see `Converted`.
    """

    xyz: NDArray[np.float32]
    offset: Triple | None
    steps: Triple | None
    origin: Triple | None
    unit: Triple
    remarks: dict[str, int] = field(default_factory=dict)


def place(cloud: Cloud, rules: Rules) -> Placed:
    """Convert to metres, subtract what float32 cannot hold, and say what is doubtful.

    Raises:
        CloudError: the coordinates are angles, or in a unit that only the user can know; or float32
            would not keep the centimetres of a scan that lies far from the rest of its sequence.
    """
    remarks: dict[str, int] = {}
    if absent := len(cloud) - int(np.isfinite(cloud.xyz).all(1).sum()):
        remarks["points whose x, y or z is NaN or Inf in the file are left out"] = absent
    cloud = _flagged(cloud, rules, remarks)
    unit = metres_of_units(cloud, rules, remarks)
    xyz = cloud.xyz if unit == (1.0, 1.0, 1.0) else cloud.xyz.astype(np.float64) * np.array(unit)
    gone = without_return(xyz)
    usable = xyz[np.isfinite(xyz).all(1) & ~gone]
    if repeated := at_one_place(usable):
        remarks[
            "points at exactly one place that many others share, as beams without a return have in "
            "a moved frame, are kept; if they are no measurements, remove them from the file"
        ] = repeated
    offset = _offset(usable, rules)
    if offset is not None:
        usable = usable - np.array(offset)
    _check_steps(cloud, usable, offset, max(unit), rules, remarks)
    steps = origin = None
    if cloud.steps is not None:
        steps = tuple(s * u for s, u in zip(cloud.steps, unit, strict=True))
        origin = tuple(o * u for o, u in zip(cloud.origin or (0, 0, 0), unit, strict=True))
        xyz = on_grid(cloud.xyz, cloud, steps, origin, offset)
    elif offset is not None:
        xyz = xyz.astype(np.float64) - np.array(offset)
    # Where the origin moves, (0, 0, 0) no longer says what it said.
    xyz = np.where(gone[:, None], 0.0 if offset is None else np.nan, xyz) if gone.any() else xyz
    if gone.any():
        remarks[
            "points at exactly (0, 0, 0), where beams without a return are stored, are left out as "
            "points that are not finite are"
        ] = int(gone.sum())
    return Placed(_storable(xyz, remarks), offset, steps, origin, unit, remarks)


def on_grid(
    xyz: NDArray, cloud: Cloud, steps: Triple, origin: Triple, offset: Triple | None
) -> NDArray[np.float64]:
    """Coordinates [N, 3] that are whole steps, in metres after `offset` is subtracted.

    They are computed from the whole numbers, so that they are the same float32 whatever was
    subtracted, and those numbers can be found again.
    """
    whole = np.rint((xyz - np.array(cloud.origin or (0, 0, 0))) / np.array(cloud.steps))
    shift, rest = grid_shift(steps, origin, offset or (0.0, 0.0, 0.0))
    return (whole + shift) * np.array(steps) + rest


def grid_shift(
    steps: Triple, origin: Triple, offset: Triple
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where whole number 0 of a grid lies after `offset` was subtracted: whole steps, and a rest.

    The rest, in metres, is below one step, and 0 where it is but rounding.
    """
    grid, start = np.array(steps), np.array(origin) - np.array(offset)
    whole = np.rint(start / grid)
    rest = start - whole * grid
    return whole, np.where(np.abs(rest) < 1e-6 * grid, 0.0, rest)


def _flagged(cloud: Cloud, rules: Rules, remarks: dict[str, int]) -> Cloud:
    """The cloud without the places of points that LAS flags as withheld, which is: deleted."""
    if cloud.steps is None:
        return cloud
    withheld, synthetic = (
        np.asarray(cloud.fields.get(name, np.zeros(len(cloud)))) != 0
        for name in ("withheld", "synthetic")
    )
    if synthetic.any():
        remarks["points flagged as synthetic, which no sensor measured, are kept"] = int(
            synthetic.sum()
        )
    if not withheld.any():
        return cloud
    if rules.keep_withheld:
        remarks["points flagged as withheld are kept"] = int(withheld.sum())
        return cloud
    remarks[
        "points flagged as withheld (deleted) are left out as points that are not finite are; "
        "--keep-withheld keeps them"
    ] = int(withheld.sum())
    return replace(cloud, xyz=np.where(withheld[:, None], np.nan, cloud.xyz))


def _offset(usable: NDArray, rules: Rules) -> Triple | None:
    """What is subtracted. Most points decide: a single one may lie anywhere."""
    if isinstance(rules.offset, tuple):
        return rules.offset
    where = middle(usable)
    if rules.offset == ALWAYS or (rules.offset == "auto" and np.abs(where).max() >= FAR):
        return tuple(float(value) for value in np.floor(where))
    return None


def _check_steps(
    cloud: Cloud,
    usable: NDArray,
    offset: Triple | None,
    unit: float,
    rules: Rules,
    remarks: dict[str, int],
) -> None:
    """Say, or refuse, where float32 or the file itself has too few digits for most points."""
    where = np.abs(middle(usable)).max()
    kept = step_at(min(where, np.finfo(np.float32).max))
    if kept >= COARSE and rules.offset == NEAR:
        raise CloudError(
            f"has coordinates around {where:.3g} m, of which float32 keeps steps of {kept:g} m "
            "only, and most scans of its sequence lie near 0: remove it, or give it a folder"
        )
    if (own := cloud.spacing * unit) >= FINE:
        remarks[
            f"the file's own floats hold steps of {own:.3g} m at so large coordinates: finer "
            "detail is lost already; write them as double or as LAS to keep it"
        ] = 0
    elif kept >= FINE:
        advice = "" if rules.offset == NEAR else "; pass --offset auto, or an X,Y,Z near the points"
        remarks[f"most coordinates are so large that float32 keeps steps of {kept:g} m{advice}"] = 0
    elif offset is not None and (gap := _gap(usable)):
        remarks[
            f"coordinates lie on steps of {gap:.3g} m; if the file was written with too few "
            "digits, write it again as double or as LAS"
        ] = 0


def _gap(usable: NDArray) -> float:
    """The widest smallest distance of two values of an axis; 0 below a centimetre or unknown."""
    if len(usable) < _FEW:
        return 0.0
    values = [np.unique(axis) for axis in usable.T]
    gaps = [float(np.diff(v).min()) for v in values if len(v) >= 10]
    return max((gap for gap in gaps if gap >= COARSE), default=0.0)


def _storable(xyz: NDArray, remarks: dict[str, int]) -> NDArray[np.float32]:
    """As float32; points that no sensor measures become NaN, strays are counted."""
    finite = np.isfinite(xyz).all(1)
    beyond = finite & ~within_reach(xyz)
    if beyond.any():
        remarks[
            f"points farther than {REACH / 1000:,.0f} km, which no sensor measures, are left out "
            "as points that are not finite are"
        ] = int(beyond.sum())
    measured = finite & ~beyond & ~without_return(xyz)
    found = int(strays(xyz[measured]).sum())
    if found:
        remarks["points far from all others, perhaps wrong measurements, are kept"] = found
    with np.errstate(over="ignore"):  # what overflows is beyond reach
        stored = xyz.astype(np.float32)
    stored[beyond] = np.nan
    return stored
