"""Time sparse convolution on the CPU: training steps, inference, single layers.

    python tools/bench_convolution.py --data-root DIR [--network small|published] [--threads 1 2]

Ours takes turns with the same network in plain operations of torch (gather, product, scatter) and
with spconv (held to one thread, the only way in which it is not wrong there), on the same batches
of real scans: read the ratios, a busy machine slows all alike. Layers are timed on the cells of the
first batch, in processor time of one thread, and compared with the fastest product of two large
matrices that torch reaches here.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from bench_train import Bench, Step, peak
from plain_spconv import PlainMinkUNet, load_spconv
from plain_torch import plain_torch

from annotator3d.data.batch import InputRule
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.engine.training.loading import batches
from annotator3d.kernels import sparse_convolution, submanifold_rulebook
from annotator3d.models.minkunet import PUBLISHED_PLANES
from annotator3d.models.segmentor import Segmentor

NETWORKS = {  # planes, blocks, voxel size in metres, scans of a batch
    "small": ((16, 16, 32, 32, 32, 16, 16), 1, 0.3, 2),
    "published": (PUBLISHED_PLANES, 2, 0.05, 1),
}
CLASSES = 19


class Network(Bench):
    """What is measured on, at the size of one of NETWORKS."""

    def __init__(self, name: str, dataset: SemanticKITTI) -> None:
        planes, self.blocks, self.size, scans = NETWORKS[name]
        super().__init__(dataset, torch.device("cpu"), list(planes), scans, 1, 0, "fp32")

    @property
    def rule(self) -> InputRule:
        return InputRule(CLASSES, voxel_size=self.size)

    def model(self, backbone: str = "MinkUNet") -> Segmentor:
        torch.manual_seed(0)
        config = {"type": backbone, "planes": self.planes, "blocks": self.blocks}
        return Segmentor(config, CLASSES).train()

    def on_spconv(self) -> Segmentor | None:
        """The same weights on spconv alone; None where that cannot be had."""
        try:
            spconv, made = load_spconv("cpu"), self.model()
        except RuntimeError as missing:
            print(f"not compared: {missing}")
            return None
        backbone = PlainMinkUNet(spconv, self.planes, self.blocks, "cpu")
        ours = made.backbone.state_dict().values()
        names = backbone.state_dict().keys()
        backbone.load_state_dict(dict(zip(names, ours, strict=True)))
        made.backbone = backbone.train()
        return made


def inference(model: Segmentor, batch: dict) -> None:
    model.eval()
    with torch.no_grad():
        model(model.data_preprocessor(batch, False))
    model.train()


def networks(bench: Network, threads: list[int], rounds: int) -> dict[str, float]:
    """Median seconds of a step and of inference of each rival, and how often ours is as fast."""
    own, rival = bench.model(), bench.on_spconv()
    rivals: dict[str, tuple[Segmentor, int, Callable]] = {}
    for n in threads:
        rivals[f"ours, {n} threads"] = own, n, nullcontext
        rivals[f"plain torch, {n} threads"] = own, n, plain_torch
    if rival is not None:
        rivals["spconv, 1 threads"] = rival, 1, nullcontext
    found = list(batches(bench.loader(0), 0))
    steps = {id(model): Step(model, "fp32") for model, _, _ in rivals.values()}
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(-1, rounds):  # the first one warms up
        batch = found[turn % len(found)]
        for name, (model, count, context) in rivals.items():
            torch.set_num_threads(count)
            for kind in ("step", "inference"):
                taken: list[float] = []
                with context(), bench.clock(taken):
                    steps[id(model)](batch) if kind == "step" else inference(model, batch)
                times.setdefault((kind, name), []).extend(taken if turn >= 0 else [])
    report = {f"{kind}, {name} (s)": float(np.median(t)) for (kind, name), t in times.items()}
    for (kind, name), t in times.items():
        for n in threads:
            if name == f"plain torch, {n} threads" or name.startswith("spconv"):
                ratio = np.median(np.divide(t, times[kind, f"ours, {n} threads"]))
                report[f"{kind}: {name} / ours, {n} threads"] = float(ratio)
    return report


def memory(name: str, rival: str, dataset: SemanticKITTI) -> float:
    """Most memory of a process that runs a step of a network, in GB; in a process of its own."""
    torch.set_num_threads(1)
    bench = Network(name, dataset)
    model = bench.on_spconv() if rival == "spconv" else bench.model()
    if model is None:
        return float("nan")
    batch, step = next(iter(batches(bench.loader(0), 0))), Step(model, "fp32")
    with plain_torch() if rival == "plain torch" else nullcontext():
        return peak(bench, lambda: step(batch))


def memories(name: str, dataset: SemanticKITTI) -> dict[str, float]:
    """`memory` of each rival."""
    report = {}
    for rival in ("ours", "plain torch", "spconv"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            found = fresh.submit(memory, name, rival, dataset).result()
        report[f"memory of a step, {rival} (GB)"] = found
    return report


def layers(bench: Network, widths: list[int], rounds: int) -> dict[str, float]:
    """Products of a layer's passes in GFLOP/s, and the share of what one thread reaches at most."""
    torch.set_num_threads(1)
    batch = next(iter(batches(bench.loader(0), 0)))
    book = submanifold_rulebook(batch["cells"], batch["splits"])
    pairs, rows = len(book.forward[0]), book.num_in
    square = torch.randn(1024, 1024)
    most = 2 * 1024**3 / _fastest(lambda: square @ square, 10)
    report = {"rows": rows, "pairs a row": pairs / rows, "product of torch, GFLOP/s": most / 1e9}
    input_gradient = torch.ops.annotator3d.sparse_convolution_input_gradient
    weight_gradient = torch.ops.annotator3d.sparse_convolution_weight_gradient
    for width in widths:
        features, weight = torch.randn(rows, width), torch.randn(width, 27, width)
        grad = torch.randn(rows, width)
        passes = {
            "forward": lambda f=features, w=weight: sparse_convolution(f, w, book),
            "input gradient": lambda g=grad, w=weight: input_gradient(
                g, w, *book.backward, True, rows
            ),
            "weight gradient": lambda f=features, g=grad: weight_gradient(f, g, *book.forward, 27),
        }
        for name, work in passes.items():
            rate = 2 * pairs * width**2 / _fastest(work, rounds)
            report[f"{width} channels, {name}, GFLOP/s"] = rate / 1e9
            report[f"{width} channels, {name}, share"] = rate / most
    return report


