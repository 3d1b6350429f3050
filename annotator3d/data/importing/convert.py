"""One scan: from a file of another tool to .bin and .label."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.extent import without_return
from annotator3d.data.formats.cloud import Cloud, CloudError
from annotator3d.data.formats.kitti import write_bin, write_label
from annotator3d.data.formats.parts import read_parts
from annotator3d.data.formats.registry import read_cloud
from annotator3d.data.importing.coordinates import place
from annotator3d.data.importing.intensity_values import stored
from annotator3d.data.importing.labels import Found, find_labels, label_fields
from annotator3d.data.importing.rules import Rules, UnclearError, wanted
from annotator3d.data.importing.scale import Scale, measure, remarks_on
from annotator3d.data.importing.sources import Source
from annotator3d.data.importing.units import UnitError
from annotator3d.data.scan import MISSING_INTENSITY


@dataclass(frozen=True)
class Converted:
    """A converted scan, with all that is needed to put the dataset together."""

    id: str
    source: str  # path below SRC
    stamp: list[int]  # sizes and times of the files that it was read from
    points: int
    classes: dict[int, int] | None  # raw id -> points; None: no labels at all
    label: str | None  # the field or file that labels came from
    intensity: str | None  # the field; None: there is none, and the constant 0 is written
    span: list[float]  # smallest and largest intensity; empty where no point has one
    low: list[float] = field(default_factory=list)  # smallest x, y, z
    high: list[float] = field(default_factory=list)
    offset: list[float] | None = None  # subtracted, metres
    steps: list[float] | None = None  # LAS: the coordinates are `origin` and multiples of these
    origin: list[float] | None = None  # metres, before the offset is subtracted
    unit: list[float] = field(default_factory=lambda: [1.0] * 3)  # metres of one unit of the file
    scale: Scale = field(default_factory=Scale)
    void: int = 0  # points whose label means "none" (-1 or not a number)
    # What was left out, guessed or changed, in words that are the same for every such scan; with
    # the number of points, or 0 where it concerns the scan as a whole (see `notices.gather`).
    remarks: dict[str, int] = field(default_factory=dict)
    large: dict[int, int] = field(default_factory=dict)  # raw id -> a number it was packed in
    unused: list[str] = field(default_factory=list)  # fields that were not used


def stamp(source: Source) -> list[int]:
    """Sizes and times of the files of a scan: whether they are still the same."""
    files = [path for path in source.files() if path != source.pose and path.exists()]
    return [n for path in files for n in (os.stat(path).st_size, os.stat(path).st_mtime_ns)]


def output_paths(out: Path, scan_id: str) -> tuple[Path, Path]:
    """Where the points and the labels of a scan go."""
    sequence, frame = scan_id.split("/")
    folder = out / "sequences" / sequence
    return folder / "velodyne" / f"{frame}.bin", folder / "labels" / f"{frame}.label"


def convert(source: Source, src: Path, out: Path, rules: Rules) -> Converted:
    """Read one scan and write its .bin and, if it has labels, its .label.

    Raises ValueError or FileNotFoundError that names the file and what is wrong with it.
    """
    cloud = _read(source, rules)
    try:
        placed = place(cloud, rules)
        remarks = {**cloud.remarks, **placed.remarks}
        intensity, intensity_name, span = _intensity(cloud, rules, remarks)
        found = find_labels(cloud, source, rules)
    except UnitError as error:
        raise UnclearError(f"{source.path} {error}") from None
    except CloudError as error:
        raise ValueError(f"{source.path} {error}") from None
    xyz = placed.xyz
    finite = np.isfinite(xyz).all(1) & ~without_return(xyz)
    if not finite.any():
        none = "none of its points is finite" if len(cloud) else "holds no points"
        none += " and not at (0, 0, 0)" * bool(without_return(cloud.xyz).any())
        raise ValueError(f"{source.path}: {none}; repair or remove it")
    bin_path, label_path = output_paths(out, source.id)
    write_bin(bin_path, xyz, intensity)
    classes, name, void = None, None, 0
    large: dict[int, int] = {}
    if found is not None:
        name, void = found.name, found.void
        write_label(label_path, found.raw, found.instances)
        ids, where, counts = np.unique(found.raw, return_index=True, return_counts=True)
        classes = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        if found.packed:
            full = found.raw[where] | found.instances[where] << 16
            large = {i: n for i, n in zip(ids.tolist(), full.tolist(), strict=True) if i != n}
        if found.too_large is not None:
            remarks[f"the object numbers in {found.too_large!r} exceed 65535 and are left out"] = 0
    elif label_path.exists():
        label_path.unlink()  # of an attempt with other labels
    scale = measure(xyz[finite])
    remarks |= remarks_on(scale, len(cloud))
    return Converted(
        id=source.id,
        source=source.path.relative_to(src).as_posix(),
        stamp=stamp(source),
        points=len(cloud),
        classes=classes,
        label=name,
        intensity=intensity_name,
        span=span,
        low=xyz[finite].min(0).tolist(),
        high=xyz[finite].max(0).tolist(),
        offset=None if placed.offset is None else list(placed.offset),
        steps=None if placed.steps is None else list(placed.steps),
        origin=None if placed.origin is None else list(placed.origin),
        unit=list(placed.unit),
        scale=scale,
        void=void,
        remarks=remarks,
        large=large,
        unused=_unused(cloud, found, intensity_name, rules),
    )


def _read(source: Source, rules: Rules) -> Cloud:
    if not source.parts:
        return read_cloud(source.path, source.format, rules.columns)
    try:
        return read_parts(dict(source.parts))
    except CloudError as error:
        raise ValueError(f"{source.path} {error}") from None


def to_json(scan: Converted) -> dict:
    return dataclasses.asdict(scan)


def from_json(values: dict) -> Converted:
    classes = values["classes"]
    if classes is not None:
        classes = {int(raw): count for raw, count in classes.items()}
    large = {int(raw): number for raw, number in values["large"].items()}
    scale = Scale(**values["scale"])
    return Converted(**{**values, "classes": classes, "large": large, "scale": scale})


def _intensity(
    cloud: Cloud, rules: Rules, remarks: dict[str, int]
) -> tuple[NDArray[np.float32], str | None, list[float]]:
    """Intensities [N], their field, and their smallest and largest."""
    name = cloud.find(wanted(rules.intensity_field, "intensity"))
    if name is None:
        return np.full(len(cloud), MISSING_INTENSITY, np.float32), None, []
    values, span = stored(cloud.fields[name], remarks)
    return values, name, span


def _unused(cloud: Cloud, found: Found | None, intensity: str | None, rules: Rules) -> list[str]:
    """The fields that were not used: first those whose names say that they hold classes."""
    used = {intensity} if found is None else {intensity, found.name, found.instance}
    if rules.label_colors:
        used |= {cloud.find(name) for name in ("red", "green", "blue")}
    return [
        name for name in dict.fromkeys([*label_fields(cloud), *cloud.fields]) if name not in used
    ]
