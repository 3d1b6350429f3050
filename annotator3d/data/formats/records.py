"""Of what shape the records of a headerless file are: nothing in it says so, its numbers do.

A file of five float32 a point can often be read as four: the result is garbage. The number of
columns is judged by the period of the numbers (`periods`) and by the sizes of the coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.formats.periods import classes, told, told_by_period

_MOST = 18  # columns of a point that are tried
_WINDOWS, _WINDOW = 4, 10_000  # numbers of a file that are looked at
_GAIN = 0.25  # bits that another period must tell more: real scans, right and wrong, differ by 0.5
_FAR, _TINY = 1e8, 1e-18  # sizes of coordinates in any unit, except zero; cos(90 degrees) is 6e-17
_BARELY = 1e-6
_LARGEST = float(np.finfo(np.float32).max)  # some sensors' mark for "no return"


@dataclass(frozen=True)
class Layout:
    """Records of `columns` numbers of one type."""

    columns: int
    dtype: str = "<f4"
    fourth: str = "intensity"  # what the fourth column looks like

    @property
    def size(self) -> int:
        """Bytes of a record."""
        return self.columns * np.dtype(self.dtype).itemsize

    def names(self) -> str:
        """Names of the columns as ``--columns`` takes them."""
        plain = ["x", "y", "z", self.fourth, *["_"] * _MOST][: self.columns]
        kind = {"<f4": "", "<f8": ":f8", ">f4": ":>f4", ">f8": ":>f8"}[self.dtype]
        return ",".join(name + kind for name in plain)


@dataclass(frozen=True)
class Doubt:
    """Why the records are not what they are taken for."""

    reason: str
    fits: Layout | None  # what they seem to be

    def words(self, size: int) -> str:
        """The reason and the columns that fit a file of `size` bytes."""
        if self.fits is None:
            return self.reason
        points = size // self.fits.size
        return f"{self.reason}; --columns {self.fits.names()} fits ({points:,} points)"


def doubt(
    data: NDArray[np.uint8],
    columns: int,
    axes: Sequence[int] = (0, 1, 2),
    fourth_is_intensity: bool = True,
) -> Doubt | None:
    """Whether the bytes of a file [size] are implausible as points of `columns` float32.

    Args:
        columns: how many numbers a point has.
        axes: which of them are x, y and z.

    Returns None if they are plausible, or too few to tell.
    """
    if len(data) < 4 * columns or len(data) % (4 * columns):
        return None
    if found := _other_type(data, columns):
        return Doubt(
            f"its numbers make no sense as float32, but do as {_TYPES[found.dtype]}", found
        )
    values, places = _sample(data, "<f4")
    if _absurd(values[np.isin(places % columns, axes)]) > 0.2:
        fits = best(data)
        fits = fits if fits is not None and fits.columns != columns else None
        return Doubt(f"its numbers are no coordinates as {columns} float32 a point", fits)
    periods = _periods(len(data))
    bits = told_by_period(values, places, periods)
    if (better := _better(values, places, bits, columns)) is not None:
        reason = f"its numbers repeat after every {better}, not after every {columns}"
        return Doubt(reason, _layout(values, places, better))
    if columns > 3 and fourth_is_intensity:
        return _fourth(values, places, bits, columns)
    return None


def best(data: NDArray[np.uint8]) -> Layout | None:
    """The layout that the numbers of a file speak for; None if they do not say."""
    if found := _other_type(data, 0):
        return found
    values, places = _sample(data, "<f4")
    period = _smallest(told_by_period(values, places, _periods(len(data))))
    if period is None or _absurd(_axes(values, places, period)) > 0.2 or _absurd(values) > 0.3:
        return None
    return _layout(values, places, period)


_TYPES = {"<f8": "float64", ">f4": "big-endian float32", ">f8": "big-endian float64"}


def _other_type(data: NDArray[np.uint8], columns: int) -> Layout | None:
    """Float64 or another byte order, where that alone makes sense."""
    values, places = _sample(data, "<f4")
    for kind in ("<f8", ">f8"):
        wide, where = _sample(data, kind)
        if len(data) % 8 or len(wide) < 12:
            continue
        period = _smallest(told_by_period(wide, where, _periods(len(data), 8)))
        period = period or next((c for c in (3, 4) if len(data) % (8 * c) == 0), None)
        if period is not None and _is_measured(_axes(wide, where, period)):
            return _layout(wide, where, period, kind)
    columns = columns or 4
    swapped, _ = _sample(data, ">f4")
    if (
        _absurd(_axes(values, places, columns)) > 0.5
        and _absurd(_axes(swapped, places, columns)) < 0.05
    ):
        period = _smallest(told_by_period(swapped, places, _periods(len(data)))) or columns
        return _layout(swapped, places, period, ">f4")
    return None


def _better(
    values: NDArray, places: NDArray[np.int64], bits: dict[int, float], columns: int
) -> int | None:
    """A period that explains the numbers better than `columns`."""
    now = bits.get(columns, 0.0)
    for period in sorted(bits):  # two points in one record
        if columns % period == 0 and period < columns and bits[period] >= max(now - 0.05, 0.2):
            return period
    others = {p: b for p, b in bits.items() if b > now + _GAIN}
    # A multiple also gains where near and far beams take turns.
    others = {p: b for p, b in others.items() if p % columns or _mixes(values, places, columns, p)}
    return _smallest(others)


def _mixes(values: NDArray, places: NDArray[np.int64], columns: int, period: int) -> bool:
    """Whether the columns hold different things in turn, and not near and far points.

    Near and far points differ in the size of x and y, hardly in their signs or in the intensity.
    """
    holds = (values != 0) & np.isfinite(values) & (places % columns < 3)
    points = np.isin(places // columns, np.unique(places[holds] // columns))
    values, places = values[points], places[points]  # beams without a return may take turns, too
    sizes, signs = [], []
    for column in range(min(columns, 4)):
        rows = places % columns == column
        kinds, turns = classes(values[rows]), places[rows] % period // columns
        sizes.append(told(kinds, turns))
        signs.append(told(kinds // 32 + 4 * (values[rows] == 0), turns))
    by_size = min(sizes[:2])
    fourth = sizes[3] if columns > 3 else 0.0
    by_sign = max(signs[:2]) if period == 2 * columns else 0.0
    return by_sign > 0.2 or by_size > 0.75 or (by_size > _GAIN and fourth > 0.45)


def _fourth(
    values: NDArray, places: NDArray[np.int64], bits: dict[int, float], columns: int
) -> Doubt | None:
    """Doubts of a fourth column that should be intensities."""
    fourth = values[places % columns == 3]
    if len(fourth) >= 20 and _absurd(fourth, 1e30, 1e-30) > 0.5:
        fits = Layout(columns, fourth="_")
        return Doubt("its fourth column holds no float32 (packed colors or whole numbers?)", fits)
    negative = float((fourth < 0).mean()) if len(fourth) else 0.0
    if len(values) >= 60 and 3 in bits and negative > 0.2 and bits[columns] - bits[3] < 0.05:
        reason = f"{negative:.0%} of its intensities are negative and look like coordinates"
        return Doubt(reason, Layout(3))
    return None


def _smallest(bits: dict[int, float]) -> int | None:
    """The smallest period, of at least three numbers, that tells about as much as any."""
    bits = {period: told for period, told in bits.items() if period >= 3}
    most = max(bits.values(), default=0.0)
    if most == 0.0:
        return None
    return min(period for period, told in bits.items() if told >= 0.9 * most)


def _periods(size: int, width: int = 4) -> list[int]:
    return [columns for columns in range(3, _MOST + 1) if size % (width * columns) == 0]


def _layout(values: NDArray, places: NDArray[np.int64], columns: int, dtype: str = "<f4") -> Layout:
    fourth = values[places % columns == 3] if columns > 3 else values[:0]
    fourth = fourth[np.isfinite(fourth)]
    usual = len(fourth) == 0 or ((fourth >= 0).mean() > 0.95 and _absurd(fourth) < 0.05)
    return Layout(columns, dtype, "intensity" if usual else "_")


def _sample(data: NDArray[np.uint8], dtype: str) -> tuple[NDArray, NDArray[np.int64]]:
    """Numbers from a few places of a file and the position of each, in numbers from its start."""
    width = np.dtype(dtype).itemsize
    count = len(data) // width
    values = data[: count * width].view(dtype)
    if count <= _WINDOWS * _WINDOW:
        return values, np.arange(count)
    starts = np.linspace(0, count - _WINDOW, _WINDOWS).astype(np.int64)
    places = np.concatenate([np.arange(start, start + _WINDOW) for start in starts])
    return values[places], places


def _wide(values: NDArray) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # signalling NaN
        return values.astype(np.float64)


def _axes(values: NDArray, places: NDArray[np.int64], columns: int) -> NDArray:
    """Those of the numbers that are x, y or z."""
    return values[places % columns < 3]


def _absurd(values: NDArray, far: float = _FAR, tiny: float = _TINY) -> float:
    """Share of numbers that nothing would measure; NaN, Inf and the largest one mark no return."""
    size = np.abs(_wide(values))
    size = size[np.isfinite(size) & (size != _LARGEST)]
    return float(((size > far) | ((size > 0) & (size < tiny))).mean()) if len(size) else 0.0


def _is_measured(values: NDArray) -> bool:
    """Whether these float64 are coordinates: float32 that are read as such hardly ever are."""
    size = np.abs(values[np.isfinite(values)])
    if len(size) < 12 or np.isfinite(values).mean() < 0.2 or not size.any():
        return False
    return bool(((size > _FAR) | ((size > 0) & (size < _BARELY))).mean() < 0.005)
