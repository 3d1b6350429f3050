"""One measurement of bench_rounds.py, in one process or in each of several that torchrun started.

    python tools/bench_rounds_worker.py JSON

JSON is the text of a `Task`. Rank 0 writes to its `out` the seconds of each step and of the whole.
The product's own code runs, unchanged: functions are only wrapped with a stopwatch.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import torch
from mmengine.optim import OptimWrapper

from annotator3d.data.batch import TrainingScans
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine import prediction
from annotator3d.engine.build import build_model, input_rule, pick_device
from annotator3d.engine.config.load import make_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.distributed import World, joined
from annotator3d.engine.rounds import select_round as rounds
from annotator3d.engine.run import train
from annotator3d.engine.training.runner import TrainLoop
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.models.segmentor import Segmentor

CLASSES = 19
NETWORKS = {
    "published": {"backbone": {"type": "MinkUNet"}},
    "small": {
        "voxel_size": 0.3,
        "features": "mean",
        "backbone": {"type": "MinkUNet", "planes": [16, 16, 32, 32, 32, 16, 16], "blocks": 1},
    },
}


@dataclass(frozen=True)
class Task:
    """What is measured: `part` is round, train or ledger; `scans` are ids below `root`."""

    part: str
    network: str
    root: str
    scans: list[str]
    folder: str
    out: str
    threads: int
    batch: int = 1
    device: str = "cpu"
    ledger_scans: int = 19_130


class Stopwatch:
    """Seconds of named steps; a step that another one calls does not count in that one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            taken, inner = time.perf_counter() - start, self._inner.pop()
            self.seconds[name] += taken - inner
            if self._inner:
                self._inner[-1] += taken

    def on(self, stack: ExitStack, owner: object, attribute: str, name: str) -> None:
        """Measure a function or method as the step `name`, until the stack ends."""
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*args, **more):
            with self.measure(name):
                return function(*args, **more)

        stack.enter_context(patch.object(owner, attribute, timed))


def config_of(task: Task, epochs: int = 1) -> RunConfig:
    sequences = sorted({scan.split("/")[0] for scan in task.scans})
    data = {"type": "SemanticKITTI", "root": task.root, "sequences": sequences}
    first = {**data, "scans": task.scans[:1]}
    schedule = {
        "epochs": epochs,
        "batch_size": task.batch,
        "optimizer": {"type": "SGD", "lr": 1e-3},
    }
    if task.device == "cuda":
        schedule["precision"] = "fp16"
    return make_config(
        {
            "setting": "target_only",
            "device": task.device,
            "data": {"train": {**data, "scans": task.scans}, "val": first},
            "model": NETWORKS[task.network],
            "schedule": schedule,
        }
    )


def measure_round(task: Task, world: World) -> dict:
    """A round of vcd with one voxel a scan, twice; the second one counts."""
    config, watch = config_of(task), Stopwatch()
    sequences = sorted({scan.split("/")[0] for scan in task.scans})
    pool: ScanDataset = SemanticKITTI(task.root, sequences, scans=task.scans)
    torch.manual_seed(0)
    model = build_model(config, CLASSES).to(pick_device(config.device))
    rule, folder = input_rule(config, CLASSES), Path(task.folder)

    def score(scan):
        found = prediction.voxel_logits(model, scan, rule)
        if task.device == "cuda":
            torch.cuda.synchronize()
        return found

    def one_round(number: int) -> float:
        plan = rounds.RoundPlan(number, 0, "vcd", 0, f"weights {number}", CLASSES)
        start = time.perf_counter()
        with ExitStack() as opened:
            ledger = None
            if world.is_first:
                path, names = folder / "ledger.sqlite", pool.taxonomy.names
                size = config.active.voxel_size
                ledger = opened.enter_context(
                    Ledger.open(path, names, pool.taxonomy.digest(), size)
                )
            rounds.select_round(
                ledger, pool, plan, config.active, score, folder / "rounds", world=world
            )
        return time.perf_counter() - start

    one_round(1)
    with ExitStack() as stack:
        for owner, attribute, name in (
            (type(pool), "read", "read"),
            (prediction, "make_sample", "voxels of the network"),
            (prediction, "voxel_logits", "network"),
            (rounds, "select_in", "score and choose"),
            (rounds, "store_prediction", "write for the viewer"),
            (rounds, "fingerprint", "fingerprints"),
            (Ledger, "register_scans", "write to the ledger"),
            (Ledger, "add_round", "write to the ledger"),
        ):
            watch.on(stack, owner, attribute, name)
        seconds = one_round(2)
    return {"seconds": seconds, "scans": len(task.scans), "steps": dict(watch.seconds)}


def measure_training(task: Task) -> dict:
    """Two epochs as `annotator3d train` runs them; the second one counts, with its checkpoint."""
    watch, epochs = Stopwatch(), []
    run_epoch = TrainLoop.run_epoch

    def timed_epoch(loop: TrainLoop) -> None:
        watch.seconds.clear()
        start = time.perf_counter()
        run_epoch(loop)
        epochs.append((time.perf_counter() - start, dict(watch.seconds)))

    with ExitStack() as stack:
        stack.enter_context(patch.object(TrainLoop, "run_epoch", timed_epoch))
        watch.on(stack, SemanticKITTI, "read", "read")
        watch.on(stack, TrainingScans, "__getitem__", "augment, voxels of the network")
        watch.on(stack, Segmentor, "forward", "forward and loss")
        watch.on(stack, OptimWrapper, "update_params", "backward and update")
        train(config_of(task, epochs=2), task.folder)
    seconds, steps = epochs[1]
    return {"seconds": seconds, "scans": len(task.scans), "steps": steps}


def measure_ledger(task: Task) -> dict:
    """Writing a round of as many scans as SemanticKITTI has; measured, not extrapolated."""
    pool_size = task.ledger_scans
    ids = [f"{i // 4541:02d}/{i % 4541:06d}" for i in range(pool_size)]
    cells = {i: [SimpleNamespace(cell=(1, 2, 3), utility=1.0, num_points=9)] for i in ids}
    names = SemanticKITTI(task.root, [task.scans[0].split("/")[0]]).taxonomy
    with Ledger.open(
        Path(task.folder) / "large.sqlite", names.names, names.digest(), 0.25
    ) as ledger:
        start = time.perf_counter()
        ledger.register_scans(ScanRecord(id_, f"{i:064x}", 120_000) for i, id_ in enumerate(ids))
        ledger.add_round(1, "vcd", 0, 1, cells, epoch=0)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "scans": pool_size, "steps": {}}


def main(text: str) -> None:
    task = Task(**json.loads(text))
    torch.set_num_threads(task.threads)
    if task.part == "train":  # joins its processes itself
        found = measure_training(task)
    elif task.part == "ledger":
        found = measure_ledger(task)
    else:
        with joined(torch.device(task.device)) as world:
            found = measure_round(task, world)
    if os.environ.get("RANK", "0") == "0":
        Path(task.out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
