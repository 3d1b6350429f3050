#!/usr/bin/env python3
"""Scans a minute of a whole selection round and of training, end to end, as users count them.

    python tools/bench_rounds.py OUT [--data-root DIR] [--device cpu|cuda] [--quick]

Simulated scans of 120,000 points, and with --data-root real ones with labels (SemanticKITTI's
layout) too; a small network and the published one; one process and two. Prints the Markdown table
of docs/performance.md and writes it to OUT/table.md. What OUT holds already is not measured again,
so a stopped run continues with the same command.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from bench_rounds_worker import NETWORKS, Task

from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.datasets.simulated import SimulatedStreets

FULL = 19_130  # scans of SemanticKITTI's training sequences
SCANS = {  # (network, part): how many
    ("small", "round"): 16,
    ("small", "train"): 16,
    ("published", "round"): 8,
    ("published", "train"): 4,
}
BATCH = {"small": 2, "published": 1}  # scans of a training step and process
WORKER = Path(__file__).with_name("bench_rounds_worker.py")


@dataclass(frozen=True)
class Measured:
    """One row of the table."""

    source: str
    network: str
    processes: int
    part: str
    seconds: float
    scans: int
    steps: dict[str, float]

    @property
    def per_minute(self) -> float:
        return 60 * self.scans / self.seconds

    def hours_of_all(self, ledger: Measured | None) -> float:
        """Hours for `FULL` scans at this rate; the ledger's part of a round was measured."""
        own = self.steps.get("write to the ledger", 0.0)
        if self.part != "round" or ledger is None:
            return FULL / self.per_minute / 60
        scaled = (self.seconds - own) * FULL / self.scans
        return (scaled + ledger.seconds * FULL / ledger.scans) / 3600

    def shares(self) -> str:
        """Steps of at least 0.1 % of the time on the first process, the largest first."""
        rest = self.seconds - sum(self.steps.values())
        steps = sorted({**self.steps, "rest": rest}.items(), key=lambda item: -item[1])
        shares = [(name, 100 * seconds / self.seconds) for name, seconds in steps]
        return ", ".join(f"{name} {share:.1f} %" for name, share in shares if share >= 0.1)


class Bench:
    """Runs tasks in processes of their own, and keeps what they found."""

    def __init__(self, out: Path, device: str, cores: int) -> None:
        self.out, self.device, self.cores = out, device, cores

    def measure(self, source: str, processes: int, **task) -> Measured:
        part, network = task["part"], task["network"]
        name = f"{part}-{source}-{network}-{processes}-{self.device}"
        file, folder = self.out / f"{name}.json", self.out / name
        if not file.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            threads = max(1, self.cores // processes)
            part_file = self.out / f"{name}.part"
            whole = Task(
                **task,
                folder=str(folder),
                out=str(part_file),
                threads=threads,
                batch=BATCH[network],
                device=self.device,
            )
            print(f"{name} ...", file=sys.stderr, flush=True)
            self._run(json.dumps(asdict(whole)), processes, threads)
            part_file.rename(file)
            shutil.rmtree(folder)
        found = json.loads(file.read_text(encoding="utf-8"))
        return Measured(source, network, processes, part, **found)

    def _run(self, task: str, processes: int, threads: int) -> None:
        command = [sys.executable]
        if processes > 1:
            command += ["-m", "torch.distributed.run", "--standalone"]
            command += ["--nproc-per-node", str(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        run = subprocess.run(
            [*command, str(WORKER), task], env=environment, capture_output=True, text=True
        )
        if run.returncode:
            said = (run.stderr.strip() or run.stdout.strip())[-1500:]
            raise SystemExit(f"the measurement {task[:200]} failed:\n{said}")


def simulated(out: Path, scans: int, quick: bool) -> Path:
    """Root of simulated scans, made once."""
    root = out / f"simulated-{scans}"
    SimulatedStreets("hdl64", 1, scans, azimuths=24 if quick else 2083, root=root)
    return root


def ids_of(root: Path, scans: int) -> list[str]:
    """Scans spread evenly over those under a root; if there are fewer, all of them."""
    names = sorted(p.parent.name for p in root.glob("sequences/*/velodyne"))
    if not names:
        raise SystemExit(f"--data-root: no sequences/*/velodyne under {root}")
    known = SemanticKITTI(root, names).ids
    wanted = np.linspace(0, len(known) - 1, min(scans, len(known))).round().astype(int)
    return [known[i] for i in wanted]


def table(found: list[Measured], ledger: Measured) -> str:
    lines = [
        f"| scans | network | processes | part | scans a minute | {FULL:,} scans, hours | share |",
        "|---|---|--:|---|--:|--:|---|",
    ]
    for m in found:
        hours = m.hours_of_all(ledger)
        lines.append(
            f"| {m.source} | {m.network} | {m.processes} | {m.part} | {m.per_minute:,.0f} | "
            f"{hours:.1f} | {m.shares()} |"
        )
    lines += [
        "",
        f"A round of {ledger.scans:,} queries is in the ledger after {ledger.seconds:.1f} s.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> list[Measured]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="gets the figures and the table")
    parser.add_argument("--data-root", type=Path, help="real scans, in SemanticKITTI's layout")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="default: both")
    parser.add_argument("--processes", action="append", type=int, help="default: 1 and 2")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does the tool work?")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    most = 2 if args.quick else max(SCANS.values())
    roots = {"simulated": simulated(args.out, most, args.quick)}
    if args.data_root:
        roots["real"] = args.data_root.resolve()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    bench, found = Bench(args.out, args.device, 1 if args.quick else cores), []
    networks, processes = args.network or list(NETWORKS), args.processes or [1, 2]
    if args.device == "cuda" and max(processes) > torch.cuda.device_count():
        processes = [1]  # each process wants a GPU of its own
    for (source, root), network, n, part in itertools.product(
        roots.items(), sorted(networks, reverse=True), processes, ("round", "train")
    ):
        scans = ids_of(root, most if args.quick else SCANS[network, part])
        task = {"part": part, "network": network, "root": str(root), "scans": scans}
        found.append(bench.measure(source, n, **task))
    task = {"part": "ledger", "network": "small", "root": str(roots["simulated"])}
    size = 20 if args.quick else FULL
    scans = ids_of(roots["simulated"], 1)
    ledger = bench.measure("simulated", 1, **task, scans=scans, ledger_scans=size)
    text = table(found, ledger)
    (args.out / "table.md").write_text(text, encoding="utf-8")
    where = torch.cuda.get_device_name() if args.device == "cuda" else _processor()
    print(f"{where}, torch {torch.__version__}\n\n{text}")
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


if __name__ == "__main__":
    main()
