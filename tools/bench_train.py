"""Time training steps and selection of both networks on real-sized scans at 0.05 m.

    python tools/bench_train.py [--device cpu|cuda] [--backbone MinkUNet|SPVCNN] [--data-root DIR]

Real scans with --data-root (SemanticKITTI's layout), simulated ones of 120,000 points without. On
CUDA MinkUNet is compared with the same network on plain spconv; on CPU with spconv held to one
thread, the only way in which it is not wrong there (for one scan at a time). Variants run in turn
on the same batches, so that a busy machine slows all alike: read the ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from plain_spconv import PlainMinkUNet, load_spconv

from annotator3d.active.strategies import VoxelConfusion
from annotator3d.data.batch import InputRule, TrainingScans
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.datasets.simulated import SimulatedStreets
from annotator3d.engine.prediction import voxel_logits
from annotator3d.engine.training.loading import batches, training_loader
from annotator3d.models.minkunet import PUBLISHED_PLANES
from annotator3d.models.segmentor import Segmentor

CLASSES, BLOCKS = 19, 2
TYPES = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Bench:
    """What is measured on: `precision` is that of the training steps; selection is in float32."""

    dataset: ScanDataset
    device: torch.device
    planes: list[int]
    batch: int
    rounds: int
    workers: int
    precision: str

    @property
    def rule(self) -> InputRule:
        return InputRule(CLASSES)

    def model(self, backbone: str) -> Segmentor:
        torch.manual_seed(0)
        config = {"type": backbone, "planes": self.planes, "blocks": BLOCKS}
        return Segmentor(config, CLASSES).to(self.device).train()

    def plain(self) -> Segmentor:
        """MinkUNet on spconv alone, with the same weights."""
        spconv, made = load_spconv(self.device.type), self.model("MinkUNet")
        ours = made.backbone.state_dict()
        backbone = PlainMinkUNet(spconv, self.planes, BLOCKS, self.device.type)
        names = backbone.state_dict().keys()
        backbone.load_state_dict(dict(zip(names, ours.values(), strict=True)))
        made.backbone = backbone.to(self.device).train()
        return made

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def clock(self, into: list[float]) -> Iterator[None]:
        self.wait()
        start = time.perf_counter()
        yield
        self.wait()
        into.append(time.perf_counter() - start)

    def loader(self, workers: int):
        scans = TrainingScans(self.dataset, self.rule, seed=0)
        return training_loader(scans, self.batch, 0, workers, self.device)


class Step:
    """One update of a network: forward, loss, backward, clipping, SGD."""

    def __init__(self, model: Segmentor, precision: str) -> None:
        self.model, self.type = model, TYPES[precision]
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
        self.scaler = torch.amp.GradScaler(enabled=precision == "fp16")

    def __call__(self, batch: dict) -> None:
        batch = self.model.data_preprocessor(batch, True)
        device = batch["features"].device.type
        with torch.autocast(device, dtype=self.type, enabled=self.type is not None):
            loss = sum(self.model(batch, mode="loss").values())
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def steps(bench: Bench, backbone: str) -> dict[str, float]:
    """Median seconds of a step, for each variant, on the same batches."""
    threads = torch.get_num_threads()
    variants: dict[str, tuple[int, Step]] = {}
    if bench.device.type == "cuda":
        variants["ours"] = (threads, Step(bench.model(backbone), bench.precision))
    else:
        own = Step(bench.model(backbone), bench.precision)
        variants |= {f"ours, {n} threads": (n, own) for n in sorted({1, threads})}
    if backbone == "MinkUNet":
        try:
            plain = Step(bench.plain(), bench.precision)
        except RuntimeError as missing:
            print(f"not compared: {missing}")
        else:
            cuda = bench.device.type == "cuda"
            name, count = ("plain spconv", threads) if cuda else ("spconv, 1 threads", 1)
            variants[name] = count, plain
    times: dict[str, list[float]] = {name: [] for name in variants}
    found = list(batches(bench.loader(0), 0))
    for turn in range(-1, bench.rounds):  # the first one warms up
        for name, (count, step) in variants.items():
            torch.set_num_threads(count)
            taken: list[float] = []
            with bench.clock(taken):
                step(found[turn % len(found)])
            times[name] += taken if turn >= 0 else []
    torch.set_num_threads(threads)
    return {name: float(np.median(t)) for name, t in times.items()}


def data_share(bench: Bench, backbone: str) -> tuple[float, float]:
    """Scans a second of an epoch as `train` runs it, and the share of it spent waiting for data."""
    step = Step(bench.model(backbone), bench.precision)
    loader = bench.loader(bench.workers)
    waited: list[float] = []
    worked: list[float] = []
    for epoch in range(2):  # the first one starts the workers
        found = batches(loader, epoch)
        waited.clear(), worked.clear()
        while True:
            with bench.clock(waited):
                batch = next(found, None)
            if batch is None:
                break
            with bench.clock(worked):
                step(batch)
    if bench.workers:
        loader._iterator._shutdown_workers()
    total = sum(waited) + sum(worked)
    return len(bench.dataset) / total, sum(waited) / total


def selection(bench: Bench, backbone: str) -> tuple[float, float]:
    """Scans a second of a selection pass, and the share of it spent in selection (vcd)."""
    model, passes, chosen = bench.model(backbone), [], []
    for turn in range(-1, min(bench.rounds, 2 * len(bench.dataset))):
        taken: list[float] = []
        picked: list[float] = []
        with bench.clock(taken):
            scan = bench.dataset.read(turn % len(bench.dataset), labels=False)
            scores = voxel_logits(model, scan, bench.rule)
            with bench.clock(picked):
                VoxelConfusion().select(scan.xyz, **scores, num_classes=CLASSES, scan_id=scan.id)
        if turn >= 0:
            passes += taken
            chosen += picked
    return 1 / float(np.median(passes)), float(np.median(chosen) / np.median(passes))


def peak(bench: Bench, work: Callable[[], object]) -> float:
    """Most memory, in GB, while `work` runs: of torch on CUDA, of the process on CPU."""
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() / 1e9
    try:  # forget the peak so far; Linux
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    work()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def measure(bench: Bench, backbone: str) -> dict[str, float]:
    """All figures of one network."""
    found = {f"step, {n} (s)": t for n, t in steps(bench, backbone).items()}
    ours = [t for name, t in found.items() if name.startswith("step, ours")]
    rival = [t for name, t in found.items() if "spconv" in name]
    for name, t in list(found.items()):
        if rival and name.startswith("step, ours"):
            found[f"time of {name[6:-4]} / spconv's"] = t / rival[0]
    found["trained scans/s, in memory"] = bench.batch / min(ours)
    rate, share = data_share(bench, backbone)
    found[f"trained scans/s, {bench.workers} loader workers"] = rate
    found["share of a step waiting for data"] = share
    rate, share = selection(bench, backbone)
    found["selected scans/s"] = rate
    found["share of a pass in selection"] = share
    batch = next(iter(batches(bench.loader(0), 0)))
    step = Step(bench.model(backbone), bench.precision)
    found["memory of a step (GB)"] = peak(bench, lambda: step(batch))
    model, scan = bench.model(backbone), bench.dataset.read(0, labels=False)
    found["memory of a pass (GB)"] = peak(bench, lambda: voxel_logits(model, scan, bench.rule))
    return found


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print, write; returns what the file holds."""
    args = _arguments(arguments)
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        dataset = _scans(args, folder)
        planes = (4, 4, 8, 8, 4) if args.quick else PUBLISHED_PLANES
        bench = Bench(
            dataset, device, list(planes), args.batch, args.rounds, args.workers, args.precision
        )
        _say(bench, args)
        report = {}
        for backbone in args.backbone or ["MinkUNet", "SPVCNN"]:
            report[backbone] = measure(bench, backbone)
            print(f"\n{backbone}\n" + "-" * len(backbone))
            for name, value in report[backbone].items():
                print(f"{name:45} {value:10.4g}")
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", action="append", choices=("MinkUNet", "SPVCNN"))
    parser.add_argument("--data-root", help="real scans with labels, in SemanticKITTI's layout")
    parser.add_argument("--scans", type=int, help="of the data set (8; CUDA 64)")
    parser.add_argument("--batch", type=int, help="scans of a step (1; CUDA 8)")
    parser.add_argument("--rounds", type=int, help="timings of each variant (3; CUDA 20)")
    parser.add_argument("--workers", type=int, help="loader processes (2; CUDA 8)")
    parser.add_argument("--precision", choices=TYPES, help="of training steps (fp32; CUDA fp16)")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does the tool work?")
    args = parser.parse_args(arguments)
    cuda = args.device == "cuda"
    defaults = {
        "scans": 64 if cuda else 8,
        "batch": 8 if cuda else 1,
        "rounds": 20 if cuda else 3,
        "workers": 8 if cuda else 2,
        "precision": "fp16" if cuda else "fp32",
    }
    if args.quick:
        defaults |= {"scans": 2, "batch": 1, "rounds": 1, "workers": 0}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _scans(args: argparse.Namespace, folder: str) -> ScanDataset:
    if args.data_root is None:
        azimuths = 24 if args.quick else 2083
        return SimulatedStreets("hdl64", 1, args.scans, azimuths=azimuths, root=folder)
    names = sorted(p.parent.name for p in Path(args.data_root).glob("sequences/*/velodyne"))
    dataset = SemanticKITTI(args.data_root, names)
    wanted = np.linspace(0, len(dataset) - 1, min(args.scans, len(dataset))).round().astype(int)
    return SemanticKITTI(args.data_root, names, scans=[dataset.ids[i] for i in wanted])


def _say(bench: Bench, args: argparse.Namespace) -> None:
    points = np.mean([len(bench.dataset.read(i)) for i in range(len(bench.dataset))])
    cuda = bench.device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU"
    print(
        f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"{len(bench.dataset)} {'real' if args.data_root else 'simulated'} scans of {points:,.0f} "
        f"points at 0.05 m; batches of {bench.batch}, {bench.precision}"
    )


if __name__ == "__main__":
    main()
