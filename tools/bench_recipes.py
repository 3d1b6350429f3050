"""Time a training step with each recipe of `training` beside a plain one.

    python tools/bench_recipes.py [--config ada/streets_demo] [--set KEY=VALUE ...]
        [--recipe lasermix ...] [--rounds 5]

Each recipe is trained for some steps by `run.train`, as a user trains; a step is what passes
between two reports of progress, reading its scans included. Recipes take turns, round after round,
so that a busy machine slows all alike: read the ratios, of which the median over the rounds is
shown. On a CPU it is processor time, which other processes hardly change; with OMP_NUM_THREADS=1
and no loader workers it is the time that a step takes on an idle core. On CUDA it is wall time.
Asfda and ada start from random weights, on which no time depends.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from annotator3d.engine.build import build_model, pick_device
from annotator3d.engine.config.load import find_config, load_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.datasets import open_datasets
from annotator3d.engine.run import train
from annotator3d.reporter import Reporter

PLAIN = "plain"
RECIPES: dict[str, Mapping[str, object]] = {  # name -> keys over the config's
    "lasermix": {"training.mix": "lasermix"},
    "polarmix": {"training.mix": "polarmix"},
    "balanced": {"training.mix": "balanced"},
    "balanced, labelled only": {"training.mix": {"type": "balanced", "unlabelled": False}},
    "paste": {"training.mix": "paste"},
    "balance": {"training.balance.scans": 0.5, "training.balance.classes": 0.5},
    "negative": {"training.negative": 1.0},
    "teacher": {"training.teacher.pseudo_labels": 1.0},
}


class Stopwatch(Reporter):
    """Seconds of the steps of a training, by `clock`, without the first one of each epoch."""

    def __init__(self, steps_per_epoch: int, clock: Callable[[], float]) -> None:
        self.steps_per_epoch, self.clock = steps_per_epoch, clock
        self.seconds: list[float] = []
        self._last = 0.0

    def progress(self, task: str, done: int, total: int) -> None:
        if task != "training":
            return
        now = self.clock()
        if (done - 1) % self.steps_per_epoch:
            self.seconds.append(now - self._last)
        self._last = now


def median_step(config: RunConfig, work_dir: Path, steps_per_epoch: int) -> float:
    on_cuda = pick_device(config.device).type == "cuda"
    watch = Stopwatch(steps_per_epoch, time.perf_counter if on_cuda else time.process_time)
    train(config, work_dir, reporter=watch)
    return float(np.median(watch.seconds))


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print, write; returns what the file holds."""
    args = _arguments(arguments)
    names = [PLAIN, *(args.recipe or RECIPES)]
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        configs = {name: _config(args, folder, RECIPES.get(name, {})) for name in names}
        plain = configs[PLAIN]
        scans = len(open_datasets(plain, None, Reporter()).pool)
        _say(plain, scans)
        for turn in range(-1, args.rounds):  # the first one warms up
            for name, config in configs.items():
                steps = -(-scans // config.schedule.batch_size)
                taken = median_step(config, Path(folder) / f"{turn} {name}", steps)
                times[name] += [taken] if turn >= 0 else []
    report = {
        name: {
            "step (s)": float(np.median(taken)),
            "ratio": float(np.median(np.divide(taken, times[PLAIN]))),
            "lowest": float(np.min(np.divide(taken, times[PLAIN]))),
            "highest": float(np.max(np.divide(taken, times[PLAIN]))),
        }
        for name, taken in times.items()
    }
    print(f"\n{'':25} {'step (ms)':>10} {'ratio':>7}  over the rounds")
    for name, found in report.items():
        between = f"{found['lowest']:.2f} to {found['highest']:.2f}"
        print(f"{name:25} {1000 * found['step (s)']:10.1f} {found['ratio']:7.2f}  {between}")
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _config(args: argparse.Namespace, folder: str, recipe: Mapping[str, object]) -> RunConfig:
    """The config for one round before the first epoch, with the keys of a recipe."""
    keys = {
        "active.strategy": "random",
        "active.rounds_at": [0],
        "active.queries_per_scan": 5,
        "schedule.epochs": args.epochs,
        "schedule.source_until": args.epochs,
        "schedule.evaluate_at": [],
        "data.val": None,
        **recipe,
    }
    settings = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    config = load_config(find_config(args.config), [*args.set, *settings])
    if config.setting in ("asfda", "ada"):
        config.init = os.path.join(folder, "source.pth")
        if not os.path.exists(config.init):
            torch.manual_seed(0)
            classes = open_datasets(config, None, Reporter()).taxonomy.num_classes
            torch.save({"state_dict": build_model(config, classes).state_dict()}, config.init)
    return config


def _say(config: RunConfig, scans: int) -> None:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(
        f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"load {load:.1f}; {config.setting}, {scans} scans of the target, batches of "
        f"{config.schedule.batch_size}, {config.model.backbone['type']}, "
        f"{config.schedule.workers} loader workers"
    )


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="ada/streets_demo", help="an al, asfda or ada config")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--recipe", action="append", choices=RECIPES)
    parser.add_argument("--rounds", type=int, default=5, help="timed trainings of each recipe")
    parser.add_argument("--epochs", type=int, default=2, help="of each training")
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
