"""What a run writes about itself into its folder: config, run.json and metrics."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.files import atomic_write
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.engine.config.load import dump_config, keep_trust, make_plain_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.continuation import Change
from annotator3d.engine.metrics import describe
from annotator3d.engine.provenance import git_hash, versions
from annotator3d.engine.workdir import WorkDir, read_record
from annotator3d.errors import count
from annotator3d.ledger.effort import round_costs
from annotator3d.ledger.ledger import Ledger
from annotator3d.models.sparse_library import convolution_library
from annotator3d.registry import BACKBONES, lookup

_NOTES = {"adaptation"}  # keys of `RunRecord.note`


class RunRecord:
    """The record of one run.

    Args:
        config: the effective config.
        classes: class names, in the order of the train ids.
    """

    def __init__(self, work_dir: WorkDir, config: RunConfig, classes: list[str]) -> None:
        self.work_dir, self.config, self.classes = work_dir, config, classes
        self._began = time.monotonic()

    def is_done(self) -> bool:
        """Whether the folder holds the finished run of this very config."""
        path = self.work_dir.config_path
        if not path.is_file() or self.work_dir.run_info().get("state") != "done":
            return False
        try:  # values, not text: a version before may have written them in another way
            return make_plain_config(read_yaml(path)) == self.config
        except ValueError:
            return False

    def check_shared(self) -> None:
        """Raise ValueError if this process does not see the folder that `start` wrote to."""
        path = self.work_dir.run_info_path
        for _ in range(30):  # a network disk may show a new file late
            if path.exists():
                return
            time.sleep(1)
        raise ValueError(
            f"{socket.gethostname()} does not see {path}, which the first process has "
            "written; put --work-dir on a disk that all machines of the run share"
        )

    def start(
        self,
        model,
        datasets: dict[str, ScanDataset],
        device,
        processes: int = 1,
        changes: Sequence[Change] = (),
        trained: int = 0,
    ) -> None:
        """Write the effective config and run.json.

        Args:
            datasets: by their names in run.json: ``pool``, ``val``, ``source``.
            changes: what the config has otherwise than the run was started with, after `trained`
                epochs.

        Raises:
            ValueError: the scans are not those that the run was started with.
        """
        before = self.work_dir.run_info()
        data = {name: _describe_data(dataset) for name, dataset in datasets.items()}
        _refuse_changed_data(before.get("data", {}), data)
        self._write(
            {
                **self._describe_run(model),
                "minutes": before.get("minutes", 0.0),
                "device": str(device),
                "processes": processes,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "data": data,
                "versions": versions(),
                "convolution": _convolution(device),
                "git": git_hash(),
                "config": dataclasses.asdict(self.config),
                "changes": [
                    *before.get("changes", []),
                    *({"epoch": trained, **dataclasses.asdict(change)} for change in changes),
                ],
                **{key: before[key] for key in _NOTES & before.keys()},
            }
        )
        for name, dataset in datasets.items():
            if dataset.drawn:
                lines = [f"# {dataset.drawn}", *dataset.ids]
                with atomic_write(self.work_dir.path / f"{name}_scans.txt") as file:
                    file.write("\n".join([*lines, ""]).encode())
        with atomic_write(self.work_dir.config_path) as file:
            file.write(dump_config(self.config).encode())
        keep_trust(self.work_dir.config_path, self.config)

    def _describe_run(self, model) -> dict:
        config = self.config
        return {
            "name": config.name or config.setting,
            "setting": config.setting,
            "strategy": config.active.strategy_name if config.is_active else None,
            "seed": config.seed,
            "classes": self.classes,
            "state": "running",
            "epochs": config.schedule.epochs,
            "network": {
                **config.model.backbone,
                "parameters": sum(p.numel() for p in model.parameters()),
                **_voxel_size(config),
            },
        }

    def update(self, ledger: Ledger | None, state: str = "running") -> None:
        """Bring run.json up to date: minutes so far, what was queried and what it cost."""
        now = time.monotonic()
        info = {**self.work_dir.run_info(), "state": state}
        info["minutes"] += (now - self._began) / 60
        self._began = now
        if ledger is not None:
            info["ledger"] = dataclasses.asdict(ledger.summary())
            info["rounds"] = [dataclasses.asdict(meter) for meter in round_costs(ledger)]
        self._write(info)

    def add_metrics(
        self, epoch: int, rounds: int, confusion: np.ndarray, ledger: Ledger | None
    ) -> dict:
        """Write one evaluation to the metrics, in the place of an earlier one of its epoch.

        Args:
            epoch: finished epochs. rounds: rounds whose answers the network was trained on.
            confusion: [C, C + 1] int64, see `metrics.confusion_matrix`.

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
            "answered": sum(r.answered for r in spent),
            "labelled_points": sum(r.labelled_points for r in spent),
            "void_queries": sum(r.void_voxels for r in spent),
            **describe(confusion, self.classes),
        }
        others = [
            {**other, "final": other["epoch"] == self.config.schedule.epochs}  # it may have grown
            for other in self._lines()
            if other["epoch"] != epoch
        ]
        with atomic_write(self.work_dir.metrics_path) as file:
            for each in [*others, line]:
                file.write((json.dumps(each, allow_nan=False) + "\n").encode())
        self.update(ledger)
        return line

    def note(self, key: str, values: dict) -> None:
        """Keep plain values under a key of run.json, also when the run is started again."""
        self._write({**self.work_dir.run_info(), key: values})

    def has_changed(self, keys: Collection[str]) -> bool:
        """Whether one of these keys had another value when earlier rounds were asked."""
        changes = self.work_dir.run_info().get("changes", [])
        return any(change["key"] in keys for change in changes)

    def final(self) -> dict:
        """The last evaluation."""
        return self._lines()[-1]

    def _lines(self) -> list[dict]:
        path = self.work_dir.metrics_path
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [read_record(line, f"{path}, line {i}") for i, line in enumerate(lines, start=1)]

    def _write(self, info: dict) -> None:
        with atomic_write(self.work_dir.run_info_path) as file:
            file.write(json.dumps(info, indent=1).encode())


def _voxel_size(config: RunConfig) -> dict:
    """Metres, for a network that reads cubes; the grid of another is among its keywords."""
    has_grid = hasattr(lookup(BACKBONES, config.model.backbone["type"]), "projection_for")
    return {} if has_grid else {"voxel_size": config.model.voxel_size}


def _convolution(device) -> str:
    """What convolves sparse tensors on this device, with its version."""
    if device.type != "cuda":
        return "annotator3d"
    try:
        return convolution_library()
    except RuntimeError:  # a network of dense convolutions needs none
        return "none"


def _describe_data(dataset: ScanDataset) -> dict:
    found = {
        "root": str(Path(dataset.root).absolute()),  # commands may come from other folders
        "scans": len(dataset),
        "fingerprint": dataset.fingerprint(),
    }
    if dataset.quarantined:
        found["quarantined"] = dict(dataset.quarantined)  # scan id -> why
    return found


def _refuse_changed_data(before: dict[str, dict], now: dict[str, dict]) -> None:
    for name in before.keys() & now.keys():
        old, new = before[name], now[name]
        if old["fingerprint"] == new["fingerprint"]:
            continue
        counts = f"{count(old['scans'], 'scan')} then, {new['scans']} now"
        same = "as many scans, but other ids or file sizes"
        raise ValueError(
            f"the {name} dataset in {new['root']} is not the one that this run was started "
            f"with in {old['root']}: {same if old['scans'] == new['scans'] else counts}; "
            "restore it, or choose another --work-dir"
        )
