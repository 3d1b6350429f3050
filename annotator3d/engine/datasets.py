"""The datasets of a run: what is trained on, asked about and evaluated on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from annotator3d.active.oracle import needs_truth
from annotator3d.data.checking.gate import vet
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.moved import MovedScans
from annotator3d.data.taxonomy import Taxonomy
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.moved_scans import open_with_moved
from annotator3d.engine.teaching.classes import taught_classes
from annotator3d.engine.teaching.posed_scans import PosedScans
from annotator3d.errors import ConfigError, count
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
        return next(iter(self.named().values())).taxonomy

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
    if config.setting != "source_only":
        try:
            opened["train"] = open_dataset(config, "train", data_root, reporter, not asked, known)
        except (FileNotFoundError, ValueError) as error:
            if not asked and not isinstance(error, ConfigError):
                _refuse_unlabelled(config, data_root, known)
            raise
    if config.data.val is None:
        reporter.info("data.val is null: nothing is evaluated")
    else:
        opened["val"] = _open_val(config, data_root, reporter)
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
    if config.is_active:
        _check_teaching(config, opened["train"], reporter)
    return Datasets(opened.get("val"), opened.get("train"), opened.get("source"))


def _check_teaching(config: RunConfig, pool: ScanDataset, reporter: Reporter) -> None:
    """Refuse to let scans teach each other where nobody knows where these were taken, or what
    moves; say how many scans have no part in it."""
    training = config.training
    for reach, lever, what in (
        (training.propagate, "training.propagate", "answers about"),
        (training.agreement, "training.agreement", "predictions of"),
    ):
        if reach is None:
            continue
        taught_classes(pool.taxonomy, reach.classes, lever)
        if without := PosedScans(pool, reach.scans, reach.metres, lever).without_pose:
            reporter.info(
                f"{lever}: {count(without, 'scan')} of {len(pool):,} without a pose: "
                f"{what} them teach no other scan, and none teaches them"
            )


def _refuse_unlabelled(
    config: RunConfig, data_root: str | None, known: Sequence[ScanRecord]
) -> None:
    """Raise ConfigError with all that is to be changed, if no scan of ``data.train`` has labels."""
    values = {**config.data.train, "labels": "optional"}
    try:
        found, _ = open_with_moved(values, "data.train", data_root, Reporter(), known)
    except (OSError, ValueError):
        return  # the error that came first says what is wrong
    if not len(found) or any(found.label_path(i).is_file() for i in range(len(found))):
        return
    where = f"data.train: none of the {len(found):,} scans in {found.root} has labels"
    if not config.is_active:
        raise ConfigError(f"{where}, and {config.setting} trains on all of them")
    options = "--set active.oracle=person"
    try:
        if config.data.val is not None:
            open_dataset(config, "val", data_root, Reporter())
    except (OSError, ValueError):
        options += " --set data.val=null"
    raise ConfigError(
        f"{where}, from which the oracle {config.active.oracle_name!r} answers; let a person "
        f"answer: {options}"
    )


def _open_val(config: RunConfig, data_root: str | None, reporter: Reporter) -> ScanDataset:
    try:
        return open_dataset(config, "val", data_root, reporter)
    except FileNotFoundError as error:
        if "no label file" not in str(error):
            raise
        words = str(error).partition("; where a person")[0]
        way = "to train without evaluating: --set data.val=null"
        raise FileNotFoundError(f"{words}; {way}") from error


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Put the key of a dataset before a message that does not name it: a run has up to three."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        if key in str(error):
            raise
        kinds = (ConfigError, ValueError, FileNotFoundError)  # ConfigError is a ValueError, too
        kind = next(kind for kind in kinds if isinstance(error, kind))
        raise kind(f"{key}: {error}") from error


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
    with _naming(key):
        dataset, moved = open_with_moved(values, key, data_root, reporter, known)
    if not dataset.makes_itself:
        vet(dataset, key, quarantine, reporter.info, needs_labels)
    return MovedScans(dataset, moved) if moved else dataset
