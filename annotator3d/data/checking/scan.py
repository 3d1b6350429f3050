"""Checking one scan: everything that can be wrong with its two files."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.checking.far import far_points
from annotator3d.data.checking.problems import Problem
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.extent import REACH, within_reach, without_return
from annotator3d.data.files import fingerprint, kind_of
from annotator3d.data.formats.kitti import listed_ids, other_width, split_label
from annotator3d.data.formats.records import best, doubt
from annotator3d.data.scan import IGNORE, MISSING_INTENSITY
from annotator3d.errors import count
from annotator3d.system_errors import in_words

_FAR, _TINY = 1e6, 1e-9  # metres: the sizes of plausible coordinates, except zero


@dataclass
class CheckedScan:
    """The result for one scan; only `stamp` and `problems` if it cannot be read."""

    id: str
    stamp: list[int]  # see `stamp`
    points: int = 0
    digest: str = ""  # of the bytes of the points
    low: list[float] = field(default_factory=list)  # x, y, z, intensity of finite points
    high: list[float] = field(default_factory=list)
    reach: float = 0.0  # metres from the sensor to the farthest point
    classes: dict[int, int] | None = None  # raw id -> points; None: no labels
    problems: list[Problem] = field(default_factory=list)


def stamp(dataset: ScanDataset, i: int) -> list[int]:
    """Size and modification time (ns) of the points and, if there is one, of the label file.

    Empty if the file of points is missing. What is no file has the size -1: a FIFO, a folder.
    """
    found: list[int] = []
    for path in (dataset.path(i), dataset.label_path(i)):
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            break
        found += [status.st_size if stat.S_ISREG(status.st_mode) else -1, status.st_mtime_ns]
    return found


def check_scan(dataset: ScanDataset, i: int, labelled: bool) -> CheckedScan:
    """Read scan ``i`` and look for problems; `labelled`: it should have labels."""
    checked = CheckedScan(dataset.ids[i], stamp(dataset, i))
    checked.problems = size_problems(dataset, i, checked.stamp, labelled)
    label_path = dataset.label_path(i)
    checked.problems = [_with_columns(dataset, i, p) for p in checked.problems]
    broken = {problem.file for problem in checked.problems if problem.is_error}
    path = dataset.path(i)
    if str(path) not in broken:
        try:
            _check_points(dataset, i, checked)
        except (ValueError, OSError) as error:
            checked.problems.append(Problem("unreadable", str(path), in_words(error), checked.id))
    if label_path.is_file() and str(label_path) not in broken:
        try:
            _check_labels(dataset, i, checked)
        except (ValueError, OSError) as error:
            checked.problems.append(
                Problem("unreadable", str(label_path), in_words(error), checked.id)
            )
    return checked


def size_problems(dataset: ScanDataset, i: int, stamp: list[int], labelled: bool) -> list[Problem]:
    """Problems that the sizes alone show; no file is opened."""

    def problem(kind: str, words: str, path: Path) -> Problem:
        return Problem(kind, str(path), words, dataset.ids[i])

    paths = (dataset.path(i), dataset.label_path(i))
    if not stamp:
        return [problem("unreadable", "there is no such file", dataset.path(i))]
    if odd := [path for path, size in zip(paths, stamp[::2], strict=False) if size < 0]:
        kinds = [kind_of(path.stat().st_mode) for path in odd]
        return [
            problem("unreadable", f"it is a {kind}, not a file", path)
            for path, kind in zip(odd, kinds, strict=True)
        ]
    found = []
    sized = dataset.POINT_BYTES > 0  # else sizes show nothing
    points, rest = divmod(stamp[0], dataset.POINT_BYTES) if sized else (0, 0)
    if rest:
        words = (
            f"{count(stamp[0], 'byte')}, {rest} more than {count(points, 'point')} of "
            f"{dataset.POINT_BYTES} bytes"
        )
        found.append(problem("truncated", words, dataset.path(i)))
    elif sized and points == 0:
        found.append(problem("empty scan", "it has no points", dataset.path(i)))
    if labelled and len(stamp) < 4:
        found.append(problem("missing label", "there is no such file", dataset.label_path(i)))
    if len(stamp) < 4 or not sized:
        return found
    labels, over = divmod(stamp[2], dataset.LABEL_BYTES)
    if not rest and (words := other_width(stamp[2], points, dataset.LABEL_BYTES)):
        found.append(problem("length mismatch", words, dataset.label_path(i)))
    elif over:
        words = (
            f"{count(stamp[2], 'byte')}, {over} more than {count(labels, 'label')} of "
            f"{dataset.LABEL_BYTES} bytes"
        )
        found.append(problem("truncated", words, dataset.label_path(i)))
    elif labels != points and not rest:
        words = f"{count(labels, 'label')}, but {dataset.path(i)} has {count(points, 'point')}"
        found.append(problem("length mismatch", words, dataset.label_path(i)))
    return found


def shape_doubt(dataset: ScanDataset, i: int) -> str | None:
    """Why the records of scan ``i`` seem to be of another shape than the data set's; None: not."""
    columns = dataset.POINT_BYTES // 4
    if not columns or dataset.records_stated:
        return None
    data = _bytes(dataset.path(i))
    wrong = doubt(data, columns)
    if wrong is None:
        return None
    words = f"not points of {columns} float32: {wrong.words(len(data))}"
    if wrong.fits is not None:
        words += " and annotator3d import --format bin brings them into the right shape"
    return words


