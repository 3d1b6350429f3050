"""The folder of a run: the names of its files, and how each of them is opened."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator3d.data.files import clear_parts, make_folder
from annotator3d.data.plain_json import parse_json
from annotator3d.errors import ConfigError
from annotator3d.ledger.database import holds_ledger
from annotator3d.ledger.schema import LEDGER_FILE
from annotator3d.system_errors import naming

if TYPE_CHECKING:
    from annotator3d.data.datasets.base import ScanDataset
    from annotator3d.engine.config.schema import RunConfig
    from annotator3d.ledger.ledger import Ledger
    from annotator3d.ledger.records import ScanRecord
    from annotator3d.reporter import Reporter

# Split of a config -> its name in run.json.
_NAMES = {"train": "pool", "val": "val", "source": "source"}

_locks: set = set()  # files that this process holds locked


def _release_locks() -> None:
    """In a fork: a process that reads scans may outlive its run, and must not keep its lock."""
    for file in _locks:
        file.close()
    _locks.clear()


os.register_at_fork(after_in_child=_release_locks)


def read_record(text: bytes, where: str) -> dict[str, Any]:
    """A JSON object that a run has written; ValueError with `where` for anything else."""
    try:
        record = parse_json(text.decode("utf-8"))
    except ValueError as error:  # of JSON, or of UTF-8
        raise ValueError(
            f"{where}: damaged, not valid JSON ({error}); put back a copy of the file"
        ) from None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: damaged, expected a JSON object; put back a copy of the file")
    return record


class WorkDirBusyError(ValueError):
    """Another process works in a work directory."""


class WorkDir(os.PathLike):
    """The folder of a run, which need not exist yet. Files are opened when they are asked for.

    Args:
        path: the folder, or another `WorkDir`.

    Raises ConfigError for an empty name.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not str(path):
            raise ConfigError("expected the name of a work directory, got an empty one")
        self.path = Path(path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def ledger_path(self) -> Path:
        return self.path / LEDGER_FILE

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def run_info_path(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        """JSON lines, one evaluation each."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def adaptation(self) -> Path:
        """What the training before round 1 leaves (`self_training`)."""
        return self.path / "adaptation"

    @property
    def rounds(self) -> Path:
        """Stored predictions of each round, in a folder named by its number."""
        return self.path / "rounds"

    @property
    def taught(self) -> Path:
        """What answers teach each scan; made again where it is missing."""
        return self.path / "taught"

    def teachings(self, round: int) -> Path:
        """What the answers up to a round have taught, in numbers."""
        return self.rounds / str(round) / "taught.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def has_ledger(self) -> bool:
        """Whether there is a ledger; a file that a killed start has left empty is none."""
        return holds_ledger(self.ledger_path)

    def ledger(self, write: bool = False) -> Ledger:
        """The ledger, open until it is closed; use it as a context manager.

        Raises:
            FileNotFoundError: there is none yet.
            ValueError: the file is no ledger, or cannot be written (see `Ledger`).
        """
        from annotator3d.ledger.ledger import Ledger  # late: numpy slows down a usage error

        path = self.ledger_path
        if not self.path.is_dir():
            raise FileNotFoundError(f"there is no ledger {path}, since there is no folder {self}")
        if not self.has_ledger():
            empty = " (the file is empty)" if path.is_file() else ""
            raise FileNotFoundError(
                f"there is no ledger {path}{empty}; `annotator3d train CONFIG --set "
                "active.oracle=person` or `annotator3d select` makes queries and writes it"
            )
        return Ledger.open_existing(path) if write else Ledger.read(path)

    def known_scans(self) -> list[ScanRecord]:
        """The scans in the ledger; none where there is no ledger."""
        if not self.has_ledger():
            return []
        with self.ledger() as ledger:
            return ledger.scans()

    def config(
        self, name: str | None = None, settings: Sequence[str] = (), *, network: bool = False
    ) -> RunConfig:
        """The config of the run, or another one by its file or name.

        Args:
            settings: ``key=value``, as ``--set`` takes them.
            network: a network is built from it, which may need Python code that it names.

        Raises:
            ConfigError: there is none, it is a program (`load_config`), or it names Python code
                that is needed and that nobody has said yes to.
        """
        from annotator3d.engine.config.load import find_config, load_config

        path = self.config_path if name is None else find_config(name)
        if not path.is_file():
            raise ConfigError(f"{self} holds no {path.name}; name the config with --config")
        return load_config(path, settings, python=False, network=network)

    def run_info(self) -> dict[str, Any]:
        """The content of ``run.json``; empty where no training wrote one."""
        path = self.run_info_path
        if not path.is_file():
            return {}
        return read_record(path.read_bytes(), str(path))

    def data_root(self, split: str) -> str | None:
        """Where the last start of the run read the scans of ``data.SPLIT``.

        None: no start has recorded it, or the dataset makes its own scans.
        """
        from annotator3d.registry import DATASETS, lookup

        info = self.run_info()
        values = info.get("config", {}).get("data", {}).get(split)
        if values is None or lookup(DATASETS, values["type"]).makes_itself:
            return None
        return info["data"].get(_NAMES[split], {}).get("root")

    def known_data_root(self, config: RunConfig) -> str | None:
        """Where the last start read the scans for which `config` names no root; None: unknown."""
        for split in ("train", "val"):
            values = getattr(config.data, split)
            if values is not None and "root" not in values and (last := self.data_root(split)):
                return last
        return None

    def moved_data_root(self, config: RunConfig) -> str | None:
        """The ``--data-root`` with which `config` finds the scans where the last start did.

        None: it finds them without the option.
        """
        for split in ("train", "val"):
            values, last = getattr(config.data, split), self.data_root(split)
            if values is None or last is None:
                continue
            if "root" not in values or Path(values["root"]).absolute() != Path(last):
                return last
        return None

    def pool(
        self, config: RunConfig, data_root: str | None, reporter: Reporter
    ) -> tuple[ScanDataset, dict[str, str]]:
        """The scans that may be queried, with labels or without.

        Returns:
            (dataset, id in the ledger -> id in the dataset, for scans that were moved since).

        Raises as `moved_scans.open_with_moved`. Files are not checked: a damaged scan does not stop
        work on the others.
        """
        from annotator3d.engine.moved_scans import open_with_moved

        values = config.data.train
        values = None if values is None else {**values, "labels": "optional"}
        return open_with_moved(values, "data.train", data_root, reporter, self.known_scans())

    @contextmanager
    def lock(self, name: str = ".lock") -> Iterator[None]:
        """Make the folder and keep other processes out of it; a kill releases the lock.

        Args:
            name: of the file that is locked; `jobs` has one of its own around a whole run.

        Half-written files of a killed process are removed.

        Raises:
            WorkDirBusyError: another process works there.
        """
        make_folder(self.path)
        with naming(self.path, "cannot be written to", self.path / name):
            lock = open(self.path / name, "w")  # noqa: SIM115 (closed below)
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise WorkDirBusyError(
                    f"another process is working in {self}; wait for it or stop it"
                ) from None
            _locks.add(file)
            clear_parts(self.path)
            try:
                yield
            finally:
                _locks.discard(file)
