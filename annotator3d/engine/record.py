"""What a run leaves in its work directory: config, run card, metrics, checkpoints."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import annotator3d
from annotator3d.active.ledger import Ledger
from annotator3d.active.meters import meter_rounds
from annotator3d.data.files import atomic_write
from annotator3d.engine.build import (
    build_dataset,
    build_model,
    input_rule,
    load_weights,
    pick_device,
    read_weights,
)
from annotator3d.engine.config import RunConfig, dump_config
from annotator3d.engine.evaluation import describe
from annotator3d.engine.scoring import evaluate
from annotator3d.engine.screen import Screen


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
        self._card = self.folder / "run.json"
        self._began = time.monotonic()

    def check_start(self, resume: bool) -> None:
        """Refuse to mix two runs.

        Raises:
            ValueError: the folder holds a run and `resume` is False, or a run of another config.
        """
        path = self.folder / "config.yaml"
        held = [p for p in (path, self.folder / "ledger.sqlite", self.checkpoints) if p.exists()]
        if held and not resume:
            raise ValueError(
                f"{self.folder} already holds a run ({held[0].name}); pass --resume to go on with "
                "it, or choose another --work-dir"
            )
        if resume and path.exists() and path.read_text() != dump_config(self.config):
            before, now = path.read_text().splitlines(), dump_config(self.config).splitlines()
            changed = [b for b, n in zip(before, now, strict=False) if b != n]
            raise ValueError(
                f"{path} is of another config (first difference: {changed[:1]}); resume with the "
                "config that the run was started with, or choose another --work-dir"
            )

    def start(self, model, datasets: dict, device) -> None:
        """Write the effective config and the run card; `datasets` by name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / "config.yaml") as file:
            file.write(dump_config(self.config).encode())
        config = self.config
        card = {
            "name": config.name or config.setting,
            "setting": config.setting,
            "strategy": config.active.strategy if config.is_active else None,
            "seed": config.seed,
            "classes": self.classes,
            "state": "running",
            "epochs": config.schedule.epochs,
            "minutes": self._minutes_before(),
            "network": {
                **config.model.backbone,
                "parameters": sum(p.numel() for p in model.parameters()),
                "voxel_size": config.model.voxel_size,
            },
            "device": str(device),
            "data": {
                name: {"root": str(d.root), "scans": len(d), "fingerprint": d.fingerprint()}
                for name, d in datasets.items()
            },
            "versions": versions(),
            "git": git_hash(),
            "config": dataclasses.asdict(config),
        }
        self._write_card(card)

    def finish(self, ledger: Ledger | None) -> None:
        card = json.loads(self._card.read_text())
        card["state"] = "done"
        card["minutes"] += (time.monotonic() - self._began) / 60
        if ledger is not None:
            card["ledger"] = dataclasses.asdict(ledger.summary())
            card["rounds"] = [dataclasses.asdict(meter) for meter in meter_rounds(ledger)]
        self._write_card(card)

    def add_metrics(
        self, epoch: int, rounds: int, confusion: np.ndarray, ledger: Ledger | None
    ) -> dict:
        """Append one evaluation to metrics.jsonl.

        Args:
            epoch: finished epochs. rounds: rounds whose answers the network was trained on.

        Returns:
            what was appended.
        """
        spent = meter_rounds(ledger)[:rounds] if ledger is not None else []
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
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def final(self) -> dict:
        """The last evaluation."""
        return json.loads(self.metrics.read_text().splitlines()[-1])

    def _minutes_before(self) -> float:
        return json.loads(self._card.read_text())["minutes"] if self._card.exists() else 0.0

    def _write_card(self, card: dict) -> None:
        with atomic_write(self._card) as file:
            file.write(json.dumps(card, indent=1).encode())


def evaluate_into(folder: Path, config: RunConfig, checkpoint: Path, screen: Screen) -> None:
    """Leave the evaluation of a checkpoint in `folder` as that of a run, unless it is there.

    For a network that is tested on more than one split, such as source-only on each fold.
    """
    dataset = build_dataset(config.data.val, "data.val", progress=screen.progress)
    record = RunRecord(folder, config, dataset.taxonomy.names)
    if record.metrics.exists():
        return
    model = build_model(config, dataset.taxonomy.num_classes)
    load_weights(model, read_weights(checkpoint), checkpoint)
    model.to(pick_device(config.device))
    record.start(model, {"val": dataset}, next(model.parameters()).device)
    rule = input_rule(config, dataset.taxonomy.num_classes)
    confusion = evaluate(
        model, dataset, rule, lambda done, total: screen.progress("evaluating", done, total)
    )
    record.add_metrics(config.schedule.epochs, 0, confusion, None)
    record.finish(None)


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
