"""What training checks before it begins: file sizes, and the stored results of a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from annotator3d.data.checking import store
from annotator3d.data.checking.problems import Problem
from annotator3d.data.checking.scan import shape_doubt, size_problems, stamp
from annotator3d.data.datasets.base import ScanDataset

_SHOWN = 3
_OPENED = 20  # scans, of as many sequences


def vet(
    dataset: ScanDataset,
    key: str,
    quarantine: bool,
    say: Callable[[str], None] = lambda text: None,
    labelled: bool = False,
) -> None:
    """Refuse a dataset with errors, or leave out the scans that have them.

    Sizes are compared, a scan of each sequence is opened to see whether its points are of the
    expected shape (`shape_doubt`), and the stored results of `annotator3d check` count for
    files whose size and modification time are still the same.

    Args:
        key: the config key of the dataset, for messages.
        quarantine: leave out scans with errors (`ScanDataset.leave_out`).
        labelled: a missing label is an error.

    Raises:
        ValueError: there are errors and `quarantine` is False, or no scan would be left.
    """
    stored, changed = store.load(dataset), 0
    found: dict[str, Problem] = {}
    opened = _first_scans(dataset.ids)
    for i, scan_id in enumerate(dataset.ids):
        now = stamp(dataset, i)
        errors = size_problems(dataset, i, now, labelled)
        if i in opened and not errors and (words := shape_doubt(dataset, i)) is not None:
            errors.append(Problem("wrong columns", str(dataset.path(i)), words, scan_id))
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
            f"run `annotator3d check {dataset.root}` to check them again"
        )
    if found:
        _act(dataset, key, found, quarantine, say)


def _first_scans(ids: Sequence[str]) -> set[int]:
    """Positions of the first scan of each sequence."""
    first: dict[str, int] = {}
    for i, scan_id in enumerate(ids):
        first.setdefault(scan_id.split("/")[0], i)
    return set(list(first.values())[:_OPENED])


def _act(
    dataset: ScanDataset,
    key: str,
    found: dict[str, Problem],
    quarantine: bool,
    say: Callable[[str], None],
) -> None:
    of = f"{key}: {len(found)} of {len(dataset)} scans have errors"
    # A long message loses its middle (`errors.shortened`). What to do about the file stands at its
    # end therefore, and the root is named once.
    first, *others = list(found.values())[:_SHOWN]
    shown = [first, *(problem.within(dataset.root) for problem in others)]
    listed = "; ".join(str(problem) for problem in shown)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    if not quarantine:
        raise ValueError(
            f"{of}; repair them (`annotator3d check` lists all), or leave them out with --set "
            f"data.quarantine=true: {listed}{more}"
        )
    if len(found) == len(dataset):
        raise ValueError(f"{of}, so none would be left: {listed}{more}. Repair them")
    dataset.leave_out({scan_id: str(problem) for scan_id, problem in found.items()})
    say(f"{of} and are left out: {listed}{more}")
