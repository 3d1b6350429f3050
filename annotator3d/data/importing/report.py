"""The report at the end of an import: what was found, what was decided, what to do next."""

from __future__ import annotations

import shlex
from collections import Counter

from annotator3d.data.importing import intensities
from annotator3d.data.importing.dataset import Imported
from annotator3d.data.importing.scale import VOXEL
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.errors import count, shortened, some


def report(result: Imported, taxonomy: Taxonomy) -> list[str]:
    """Lines for the terminal; the last one is the next command."""
    return [*summary(result, taxonomy), f"next: {next_command(result)}"]


def summary(result: Imported, taxonomy: Taxonomy) -> list[str]:
    """What was imported, in lines for the terminal."""
    scans = result.scans
    names = sorted({scan.id.split("/")[0] for scan in scans})
    points = sum(scan.points for scan in scans)
    return [
        f"{count(len(scans), 'scan')}, {count(points, 'point')} in "
        f"{count(len(names), 'sequence')}: {some(names)}",
        *_labels(result, taxonomy),
        *intensities.report(scans, result.intensity_max),
        *_coordinates(result),
        *(f"note: {shortened(notice)}" for notice in result.notices),
        f"{count(len(result.split.train), 'scan')} for training, {result.split.words}",
    ]


def next_command(result: Imported) -> str:
    """The command that leads to the first queries."""
    command = f"annotator3d train al/own_data --data-root {shlex.quote(str(result.out))}"
    if not all(scan.classes is not None for scan in result.scans):
        command += " --set active.oracle=person"
        command += "" if result.split.val else " --set data.val=null"
    elif len(result.scans) == 1:
        return (
            "one scan cannot be both trained on and evaluated: import more scans, or train without "
            f"evaluating: {command} --set data.val=null"
        )
    elif not result.split.val:
        lists = result.out / "splits"
        return f"move ids of some scans from {lists}/train.txt to {lists}/val.txt, then {command}"
    return command


def _labels(result: Imported, taxonomy: Taxonomy) -> list[str]:
    labelled = [scan for scan in result.scans if scan.classes is not None]
    if not labelled:
        return ["no labels: a person has to answer"]
    places = Counter(scan.label for scan in labelled)
    counts = [0] * taxonomy.num_classes
    ignored = 0
    for scan in labelled:
        for raw, number in scan.classes.items():
            train = taxonomy.learning_map[raw]
            if train < taxonomy.num_classes:
                counts[train] += number
            else:
                ignored += number
    shares = some((f"{n} {c:,}" for n, c in zip(taxonomy.names, counts, strict=True)), 400)
    of = f"labels of {count(len(labelled), 'scan')} from {', '.join(map(repr, places))}"
    lines = [f"{of}: {shares}, ignored {count(ignored, 'point')}"]
    if void := sum(scan.void for scan in labelled):
        lines.append(f"{count(void, 'point')} without a class in the file: ignored")
    return lines


def _coordinates(result: Imported) -> list[str]:
    lines = []
    extents = [(scan.low, scan.high) for scan in result.scans if scan.low]
    if extents:
        low = [min(e[0][axis] for e in extents) for axis in range(3)]
        high = [max(e[1][axis] for e in extents) for axis in range(3)]
        spans = (f"{a} {p:.1f} to {q:.1f}" for a, p, q in zip("xyz", low, high, strict=True))
        lines.append(f"coordinates in metres: {', '.join(spans)}")
    lines += _scale(result)
    if shifted := [scan for scan in result.scans if scan.offset is not None]:
        first = shifted[0]
        offset = ", ".join(f"{value:.12g}" for value in first.offset)
        lines.append(
            f"{count(len(shifted), 'scan has', 'scans have')} coordinates too large for "
            "millimetres in float32, so an "
            f"offset was subtracted: ({offset}) from {first.source}; scans.csv lists all, and "
            "poses include them"
        )
    if result.posed:
        lines.append(f"poses of {count(len(result.posed), 'sequence')} in poses.txt")
    return lines


def _scale(result: Imported) -> list[str]:
    scales = [scan.scale for scan in result.scans if scan.scale.voxels]
    if not scales:
        return []
    share = sum(s.single for s in scales) / sum(s.voxels for s in scales)
    lone = f"{100 * share:.0f} % of the voxels of {VOXEL} m hold a single point"
    farthest, across = max(s.farthest for s in scales), max(s.across for s in scales)
    return [
        f"scale: {lone}, the farthest point is {farthest:,.1f} m from the origin, the widest scan "
        f"{across:,.1f} m across; if that is wrong, pass --unit"
    ]
