"""What training looks at before it begins: sizes, and what a check has found."""

from __future__ import annotations

from collections.abc import Callable

from annotator3d.data.checking import store
from annotator3d.data.checking.problems import Problem
from annotator3d.data.checking.scan import size_problems, stamp
from annotator3d.data.datasets.base import ScanDataset

_SHOWN = 3


def vet(
    dataset: ScanDataset,
    key: str,
    quarantine: bool,
    say: Callable[[str], None] = lambda text: None,
    labelled: bool = False,
) -> None:
    """Refuse a dataset with errors, or leave these scans out.

    No file is opened: sizes are compared, and what `annotator3d check` has stored counts for files
    whose size and time are still the same.

    Args:
        key: what the config calls the dataset, for messages.
        quarantine: take scans with errors away (`ScanDataset.leave_out`).
        labelled: a missing label is an error.

    Raises:
        ValueError: there are errors and `quarantine` is False, or no scan would be left.
    """
    stored, changed = store.load(dataset), 0
    found: dict[str, Problem] = {}
    for i, scan_id in enumerate(dataset.ids):
        now = stamp(dataset, i)
        errors = size_problems(dataset, i, now, labelled)
        then, kept = stored.get(scan_id, ([], []))
        if then == now:
            errors += store.problems(dataset, kept, scan_id)
        changed += scan_id in stored and then != now
        for problem in errors:
            if problem.is_error and (labelled or problem.kind != "missing label"):
                found.setdefault(scan_id, problem)
    if changed:
        say(
            f"{key}: {changed} of {len(dataset)} scans have changed since they were checked; "
            f"`annotator3d check {dataset.root}` reads them again"
        )
    if found:
        _act(dataset, key, found, quarantine, say)


def _act(
    dataset: ScanDataset,
    key: str,
    found: dict[str, Problem],
    quarantine: bool,
    say: Callable[[str], None],
) -> None:
    of = f"{key}: {len(found)} of {len(dataset)} scans have errors"
    listed = "; ".join(str(problem) for problem in list(found.values())[:_SHOWN])
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if not quarantine:
        raise ValueError(
            f"{of}: {listed}{more}. Repair them (`annotator3d check {dataset.root}` lists all), or "
            "leave these scans out with --set data.quarantine=true"
        )
    if len(found) == len(dataset):
        raise ValueError(f"{of}, so that none is left: {listed}{more}")
    dataset.leave_out({scan_id: str(problem) for scan_id, problem in found.items()})
    say(f"{of} and are left out: {listed}{more}")
