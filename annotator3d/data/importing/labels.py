"""Where the labels of an imported scan are: in a field, in colours or in a file of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.cloud import Cloud, CloudError, plain
from annotator3d.data.formats.label_files import USUAL, read_label_file
from annotator3d.data.importing.rules import FIELDS, NONE, Rules, UnclearError, wanted
from annotator3d.data.importing.sources import Source
from annotator3d.errors import count, some

_MAX64 = np.uint64(0xFFFFFFFFFFFFFFFF)  # -1 in an unsigned field


@dataclass(frozen=True)
class Found:
    """The labels of a scan.

    Attributes:
        raw: [N] raw ids, 0 to 65535.
        instances: [N] object ids, or None.
        name: the field or the ending of the file that they came from.
        void: number of points without a class, which became the ignored id.
        instance: the field of the object ids.
        packed: the instances are the upper 16 bits of the numbers in the file.
        too_large: the field of object ids that do not fit 16 bits, and are left out.
    """

    raw: NDArray
    instances: NDArray | None
    name: str
    void: int
    instance: str | None = None
    packed: bool = False
    too_large: str | None = None


def find_labels(cloud: Cloud, source: Source, rules: Rules) -> Found | None:
    """The labels of a scan; None: it has none.

    A label file takes precedence over a field; where the user names a folder, only files count.

    Raises:
        CloudError, ValueError: they are not whole numbers in range, or of another length.
        UnclearError: two fields may hold them and differ.
    """
    if rules.label_field == NONE:
        return None
    if rules.label_colors:
        return _by_color(cloud, rules)
    if source.labels is not None and rules.label_field is None:
        return _side_labels(source, len(cloud), rules)
    return None if rules.labels_given else _in_field(cloud, source, rules)


def label_fields(cloud: Cloud) -> list[str]:
    """The fields whose names say that they hold classes."""
    wanted = list(dict.fromkeys(_letters(name) for name in FIELDS["label"]))
    found = [name for name in cloud.fields if _letters(name) in wanted]
    return sorted(found, key=lambda name: wanted.index(_letters(name)))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", plain(name))


def _in_field(cloud: Cloud, source: Source, rules: Rules) -> Found | None:
    name = _label_field(cloud, source) if rules.label_field is None else rules.label_field
    if name is None:
        return None
    name = cloud.find(name)
    raw, upper, void = _whole(cloud.fields[name], name, rules.void)
    instance = cloud.find(wanted(rules.instance_field, "instance"))
    if instance is None:
        return Found(raw, upper, name, void, packed=upper is not None)
    ids, large, _ = _whole(cloud.fields[instance], instance, 0)
    if large is None:
        return Found(raw, ids, name, void, instance)
    if rules.instance_field is None:
        return Found(raw, upper, name, void, packed=upper is not None, too_large=instance)
    raise CloudError(f"has instance ids above 65535 in {instance!r}; pass --instance-field none")


def _label_field(cloud: Cloud, source: Source) -> str | None:
    """The field of the classes; of several, the one that is filled or that equals all others."""
    names = label_fields(cloud)
    filled = [name for name in names if _is_filled(cloud.fields[name])]
    if not filled:
        return names[0] if names else None
    first = cloud.fields[filled[0]]
    if all(np.array_equal(first, cloud.fields[name], equal_nan=_floats(first)) for name in filled):
        return filled[0]
    listed = some([f"{name!r} ({_contents(cloud.fields[name])})" for name in filled], 240)
    raise UnclearError(
        f"{source.path} has {count(len(filled), 'field')} that may hold the classes: "
        f"{listed}. Choose one "
        f"with --label-field, for example --label-field {filled[-1]}"
    )


def _floats(values: NDArray) -> bool:
    return values.dtype.kind == "f"


def _is_filled(values: NDArray) -> bool:
    """Whether any point has a number that may be a class: LAS has a field that is often all 0."""
    if values.dtype.kind not in "fiub":
        return False
    return bool(((values != 0) & (values != -1) & (values == values)).any())


def _contents(values: NDArray) -> str:
    ids = np.unique(values)
    if len(ids) <= 5:
        return ", ".join(f"{value:g}" for value in ids)
    return f"{len(ids):,} numbers from {ids[0]:.12g} to {ids[-1]:.12g}"


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
    return Found(raw, None, "color", int((~known).sum()))


def _side_labels(source: Source, num_points: int, rules: Rules) -> Found:
    path = source.labels
    values, stored = read_label_file(path, num_points, source.path)
    try:
        raw, instances, void = _whole(values, None, rules.void)
    except CloudError as error:
        raise ValueError(f"{path} {error}") from None
    name = path.suffix if stored == USUAL.get(path.suffix.lower()) else f"{path.suffix} ({stored})"
    return Found(raw, instances, name, void, packed=instances is not None)


def _whole(values: NDArray, name: str | None, void: int) -> tuple[NDArray, NDArray | None, int]:
    """Raw ids [N], upper 16 bits [N] or None, and how many -1 and NaN became `void`."""
    place = "" if name is None else f" in {name!r}"
    if values.dtype.kind not in "fiub":
        raise CloudError(f"has labels of type {values.dtype}{place}; expected whole numbers")
    if values.dtype == np.uint64 and (values >> np.uint64(32)).any():
        values = np.where(values == _MAX64, -1.0, values.astype(np.float64))
    values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
    nothing = np.isnan(values) | (values == -1)
    values = np.where(nothing, void, values)
    with np.errstate(invalid="ignore"):  # infinite values are refused below
        whole = values.astype(np.int64)
    if ((whole != values) | (whole < 0) | (whole > 0xFFFFFFFF)).any():
        wrong = values[(whole != values) | (whole < 0) | (whole > 0xFFFFFFFF)]
        raise CloudError(
            f"has the label {_as_it_stands(wrong[0])}{place}; expected whole numbers from 0 "
            "to 65535"
        )
    upper = whole >> 16
    return whole & 0xFFFF, upper if upper.any() else None, int(nothing.sum())


def _as_it_stands(value: float | int) -> str:
    return str(int(value)) if np.isfinite(value) and value == int(value) else str(float(value))
