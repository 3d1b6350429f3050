"""What a run leaves in its work directory: config, run card, metrics, checkpoints."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np
import yaml

import annotator3d
from annotator3d.data.files import atomic_write, clear_parts
from annotator3d.engine.config.load import dump_config, make_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.metrics import describe
from annotator3d.errors import ConfigError
from annotator3d.ledger.effort import round_costs
from annotator3d.ledger.ledger import Ledger

# Keys that may change on the way: no result depends on them, or the data's digest is checked.
FREE = {
    "name",
    "device",
    "logs",
    "schedule.workers",
    "schedule.checkpoint_every",
    "schedule.keep_checkpoints",
    *(f"data.{name}.root" for name in ("train", "val", "source")),
}

_locks: set = set()  # files that this process holds locked


def _leave_locks() -> None:
    """In a fork: a process that reads scans may outlive its run a little, but not hold its lock."""
    for file in _locks:
        file.close()
    _locks.clear()


os.register_at_fork(after_in_child=_leave_locks)


class RunRecord:
    """Paths and files of one work directory.

    Args:
        folder: the work directory; made by `start`.
        config: the effective config.
        classes: class names, in the order of the train ids.
    """

    def __init__(self, folder: Path, config: RunConfig, classes: list[str]) -> None:
        self.folder, self.config, self.classes = Path(folder), config, classes
        self.checkpoints = self.folder / "checkpoints"
        self.rounds = self.folder / "rounds"
        self.metrics = self.folder / "metrics.jsonl"
        self.ledger = self.folder / "ledger.sqlite"
        self._run_info = self.folder / "run.json"
        self._began = time.monotonic()

    def check_start(self, resume: bool) -> None:
        """Refuse to mix two runs.

        Raises:
            ValueError: the folder holds a run and `resume` is False, or a run of another config.
        """
        path = self.folder / "config.yaml"
        held = [p for p in (path, self.ledger, self.checkpoints) if p.exists()]
        if held and not resume:
            raise ValueError(
                f"{self.folder} already holds a run ({held[0].name}); pass --resume to go on with "
                "it, or choose another --work-dir"
            )
        if path.exists():
            before = dataclasses.asdict(make_config(yaml.safe_load(path.read_text())))
            if changed := _differences(before, dataclasses.asdict(self.config)):
                raise ValueError(
                    f"{self.folder} holds a run of another config ({'; '.join(changed[:3])}); "
                    "resume with the config that it was started with, or choose another --work-dir"
                )

    def is_done(self) -> bool:
        """Whether the folder holds the finished run of this very config."""
        path = self.folder / "config.yaml"
        if not path.is_file() or self._read_run_info().get("state") != "done":
            return False
        try:  # values, not text: a version before may have written them in another way
            return make_config(yaml.safe_load(path.read_text())) == self.config
        except ConfigError:
            return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other processes out of it; a kill releases it.

        What killed processes had half written there is removed.

        Raises:
            ValueError: another process is working there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(
                    f"another process is working in {self.folder}; wait for it or stop it"
                ) from None
            _locks.add(file)
            clear_parts(self.folder)
            try:
                yield
            finally:
                _locks.discard(file)

    def check_shared(self) -> None:
        """Raise ValueError if this process does not see the folder that `start` wrote to."""
        for _ in range(30):  # a network disk may show a new file late
            if self._run_info.exists():
                return
            time.sleep(1)
        raise ValueError(
            f"{socket.gethostname()} does not see {self._run_info}, which the first process has "
            "written; put --work-dir on a disk that all machines of the run share"
        )

    def start(self, model, datasets: dict, device, processes: int = 1) -> None:
        """Write the effective config and the run card; `datasets` by name."""
        config, old = self.config, self._read_run_info()
        data = {
            name: {
                "root": str(Path(d.root).absolute()),  # commands may come from other folders
                "scans": len(d),
                "fingerprint": d.fingerprint(),
            }
            for name, d in datasets.items()
        }
        for name, dataset in datasets.items():
            if dataset.quarantined:
                data[name]["quarantined"] = dict(dataset.quarantined)  # scan id -> why
        for name, then in old.get("data", {}).items():
            if name in data and then["fingerprint"] != data[name]["fingerprint"]:
                now = data[name]
                counts = f"{then['scans']} scans then, {now['scans']} now"
                same = "as many scans, but other ids or file sizes"
                raise ValueError(
                    f"the {name} dataset in {now['root']} is not the one that this run was started "
                    f"with in {then['root']}: {same if then['scans'] == now['scans'] else counts}; "
                    "restore it, or choose another --work-dir"
                )
        card = {
            "name": config.name or config.setting,
            "setting": config.setting,
            "strategy": config.active.strategy if config.is_active else None,
            "seed": config.seed,
            "classes": self.classes,
            "state": "running",
            "epochs": config.schedule.epochs,
            "minutes": old.get("minutes", 0.0),
            "network": {
                **config.model.backbone,
                "parameters": sum(p.numel() for p in model.parameters()),
                "voxel_size": config.model.voxel_size,
            },
            "device": str(device),
            "processes": processes,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "data": data,
            "versions": versions(),
            "git": git_hash(),
            "config": dataclasses.asdict(config),
        }
        self._write_run_info(card)
        for name, dataset in datasets.items():
            if dataset.drawn:
                lines = [f"# {dataset.drawn}", *dataset.ids]
                with atomic_write(self.folder / f"{name}_scans.txt") as file:
                    file.write("\n".join([*lines, ""]).encode())
        with atomic_write(self.folder / "config.yaml") as file:
            file.write(dump_config(config).encode())

    def update(self, ledger: Ledger | None, state: str = "running") -> None:
        """Bring the run card up to date: minutes so far, what was asked and what it cost."""
        now = time.monotonic()
        card = {**self._read_run_info(), "state": state}
        card["minutes"] += (now - self._began) / 60
        self._began = now
        if ledger is not None:
            card["ledger"] = dataclasses.asdict(ledger.summary())
            card["rounds"] = [dataclasses.asdict(meter) for meter in round_costs(ledger)]
        self._write_run_info(card)

    def add_metrics(
        self, epoch: int, rounds: int, confusion: np.ndarray, ledger: Ledger | None
    ) -> dict:
        """Put one evaluation into metrics.jsonl, in the place of an earlier one of its epoch.

        Args:
            epoch: finished epochs. rounds: rounds whose answers the network was trained on.

        Returns:
            the line.
        """
        spent = round_costs(ledger)[:rounds] if ledger is not None else []
        line = {
            "epoch": epoch,
            "round": rounds,
            "final": epoch == self.config.schedule.epochs,
            "voxels": sum(r.voxels for r in spent),
            "points": sum(r.points for r in spent),
            "labelled_points": sum(r.labelled_points for r in spent),
            "void_queries": sum(r.void_voxels for r in spent),
            **describe(confusion, self.classes),
        }
        others = [other for other in self._lines() if other["epoch"] != epoch]
        with atomic_write(self.metrics) as file:
            for each in [*others, line]:
                file.write((json.dumps(each) + "\n").encode())
        self.update(ledger)
        return line

    def final(self) -> dict:
        """The last evaluation."""
        return self._lines()[-1]

    def _lines(self) -> list[dict]:
        text = self.metrics.read_text() if self.metrics.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def _read_run_info(self) -> dict:
        return json.loads(self._run_info.read_text()) if self._run_info.exists() else {}

    def _write_run_info(self, card: dict) -> None:
        with atomic_write(self._run_info) as file:
            file.write(json.dumps(card, indent=1).encode())


def _differences(before: dict, now: dict, where: str = "") -> list[str]:
    """Keys whose values differ, in words. Checkpoints are compared by the file they name."""
    found = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if where + key in FREE:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{where}{key}.")
        elif where + key == "init" and old and new:
            found += (
                [] if Path(old).resolve() == Path(new).resolve() else [f"init: {old}, now {new}"]
            )
        elif old != new:
            found.append(f"{where}{key}: {old}, now {new}")
    return found


def versions() -> dict[str, str]:
    """Versions of what a result depends on; 'missing' for what is not installed."""
    found = {"annotator3d": annotator3d.__version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "mmengine", "spconv-cu120", "spconv-cu126", "open3d"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def git_hash() -> str | None:
    """Commit of the checkout that this code runs from, with ``+`` if it was changed; else None."""
    folder = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--match", ""],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
