"""Open the data set of a config where its files may have been moved since they were queried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.moved import find_moved, keep_known
from annotator3d.data.datasets.sequences import SequenceDataset
from annotator3d.engine.build import build_dataset
from annotator3d.ledger.records import ScanRecord
from annotator3d.registry import DATASETS, lookup
from annotator3d.reporter import Reporter

_CHOICES = ("sequences", "split", "scans", "stride")  # keywords that say which scans
_SHOWN = 3


def open_with_moved(
    values: dict | None,
    key: str,
    data_root: str | None,
    reporter: Reporter,
    known: Sequence[ScanRecord],
) -> tuple[ScanDataset, dict[str, str]]:
    """The dataset of a config, and the ids that known scans have in it now, where they differ.

    Where the folders that the config names are gone, all that lie there are looked through.

    Raises as `build_dataset`, naming the option for scans that lie elsewhere, and ValueError naming
    scans that are nowhere.
    """
    wider = False
    try:
        dataset = build_dataset(values, key, data_root, reporter.progress)
    except FileNotFoundError as error:
        everything = _everything(values, data_root)
        if everything is None:
            way = f"--set {key}.root=DIR" if key == "data.source" else "--data-root DIR"
            words = f"{error}. If the scans lie elsewhere, name their folder with {way}"
            raise FileNotFoundError(words) from error
        if not known:
            raise
        dataset, wider = build_dataset(everything, key, data_root, reporter.progress), True
    moved = find_moved(dataset, known, reporter.progress)
    if wider:
        keep_known(dataset, known, moved)
    for then, now in sorted(moved.items())[:_SHOWN]:
        reporter.info(f"scan {then} is found as {now}, by its fingerprint")
    if len(moved) > _SHOWN:
        reporter.info(f"and {len(moved) - _SHOWN} more scans have other ids now")
    return dataset, moved


def _everything(values: Mapping, data_root: str | None) -> dict | None:
    """The config of all scans below a root; None where none are found in folders of sequences."""
    cls, root = lookup(DATASETS, values["type"]), data_root or values.get("root")
    if not issubclass(cls, SequenceDataset) or cls.makes_itself or root is None:
        return None
    for name in cls.FOLDERS:
        found = sorted(path.parent.name for path in (Path(root) / name).glob("*/velodyne"))
        if found:
            rest = {key: value for key, value in values.items() if key not in _CHOICES}
            return {**rest, "sequences": found}
    return None
