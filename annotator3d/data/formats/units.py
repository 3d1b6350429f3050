"""Units of lengths: their names, and what a file may state about its coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNITS = {
    "m": 1.0,
    "cm": 0.01,
    "mm": 0.001,
    "km": 1000.0,
    "ft": 0.3048,
    "us-ft": 1200 / 3937,
}
"""Metres of each unit that has a name of its own on the command line."""
_NAMES = dict(zip(UNITS, ("metres", "centimetres", "millimetres", "kilometres"), strict=False))
_NAMES |= {"ft": "feet", "us-ft": "US survey feet"}


@dataclass(frozen=True)
class Stated:
    """What a file states about its coordinates.

    Attributes:
        system: the coordinate reference system, for messages.
        kind: 'metric': lengths along axes; 'geographic': angles on the earth; 'geocentric':
            lengths from the centre of the earth; 'contradictory': two units of the same axis;
            'unknown': a system that cannot be read; 'unread': one that only pyproj could read,
            which is not installed.
        horizontal, vertical: metres of one unit of x and y, and of z; None: not stated.
    """

    system: str
    kind: Literal["metric", "geographic", "geocentric", "contradictory", "unknown", "unread"]
    horizontal: float | None = None
    vertical: float | None = None


def unit_name(metres: float) -> str:
    """``feet`` for 0.3048; units without a name are given in metres."""
    for short, value in UNITS.items():
        if abs(metres / value - 1) < 1e-9:
            return _NAMES[short]
    return f"units of {metres:.10g} m"