def _with_columns(dataset: ScanDataset, i: int, problem: Problem) -> Problem:
    """A problem of the size of a scan, with the columns that fit."""
    if problem.kind != "truncated" or problem.file != str(dataset.path(i)):
        return problem
    fits = best(_bytes(dataset.path(i)))
    if fits is None or fits.size == dataset.POINT_BYTES:
        return problem
    words = f"{problem.words}; it may be of another shape: annotator3d import --format bin "
    return replace(problem, words=f"{words}--columns {fits.names()}")


def _bytes(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file; only those that are looked at are read."""
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)


def _check_points(dataset: ScanDataset, i: int, checked: CheckedScan) -> None:
    path = str(dataset.path(i))
    xyz, intensity = dataset.read_points(i)
    checked.points, checked.digest = len(xyz), fingerprint(path)
    if len(xyz) == 0:
        return
    if _absurd(xyz) > 0.5 and _absurd(xyz.byteswap()) < 0.05:
        words = "the coordinates make sense only as big-endian; write them as little-endian"
        checked.problems.append(Problem("wrong endianness", path, words, checked.id))
        return
    if (words := shape_doubt(dataset, i)) is not None:
        checked.problems.append(Problem("wrong columns", path, words, checked.id))
    finite = np.isfinite(xyz).all(1)
    beyond, gone = finite & ~within_reach(xyz), without_return(xyz)
    if not (finite & ~beyond & ~gone).any():
        words = f"none of its {len(xyz):,} points is finite and within {REACH / 1000:,.0f} km"
        words += ", and not at (0, 0, 0)" * bool(gone.any())
        checked.problems.append(Problem("empty scan", path, words, checked.id))
        return
    if gone.any():
        words = (
            f"{int(gone.sum()):,} of {len(xyz):,} points are at (0, 0, 0), where beams without a "
        )
        words += "return are stored; training leaves them out"
        checked.problems.append(Problem("no return", path, words, checked.id))
    if bad := len(xyz) - int(finite.sum()):
        words = f"{bad} of {len(xyz)} points are NaN or Inf, the first in row {finite.argmin()}"
        checked.problems.append(Problem("not finite", path, words, checked.id))
    missing = finite & ~np.isfinite(intensity)
    if missing.any():
        words = f"{int(missing.sum()):,} of {len(xyz):,} points have NaN or Inf as intensity, the "
        words += f"first in row {missing.argmax()}; they get {MISSING_INTENSITY:g} when read"
        checked.problems.append(Problem("no intensity", path, words, checked.id))
    checked.problems += [
        Problem(kind, path, words, checked.id) for kind, words in far_points(xyz, finite, beyond)
    ]
    finite &= ~beyond & ~gone
    xyz, intensity = xyz[finite], intensity[finite]
    intensity = np.where(np.isfinite(intensity), intensity, np.float32(MISSING_INTENSITY))
    columns = (*xyz.T, intensity)
    checked.low = [float(values.min()) for values in columns]
    checked.high = [float(values.max()) for values in columns]
    squares = (xyz.astype(np.float64) ** 2).sum(1)
    checked.reach = float(np.sqrt(squares.max()))


def _absurd(xyz: NDArray[np.float32]) -> float:
    """Share of the coordinates that no sensor would measure."""
    size = np.abs(xyz)
    with np.errstate(invalid="ignore"):
        return float((~np.isfinite(size) | (size > _FAR) | ((size < _TINY) & (size > 0))).mean())


def _check_labels(dataset: ScanDataset, i: int, checked: CheckedScan) -> None:
    path, known = dataset.label_path(i), dataset.taxonomy.learning_map
    count = os.path.getsize(path) // dataset.LABEL_BYTES if dataset.POINT_BYTES else checked.points
    raw = dataset.read_raw_labels(i, count)
    checked.classes = _count(raw)
    if not checked.classes:
        return
    unknown = {id_: n for id_, n in checked.classes.items() if id_ not in known}
    void = all(known.get(id_) == IGNORE for id_ in checked.classes)
    # Of the right bytes the upper ones are small: a number of a few objects, or 0.
    smaller = raw.dtype.itemsize == 4 and raw.byteswap().sum(dtype=float) < raw.sum(dtype=float)
    if (unknown or void) and smaller:
        swapped = _count(raw.byteswap())
        if set(swapped) <= set(known) and any(known[id_] != IGNORE for id_ in swapped):
            words = "the labels make sense only as big-endian; write them as little-endian"
            checked.problems.append(Problem("wrong endianness", str(path), words, checked.id))
            return
    if unknown:
        listed = listed_ids(raw.astype(np.uint32), unknown)
        words = f"raw ids that are not in taxonomy {dataset.taxonomy.name!r}: {listed}"
        checked.problems.append(Problem("unknown id", str(path), words, checked.id))
    if void:
        words = f"none of its {len(raw)} labels belongs to a class"
        checked.problems.append(Problem("label only zeros", str(path), words, checked.id))


def _count(raw: NDArray) -> dict[int, int]:
    classes, _ = split_label(raw.astype(np.uint32))
    counts = np.bincount(classes)
    return {int(id_): int(counts[id_]) for id_ in np.flatnonzero(counts)}
