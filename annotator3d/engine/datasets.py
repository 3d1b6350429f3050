"""The datasets of a run: what is trained on, asked about and evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator3d.active.oracles import needs_truth
from annotator3d.active.records import ScanRecord
from annotator3d.data.checking.gate import vet
from annotator3d.data.moved import MovedScans
from annotator3d.engine.config import RunConfig
from annotator3d.engine.moved import open_with_moved
from annotator3d.engine.screen import Screen


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
        """Those that there are: ``val``, ``pool``, ``source``."""
        return {name: dataset for name, dataset in vars(self).items() if dataset is not None}


def open_datasets(
    config: RunConfig,
    data_root: str | None,
    screen: Screen,
    known: Sequence[ScanRecord] = (),
) -> Datasets:
    """Open what `config.setting` needs; `known` scans of the pool keep the ids that they had.

    Raises:
        ValueError: a dataset is missing, or two of them have different classes.
    """
    asked = config.is_active and not needs_truth(config.active.oracle_name)
    opened = {}
    if config.data.val is not None or not asked:
        opened["val"] = open_dataset(config, "val", data_root, screen)
    if config.setting != "source_only":
        opened["train"] = open_dataset(config, "train", data_root, screen, not asked, known)
    if config.setting in ("source_only", "ada"):
        opened["source"] = open_dataset(config, "source", None, screen)
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
    screen: Screen,
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
    dataset, moved = open_with_moved(values, key, data_root, screen, known)
    if not dataset.makes_itself:
        vet(dataset, key, quarantine, screen.say, needs_labels)
    return MovedScans(dataset, moved) if moved else dataset