def _fastest(work: Callable[[], object], rounds: int) -> float:
    """Least processor time of some calls, in seconds; the first one warms up."""
    times = []
    for _ in range(rounds + 1):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times[1:])


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print, write; returns what the file holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True, help="real scans, in SemanticKITTI's layout")
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scans", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5, help="timings of each rival")
    parser.add_argument("--widths", type=int, nargs="*", default=[16, 32, 64, 96], help="of layers")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args(arguments)
    names = sorted(p.parent.name for p in Path(args.data_root).glob("sequences/*/velodyne"))
    dataset = SemanticKITTI(args.data_root, names)
    wanted = np.linspace(0, len(dataset) - 1, min(args.scans, len(dataset))).round().astype(int)
    dataset = SemanticKITTI(args.data_root, names, scans=[dataset.ids[i] for i in wanted])
    before, report = torch.get_num_threads(), {}
    try:
        for name in args.network or NETWORKS:
            bench = Network(name, dataset)
            report[name] = networks(bench, args.threads, args.rounds) if args.rounds else {}
            report[name] |= memories(name, dataset) | layers(bench, args.widths, args.rounds)
            print(f"\n{name} network\n" + "-" * len(f"{name} network"))
            for figure, value in report[name].items():
                print(f"{figure:55} {value:10.4g}", flush=True)
    finally:
        torch.set_num_threads(before)
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
