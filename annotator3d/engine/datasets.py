"""The datasets of a run: what is trained on, asked about and evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator3d.active.oracle import needs_truth
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.moved import MovedScans
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.moved_scans import open_with_moved
from annotator3d.ledger.records import ScanRecord
from annotator3d.reporter import Reporter


@dataclass
class Datasets:
    """What a setting trains on; `pool` may be asked about."""

    val: ScanDataset | None
    pool: ScanDataset | None
    source: ScanDataset | None

    @property
    def taxonomy(self) -> Taxonomy:
        return (self.pool if self.val is None else self.val).taxonomy

    def named(self) -> dict[str, ScanDataset]:
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
) -> ScanDataset | MovedScans:
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
