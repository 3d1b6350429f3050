"""Checking whole datasets: every scan in parallel, then problems that involve several scans."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from annotator3d.data.checking.problems import Problem
from annotator3d.data.checking.scan import CheckedScan, check_scan
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.listing import absent
from annotator3d.data.datasets.sequences import SequenceDataset


@dataclass(frozen=True)
class Checked:
    """The result for one dataset: each scan has its own problems, `problems` has the others."""

    dataset: ScanDataset
    scans: list[CheckedScan]
    problems: list[Problem]

    def all_problems(self) -> list[Problem]:
        """Errors first, by scan."""
        found = [p for scan in self.scans for p in scan.problems] + self.problems
        return sorted(found, key=lambda p: not p.is_error)


def check_dataset(
    dataset: ScanDataset,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Checked:
    """Read every file of a dataset and name everything that is wrong.

    A scan should have labels if another one of its sequence has them. Threads suffice: numpy and
    hashing release Python's global lock.

    Args:
        dataset: opened with ``labels='optional'``.
        workers: threads; None: as many as cores.
    """
    labelled = _labelled_sequences(dataset)
    scans: list[CheckedScan] = []
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        results = pool.map(
            lambda i: check_scan(dataset, i, dataset.ids[i].split("/")[0] in labelled),
            range(len(dataset)),
        )
        for scan in results:
            scans.append(scan)
            if progress:
                progress(len(scans), len(dataset))
    _add_duplicates(dataset, scans)
    return Checked(dataset, scans, [*_no_folders(dataset), *_orphans(dataset)])


def merge(checks: Sequence[Checked]) -> list[Checked]:
    """Results of several parts of one folder; what two of them found is kept once."""
    seen: set[object] = set()
    merged = []
    for checked in checks:
        scans = [s for s in checked.scans if (checked.dataset.root, s.id) not in seen]
        problems = [p for p in checked.problems if p not in seen]
        seen |= {(checked.dataset.root, s.id) for s in scans} | set(problems)
        merged.append(replace(checked, scans=scans, problems=problems))
    return merged


def _labelled_sequences(dataset: ScanDataset) -> set[str]:
    missing = set(absent(dataset.label_path(i) for i in range(len(dataset))))
    return {
        scan_id.split("/")[0]
        for i, scan_id in enumerate(dataset.ids)
        if dataset.label_path(i) not in missing
    }


def _add_duplicates(dataset: ScanDataset, scans: Sequence[CheckedScan]) -> None:
    first: dict[str, str] = {}
    for i, scan in enumerate(scans):
        if scan.points == 0:
            continue
        if (other := first.setdefault(scan.digest, scan.id)) != scan.id:
            words = f"the same bytes as scan {other}"
            scan.problems.append(Problem("duplicate scan", str(dataset.path(i)), words, scan.id))


def _no_folders(dataset: ScanDataset) -> Iterator[Problem]:
    """What has the name of a folder of scans or labels and is none: its sequence is left out."""
    if not isinstance(dataset, SequenceDataset):
        return
    for path in dataset.not_folders():
        yield Problem("unreadable", str(path), "it is not a folder, so its files are not read")


def _orphans(dataset: ScanDataset) -> Iterator[Problem]:
    """Label files without a scan, where both lie in folders of their own."""
    if not isinstance(dataset, SequenceDataset):
        return
    folders: dict[Path, Path] = defaultdict(Path)
    for i in range(len(dataset)):
        folders[dataset.label_path(i).parent] = dataset.path(i).parent
    for labels, points in sorted(folders.items()):
        if not labels.is_dir():
            continue
        frames = {Path(name).stem for name in os.listdir(points)}
        for name in sorted(os.listdir(labels)):
            if name.endswith(".label") and name[0] != "." and Path(name).stem not in frames:
                yield Problem("orphan label", str(labels / name), f"{points} has no such scan")
