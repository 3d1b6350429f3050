"""Which intensity of an import becomes 1, by sequence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from annotator3d.data.importing.convert import Converted
from annotator3d.errors import ConfigError, count, nearest, some

SCALES = (1.0, 255.0, 4095.0, 65535.0)  # highest intensities of common sensors
_NEVER = 0.1  # of the scale: intensities that stay below probably have another one

Scales = float | Mapping[str, float]


def parse_scales(text: str) -> Scales:
    """``--intensity-max``: one number, or ``SEQUENCE=I,SEQUENCE=I``; ConfigError otherwise."""
    if "=" not in text:
        return _above_zero(text)
    pairs = [part.rpartition("=")[::2] for part in text.split(",")]
    names = [name.strip() for name, _ in pairs]
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(
            f"--intensity-max {text}: expected a number, or SEQUENCE=I,SEQUENCE=I with each "
            "sequence once"
        )
    return {name: _above_zero(value) for name, (_, value) in zip(names, pairs, strict=True)}


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-9 <= value <= 1e9:  # beyond them float32 cannot hold what is divided
        raise ConfigError(f"--intensity-max: expected numbers above 0, 1e-9 to 1e9, got {text!r}")
    return value


def check_names(given: Scales | None, sequences: Sequence[str]) -> None:
    """Raise ConfigError for a sequence in ``--intensity-max`` that is not there."""
    for name in given if isinstance(given, Mapping) else ():
        if name not in sequences:
            raise ConfigError(
                f"--intensity-max {name}: no such sequence; {nearest(name, sequences)}"
            )


def settle_scales(scans: Sequence[Converted], given: Scales | None) -> dict[str, float]:
    """Sequence -> the intensity that becomes 1: as given, else the smallest of `SCALES` that fits.

    Sensors count intensities differently, and a sequence is of one sensor.
    """
    if isinstance(given, (int, float)):
        return {name: float(given) for name in _spans(scans)}
    found = {}
    for name, (_, high) in _spans(scans).items():
        found[name] = next((scale for scale in SCALES if high <= scale), high)
    return {**found, **(given or {})}


def report(scans: Sequence[Converted], scales: Mapping[str, float]) -> list[str]:
    """Lines for the terminal: ranges and scales, of each group of sequences that share one."""
    field = scans[0].intensity
    if field is None:
        return ["no intensity: the network gets the constant 0 (--intensity-field selects a field)"]
    spans = _spans(scans)
    groups: dict[float, list[str]] = {}
    for name in spans:
        groups.setdefault(scales[name], []).append(name)
    told = []
    for scale, names in sorted(groups.items()):
        low, high = min(spans[n][0] for n in names), max(spans[n][1] for n in names)
        words = f"{low:g} to {high:g}, divided by {scale:g} when read"
        small = [name for name in names if 0 < spans[name][1] < _NEVER * scale]
        if small:
            of = f" in {some(small, 80)}" if len(spans) > 1 else ""
            words += f"; the result is very small{of}: change intensity.max in dataset.yaml if"
            words += " that is wrong"
        told.append(f"{words} ({some(names)})" if len(groups) > 1 else words)
    odd = _of_smaller_scales(scans, scales)
    if len(groups) == 1:
        return [f"intensity from {field!r}, {told[0]}", *odd]
    lines = [f"intensity from {field!r} has a scale for each sequence: {told[0]}", *told[1:]]
    lines[1:] = [f"  {line}" for line in lines[1:]]
    return [
        *lines,
        "  (--intensity-max I divides all by one number, SEQUENCE=I one sequence)",
        *odd,
    ]


def _of_smaller_scales(scans: Sequence[Converted], scales: Mapping[str, float]) -> list[str]:
    """A line on each sequence that has scans which fit a smaller scale than the others."""
    found: dict[str, list[Converted]] = {}
    for scan in scans:
        name = scan.id.split("/")[0]
        below = max((s for s in SCALES if s < scales[name]), default=0.0)
        if scan.span and 0 < scan.span[1] <= min(below, _NEVER * scales[name]):
            found.setdefault(name, []).append(scan)
    number = Counter(scan.id.split("/")[0] for scan in scans)
    return [
        f"  intensities of {count(len(odd), 'scan')} of {number[name]:,} of sequence {name} do not "
        f"exceed {max(scan.span[1] for scan in odd):g}, first {odd[0].source}: if they count "
        "otherwise than the rest, put them into a folder (a sequence) of their own"
        for name, odd in found.items()
        if len(odd) < number[name]
    ]


def _spans(scans: Sequence[Converted]) -> dict[str, tuple[float, float]]:
    """Sequence -> smallest and largest intensity of its scans; 0 where it has none."""
    found: dict[str, list[list[float]]] = {}
    for scan in scans:
        found.setdefault(scan.id.split("/")[0], []).append(scan.span or [0.0, 0.0])
    return {name: (min(s[0] for s in f), max(s[1] for s in f)) for name, f in found.items()}
