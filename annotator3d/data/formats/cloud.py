"""A point cloud as a file holds it: coordinates and named fields, nothing converted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import step_at
from annotator3d.data.formats.units import Stated
from annotator3d.errors import nearest, some

NOT_COUNTED = "points behind those that the header counts are not read"
"""The remark of a reader for points that are there and that the header does not count."""


class CloudError(ValueError):
    """A file that can be read and is not what is needed; the words go on after its name."""


@dataclass(frozen=True)
class Cloud:
    """Points of one file in its order.

    Attributes:
        xyz: [N, 3] float32 or float64, as precise as the file, in its own units.
        fields: everything else that the file says about each point: name -> [N].
        steps, origin: coordinates are `origin` and whole multiples of `steps` (LAS and LAZ), else
            None.
        remarks: what the reader left out, guessed or changed, in words that are the same for every
            such file -> number of points, or 0 where it concerns the file as a whole.
        stated: what the file states about their unit; None: nothing.
        spacing: how far the coordinates that the file can hold lie from each other where most
            points are, in its own units; 0 where it holds any whole number.
    """

    xyz: NDArray
    fields: Mapping[str, NDArray] = field(default_factory=dict)
    steps: tuple[float, float, float] | None = None
    remarks: Mapping[str, int] = field(default_factory=dict)
    origin: tuple[float, float, float] | None = None
    stated: Stated | None = None
    spacing: float = 0.0

    def __post_init__(self) -> None:
        wrong = [name for name, values in self.fields.items() if values.shape != (len(self.xyz),)]
        if self.xyz.shape != (len(self.xyz), 3) or wrong:
            raise ValueError(
                f"xyz must be [N, 3] and fields [N], but this is wrong: {wrong or self.xyz.shape}"
            )

    def __len__(self) -> int:
        return len(self.xyz)

    def find(self, wanted: str | Iterable[str]) -> str | None:
        """The file's name of a field; names are compared without case and CloudCompare's prefix.

        Args:
            wanted: one name, which must be there; or names of which the first that is there counts.

        Raises:
            CloudError: there is no field of the one name (with the nearest ones).
        """
        known = {plain(name): name for name in reversed(list(self.fields))}
        if isinstance(wanted, str) and wanted in self.fields:
            return wanted
        if isinstance(wanted, str):
            if plain(wanted) not in known:
                raise CloudError(f"has no field {wanted!r}: {nearest(wanted, self.fields)}")
            return known[plain(wanted)]
        return next((known[name] for name in wanted if name in known), None)


def plain(name: str) -> str:
    """A field's name for comparison: CloudCompare writes ``scalar_Label`` for ``label``."""
    return name.strip().lower().removeprefix("scalar_")


def from_columns(columns: Mapping[str, NDArray]) -> Cloud:
    """A cloud of named columns [N] or [N, 1], among them x, y and z (in any case).

    Other shapes are left out, which a remark says.

    Raises:
        CloudError: one of the three is missing.
    """
    axes = {
        name.lower(): name for name in reversed(list(columns)) if name.lower() in ("x", "y", "z")
    }
    if missing := [axis for axis in "xyz" if axis not in axes]:
        raise CloudError(f"has no {', '.join(missing)}, only {some(columns)}")
    stored = [flat(np.asarray(columns[axes[axis]])) for axis in "xyz"]
    xyz = np.column_stack(stored)
    if xyz.dtype.kind not in "fiu":
        raise CloudError(f"has coordinates of {xyz.dtype}, not numbers")
    exact = xyz.dtype.itemsize <= 4 and xyz.dtype.kind == "f"
    others = {n: flat(v) for n, v in columns.items() if n not in axes.values()}
    fields = {name: native(v) for name, v in others.items() if v.shape == (len(xyz),)}
    wide = {name: v.shape for name, v in others.items() if name not in fields}
    xyz = xyz.astype(np.float32 if exact else np.float64)
    spacing = max(_spacing(values) for values in stored)
    return Cloud(xyz, fields, remarks=left_out(wide, len(xyz)), spacing=spacing)


def flat(values: NDArray) -> NDArray:
    """[N] of [N, 1]; anything else as it is."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def left_out(shapes: Mapping[str, tuple[object, ...]], num_points: int) -> dict[str, int]:
    """The remark for fields that are not one number a point; empty if there are none."""
    named = [
        f"{name!r} [{', '.join('N' if size == num_points else str(size) for size in shape)}]"
        for name, shape in shapes.items()
    ]
    return {f"not used, as they are not one number a point: {some(named)}": 0} if named else {}


def _spacing(values: NDArray) -> float:
    """The distance of neighbouring floats of this type at the median of their sizes."""
    if values.dtype.kind != "f":
        return 0.0
    sizes = np.abs(values[np.isfinite(values)])
    return step_at(np.median(sizes), values.dtype) if len(sizes) else 0.0


def native(values: NDArray) -> NDArray:
    """The same numbers in this machine's byte order."""
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
