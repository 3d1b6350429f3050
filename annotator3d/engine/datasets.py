"""The datasets of a run: what is trained on, asked about and evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator3d.active.oracle import needs_truth
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.moved import MovedScans, find_moved, keep_known
from annotator3d.data.datasets.sequences import SequenceDataset
from annotator3d.engine.build import build_dataset
from annotator3d.engine.config.schema import RunConfig
from annotator3d.ledger.records import ScanRecord
from annotator3d.registry import DATASETS, lookup
from annotator3d.reporter import Reporter


@dataclass
class Datasets:
    """What a setting trains on; `pool` may be asked about."""

    val: object | None
    pool: object | None
    source: object | None

    @property
    def taxonomy(self):
        return (self.pool if self.val is None else self.val).taxonomy

    def named(self) -> dict:
        """The datasets of the run: ``val``, ``pool``, ``source``."""
        return {name: dataset for name, dataset in vars(self).items() if dataset is not None}


def open_datasets(
    config: RunConfig,
    data_root: str | None,
    reporter: Reporter,
    known: Sequence[ScanRecord] = (),
) -> Datasets:
    """Open what `config.setting` needs; `known` scans of the pool keep the ids that they had.

    Raises:
        ValueError: a dataset is missing, or two of them have different classes.
    """
    asked = config.is_active and not needs_truth(config.active.oracle_name)
    opened = {}
    if config.data.val is not None or not asked:
        opened["val"] = open_dataset(config, "val", data_root, reporter)
    if config.setting != "source_only":
        opened["train"] = open_dataset(config, "train", data_root, reporter, not asked, known)
    if config.setting in ("source_only", "ada"):
        opened["source"] = open_dataset(config, "source", None, reporter)
    first, *others = opened
    names = opened[first].taxonomy.names
    for name in others:
        if opened[name].taxonomy.names != names:
            raise ValueError(
                f"data.{name} has other classes than data.{first}: "
                f"{opened[name].taxonomy.names} against {names}"
            )
    return Datasets(opened.get("val"), opened.get("train"), opened.get("source"))


def open_dataset(
    config: RunConfig,
    name: str,
    data_root: str | None,
    reporter: Reporter,
    needs_labels: bool = True,
    known: Sequence[ScanRecord] = (),
):
    """Open ``data.NAME`` and look at its files (`data.checking.gate`).

    Args:
        known: scans of the ledger. One whose file has been moved keeps its id (`MovedScans`).

    Raises:
        ValueError, FileNotFoundError: it is not there, or has errors and ``data.quarantine`` is
            false.
    """
    key, quarantine = f"data.{name}", config.data.quarantine
    values = getattr(config.data, name)
    if values is not None and (quarantine or not needs_labels):
        values = {"labels": "optional", **values}  # who quarantines wants no error for one scan
    dataset, moved = open_with_moved(values, key, data_root, reporter, known)
    if not dataset.makes_itself:
        vet(dataset, key, quarantine, reporter.info, needs_labels)
    return MovedScans(dataset, moved) if moved else dataset


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
