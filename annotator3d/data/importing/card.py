"""The files that describe an imported dataset: dataset.yaml, taxonomy.yaml and scans.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from annotator3d.data.files import atomic_write
from annotator3d.data.formats.columns import is_typed
from annotator3d.data.formats.registry import AUTO
from annotator3d.data.importing.convert import Converted
from annotator3d.data.importing.rules import Rules
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.errors import shortened, some

CARD = "dataset.yaml"
TAXONOMY = "taxonomy.yaml"
LAYOUT = 1
_COLUMNS = ("id", "source", "offset")  # others were added later
_HEAD = """\
# Written by annotator3d import; read by the dataset type OwnScans.
# intensity.max: intensities are divided by it when they are read; a number for all, or one for each
# sequence.
"""


@dataclass(frozen=True)
class Card:
    """The content of dataset.yaml."""

    intensity_max: dict[str, float] | float  # of each sequence, or of all
    split: str  # how the scans were divided, in words
    source: str  # the folder that was imported
    records_stated: bool = False  # what was imported says what its numbers are
    notices: tuple[str, ...] = ()  # what the import left out, guessed or changed


@dataclass(frozen=True)
class Origin:
    """Where a scan came from: a row of scans.csv."""

    source: str  # path below the imported folder
    offset: tuple[float, ...] = ()  # what was subtracted from its coordinates, metres
    steps: tuple[float, ...] = ()  # LAS: the whole numbers of X, Y and Z count these, metres
    zero: tuple[float, ...] = ()  # LAS: the coordinates where they are 0, metres
    unit: tuple[float, ...] = ()  # metres of one unit of x, y and z in the file
    labels: str = ""  # the field that labels were read from, or the ending of their file


def write_card(
    out: Path,
    scans: Sequence[Converted],
    taxonomy: bytes,
    split: str,
    intensity_max: Mapping[str, float],
    source: Path,
    rules: Rules,
    notices: Sequence[str] = (),
) -> None:
    """Write the three files, dataset.yaml last: it makes the folder a dataset."""
    with atomic_write(out / TAXONOMY) as file:
        file.write(taxonomy)
    with atomic_write(out / "scans.csv") as file:
        file.write(_listing(scans).encode(errors="surrogateescape"))  # names may be no UTF-8
    card = {
        "layout": LAYOUT,
        "intensity": {"field": scans[0].intensity, "max": _one_or_all(intensity_max)},
        "split": split,
        "source": {"folder": str(source.resolve()), "format": rules.format},
    }
    if rules.columns is not None:
        card["source"]["columns"] = list(rules.columns)
    if notices:
        card["notices"] = list(notices)
    with atomic_write(out / CARD) as file:
        file.write(_HEAD.encode())
        file.write(yaml.safe_dump(card, sort_keys=False, allow_unicode=True).encode())


def is_unfinished(root: Path) -> bool:
    """Whether an import into `root` was stopped, so that what lies there is no dataset yet."""
    return (root / ".import.jsonl").exists() and not (root / CARD).exists()


def read_card(root: Path) -> Card:
    """Read the dataset.yaml in `root`.

    Raises FileNotFoundError if there is none, ValueError if it is not valid.
    """
    path = root / CARD
    if not path.is_file():
        raise FileNotFoundError(
            f"{root} holds an unfinished import; repeat the import command to complete it"
            if is_unfinished(root)
            else f"{root} has no {CARD}, so `annotator3d import` did not write it; import your "
            "scans first (docs/own-data.md)"
        )
    try:
        values = read_yaml(path)
        layout, largest = values["layout"], _scales(values["intensity"]["max"])
        split, source = str(values["split"]), str(values["source"]["folder"])
        stated = values["source"].get("format") not in ("bin", AUTO)
        stated |= is_typed([str(name) for name in values["source"].get("columns") or ()])
        notices = tuple(str(notice) for notice in values.get("notices") or ())
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a valid file of `annotator3d import`: {error!r}; import the scans again"
        ) from error
    if layout != LAYOUT:
        raise ValueError(f"{path} has layout {layout!r}, this version reads {LAYOUT}; import again")
    for value in largest.values() if isinstance(largest, dict) else [largest]:
        if not 0 < value < math.inf:
            raise ValueError(f"{path}: intensity.max must be above 0, got {value}")
    return Card(largest, split, source, stated, notices)


def _one_or_all(scales: Mapping[str, float]) -> dict[str, float] | float:
    """One number where all sequences have the same."""
    return next(iter(scales.values())) if len(set(scales.values())) == 1 else dict(scales)


def _scales(value: object) -> dict[str, float] | float:
    if isinstance(value, dict):
        return {str(name): float(scale) for name, scale in value.items()}
    return float(value)


def read_origins(root: Path) -> dict[str, Origin]:
    """Scan id -> where it came from.

    Raises FileNotFoundError if there is no scans.csv, ValueError that names the line for one that
    is damaged: without the offsets in it, coordinates would be written in the wrong place.
    """
    path = root / "scans.csv"
    advice = "put back a copy of it, or import the scans again"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, which says what was subtracted from each scan; {advice}"
        )
    found = {}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise ValueError(f"the first line names no {some(missing)}")
            for row in rows:
                if None in row or None in row.values():
                    raise ValueError(f"expected {len(rows.fieldnames or ())} values")
                found[row["id"]] = Origin(
                    _below(row["source"]),
                    *(_three(row.get(key) or "") for key in ("offset", "steps", "zero", "unit")),
                    row.get("labels") or "",
                )
        except (csv.Error, ValueError) as error:
            where = f"{path}, line {max(rows.line_num, 1)}"
            raise ValueError(f"{where}: damaged: {error}; {advice}") from None
    return found


def _listing(scans: Sequence[Converted]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "source", "points", "labels", "offset", "steps", "zero", "unit"])
    for s in scans:
        triples = (s.offset, s.steps, s.origin, s.unit)
        numbers = [" ".join(repr(v) for v in values or ()) for values in triples]
        writer.writerow([s.id, s.source, s.points, s.label or "", *numbers])
    return text.getvalue()


def _below(source: str) -> str:
    """A path below the imported folder: exported files are named by it, so it may not lead away."""
    parts = PurePosixPath(source).parts
    if not parts or parts[0].startswith("/") or ".." in parts or "\0" in source:
        raise ValueError(
            f"expected a path below the imported folder, got {shortened(source, 60)!r}"
        )
    return source


def _three(text: str) -> tuple[float, ...]:
    """Three finite numbers, or none."""
    values = tuple(float(value) for value in text.split())
    if len(values) not in (0, 3) or not all(map(math.isfinite, values)):
        raise ValueError(f"expected three numbers or nothing, got {shortened(text, 60)!r}")
    return values
