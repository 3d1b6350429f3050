"""How the files of an import are read: which field is what, in which units."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotator3d.data.formats.columns import UNUSED, is_typed, name_of, record
from annotator3d.data.formats.registry import AUTO, FORMATS
from annotator3d.data.formats.units import UNITS
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import ConfigError, nearest

NONE = "none"  # of a field: there is none, even if the file has one that looks like it
FIELDS = {
    "label": (
        "label",
        "labels",
        "semantic",
        "semantics",
        "semantic_label",
        "semantic_labels",
        "semantic_id",
        "semantic_class",
        "sem",
        "sem_label",
        "sem_id",
        "sem_class",
        "class",
        "classes",
        "class_id",
        "class_label",
        "classification",
        "category",
        "category_id",
        "segment",
        "seg",
        "seg_label",
        "segmentation",
        "semantic_segmentation",
        "sem_seg",
        "sem_cls",
        "cls",
        "cls_id",
        "class_index",
        "class_idx",
        "label_id",
        "objtag",
        "object_class",
        "semantic_tag",
        "gt",
        "gt_label",
        "gt_class",
        "ground_truth",
        "target",
        "annotation",
    ),
    "instance": (
        "instance",
        "instance_id",
        "instances",
        "instance_label",
        "inst_label",
        "inst_id",
        "ins_class",
        "object_id",
        "obj_id",
        "objidx",
    ),
    "intensity": (
        "remission",
        "intensity",
        "intensities",
        "reflectivity",
        "reflectance",
        "strength",
        "i",
    ),
}
# Of the offset, where 'auto' found what the sequence of a scan needs (see `offsets`):
ALWAYS, NEAR = "always", "near"
_FARTHEST = 1e9  # metres of an offset: 100 times the reach of the coordinates that are kept


class UnclearError(ValueError):
    """The files leave something open that an option settles; the import may begin again with it."""


@dataclass(frozen=True)
class Rules:
    """What the command line says about the files; the defaults detect it.

    Attributes:
        format: a key of `FORMATS`, or `AUTO`.
        columns: of plain arrays (bin, npy, npz); of bin also with types, such as ``x:f8``.
        label_field, instance_field, intensity_field: None: the first of `FIELDS` that is there;
            'none': there is none; else its name, which every file must have.
        label_colors: red, green and blue give the class instead.
        labels_given: the user named a folder of label files, so that fields do not count.
        unit: metres of one unit of the coordinates; None: as the file states, else 1.
        offset: 'auto': subtracted where most coordinates reach `extent.FAR`; 'none'; or x, y, z;
            or what `offsets` found for a sequence.
        keep_withheld: points that LAS flags as withheld are used like others.
        void: raw id for points without a class.
        colors: red, green, blue -> raw id, for `label_colors`.
    """

    format: str
    columns: tuple[str, ...] | None = None
    label_field: str | None = None
    instance_field: str | None = None
    intensity_field: str | None = None
    label_colors: bool = False
    labels_given: bool = False
    unit: float | None = None
    offset: str | tuple[float, float, float] = "auto"
    keep_withheld: bool = False
    void: int = 0
    colors: tuple[tuple[tuple[int, int, int], int], ...] = ()

    def __post_init__(self) -> None:
        if self.format not in (*FORMATS, AUTO):
            raise ConfigError(f"--format {self.format}: {nearest(self.format, (*FORMATS, AUTO))}")
        if self.unit is not None and not (np.isfinite(self.unit) and 1e-9 <= self.unit <= 1e6):
            raise ConfigError(f"--unit: expected metres, from 1e-9 to 1e6, got {self.unit}")
        if self.columns is not None and self.format not in ("bin", "npy", "npz", AUTO):
            raise ConfigError(
                f"--columns is for bin, npy and npz only; {self.format} files name their fields"
            )
        if self.columns is not None and is_typed(self.columns):
            if self.format not in ("bin", AUTO):
                raise ConfigError("--columns: only bin files need types, the others state theirs")
            try:
                record(self.columns)
            except ValueError as error:
                raise ConfigError(f"--columns {error}") from None
        if self.label_colors and self.label_field is not None:
            raise ConfigError("give either --label-colors or --label-field, not both")

    def digest(self) -> str:
        """Equal for equal rules; an import that was stopped is recognised by it."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make_rules(taxonomy: Taxonomy, offset: str = "auto", **options: object) -> Rules:
    """Rules from options of the command line (texts as given; None: not given).

    Raises ConfigError for an option that makes no sense.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if "columns" in given:
        given["columns"] = _columns(str(given["columns"]))
    if "unit" in given:
        given["unit"] = _unit(given["unit"])
    colors = tuple(
        (tuple(int(c) for c in rgb), int(taxonomy.raw_ids[train]))
        for train, rgb in enumerate(taxonomy.colors)
    )
    given |= {"offset": _offset(offset), "void": int(taxonomy.raw_ids[255])}
    if given.get("label_colors"):
        if len({rgb for rgb, _ in colors}) < len(colors):
            raise ConfigError("--label-colors: two classes of the taxonomy have the same color")
        given["colors"] = colors
    return Rules(**given)


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if missing := [axis for axis in "xyz" if axis not in [name_of(name).lower() for name in names]]:
        raise ConfigError(
            f"--columns {text}: {', '.join(missing)} is missing; expected, for example, x,y,z,label"
        )
    used = Counter(name_of(name).lower() for name in names)
    if twice := [name for name, times in used.items() if times > 1 and name != UNUSED]:
        raise ConfigError(
            f"--columns {text}: {', '.join(twice)} is named twice; name each column once, and one "
            f"that is not used {UNUSED}"
        )
    return names


def _unit(given: object) -> float:
    """Metres of a unit that is given by name or as a number."""
    if given in UNITS:
        return UNITS[given]
    try:
        return float(given)
    except (TypeError, ValueError):
        raise ConfigError(
            f"--unit {given}: expected {', '.join(UNITS)} or the metres of one unit, such as 0.001"
        ) from None


def _offset(text: str) -> str | tuple[float, float, float]:
    if text in ("auto", NONE):
        return text
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--offset {text}: expected auto, none or X,Y,Z in metres") from None
    if not all(abs(metres) <= _FARTHEST for metres in (x, y, z)):  # NaN compares as False
        raise ConfigError(
            f"--offset {text}: expected finite metres, at most {_FARTHEST:,.0f} from 0"
        )
    return x, y, z


def wanted(field: str | None, kind: str) -> str | Sequence[str]:
    """What `Cloud.find` shall look for; an empty tuple finds nothing."""
    if field == NONE:
        return ()
    return FIELDS[kind] if field is None else field
