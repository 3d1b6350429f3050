"""The report of a check: numbers of the dataset and every problem, as text or for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from annotator3d.data.checking.dataset import Checked
from annotator3d.data.scan import IGNORE
from annotator3d.errors import count


def summarise(checks: Sequence[Checked]) -> dict:
    """Everything in plain types, for ``--json``."""
    scans = [scan for checked in checks for scan in checked.scans]
    problems = [problem for checked in checks for problem in checked.all_problems()]
    whole = [scan for scan in scans if scan.low]
    points = [scan.points for scan in scans] or [0]
    axes = ("x", "y", "z", "intensity")
    return {
        "ok": not problems,
        "datasets": [_dataset(checked) for checked in checks],
        "scans": len(scans),
        "labelled_scans": sum(scan.classes is not None for scan in scans),
        "points": sum(points),
        "points_per_scan": [min(points), int(np.median(points)), max(points)],
        "ranges": {
            name: [min(s.low[k] for s in whole), max(s.high[k] for s in whole)]
            for k, name in enumerate(axes)
            if whole
        },
        "farthest": max((scan.reach for scan in whole), default=0.0),
        "classes": _classes(checks),
        "raw_ids": dict(sorted(_raw_ids(checks).items())),
        "notices": list(dict.fromkeys(n for c in checks for n in c.dataset.notices)),
        "problems": [
            {
                "kind": p.kind,
                "severity": "error" if p.is_error else "warning",
                "scan": p.scan,
                "file": p.file,
                "words": p.words,
            }
            for p in problems
        ],
    }


def lines(summary: dict, shown: int) -> list[str]:
    """The summary for people; of each kind of problem `shown` files."""
    smallest, median, largest = summary["points_per_scan"]
    rows = [
        f"{count(summary['scans'], 'scan')}, {summary['labelled_scans']:,} with labels; "
        f"{count(summary['points'], 'point')}, {smallest:,} to {largest:,} a scan (median "
        f"{median:,})",
    ]
    if summary["ranges"]:
        ranges = (f"{n} {a:.4g} to {b:.4g}" for n, (a, b) in summary["ranges"].items())
        rows.append(f"{', '.join(ranges)}; farthest point {summary['farthest']:.1f} m")
    counted = sum(summary["classes"].values())
    for name, number in summary["classes"].items():
        rows.append(f"  {name:<20} {number:>15,}  {100 * number / max(counted, 1):5.1f} %")
    rows += [f"note of the import: {notice}" for notice in summary["notices"]]
    by_kind: dict[str, list[dict]] = {}
    for problem in summary["problems"]:
        by_kind.setdefault(problem["kind"], []).append(problem)
    for kind, found in by_kind.items():
        rows.append(f"{found[0]['severity']}: {kind}, {count(len(found), 'file')}")
        rows += [f"  {problem['file']}: {problem['words']}" for problem in found[:shown]]
        if len(found) > shown:
            rows.append(f"  and {len(found) - shown:,} more (--all or --json lists them)")
    return rows


def _dataset(checked: Checked) -> dict:
    dataset = checked.dataset
    return {
        "type": type(dataset).__name__,
        "root": str(dataset.root),
        "taxonomy": dataset.taxonomy.name,
        "sequences": len({scan.id.split("/")[0] for scan in checked.scans}),
        "scans": len(checked.scans),
    }


def _raw_ids(checks: Sequence[Checked]) -> Counter[int]:
    total: Counter[int] = Counter()
    for checked in checks:
        for scan in checked.scans:
            total.update(scan.classes or {})
    return total


def _classes(checks: Sequence[Checked]) -> dict[str, int]:
    """Points by class name, with what is ignored and what is unknown."""
    counts: Counter[str] = Counter()
    for checked in checks:
        taxonomy = checked.dataset.taxonomy
        counts.update(dict.fromkeys(taxonomy.names, 0))
        for scan in checked.scans:
            for raw, number in (scan.classes or {}).items():
                train = taxonomy.learning_map.get(raw)
                name = "(unknown)" if train is None else "(ignored)"
                if train is not None and train != IGNORE:
                    name = taxonomy.names[train]
                counts[name] += number
    return dict(counts)
