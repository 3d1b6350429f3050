#!/usr/bin/env python3
"""Kill training runs at random moments, resume them, and compare with a run that nobody touched.

Tiny AL and ADA runs on random scans. Each is ended several times: by SIGKILL at a random moment of
the clock, by SIGKILL before or after one of the events that matter (a write to the ledger, a step
of training, an evaluation, the writing and renaming of a file), or by SIGTERM at such an event.
Each time it is started again with --resume, until it is through. Then its ledger, weights,
optimiser and metrics must be, bit for bit, those of the run that nobody touched; its budget is
checked after every kill. The processes are forked from one that has imported everything.

    python tools/kill_runs.py [--kills 200] [--processes 1] [--seed 0] [--jobs 2] [--keep DIR]
"""

from __future__ import annotations

import argparse
import fcntl
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

SETTINGS = ("al", "ada")
EPOCHS, ROUNDS, BUDGET, SCANS = 4, [0, 1, 2], 2, 3
MOST_KILLS = 6  # of one run, before it is let through
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(  # what a run imports, late imports of others included
    ["annotator3d.engine.run", "annotator3d.cli.terminal", "matplotlib.pyplot", "torch._dynamo"]
)


@dataclass(frozen=True)
class End:
    """How a start of a run is ended: by a signal, at an event or after a time; or not at all."""

    signal: int = 0
    event: int = 0  # of rank `rank`, counted from 1; 0: not at an event
    seconds: float = 0.0
    rank: int = 0


def make_scans(root: Path) -> None:
    """Two sequences to train on, one to evaluate on, one of the source; random points."""
    draw = np.random.default_rng(0)
    for sequence in ("00", "01", "02", "03"):
        folder = root / "sequences" / sequence
        for name in ("velodyne", "labels"):
            (folder / name).mkdir(parents=True)
        for frame in range(SCANS - (sequence == "01")):
            xyz = draw.uniform([-20, -20, -2], [20, 20, 3], (250, 3))
            scan = np.column_stack([xyz, draw.random(250)]).astype("<f4")
            scan.tofile(folder / "velodyne" / f"{frame:06d}.bin")
            labels = draw.choice([0, 10, 40, 48, 50, 70, 72, 80], 250).astype("<u4")
            labels.tofile(folder / "labels" / f"{frame:06d}.label")


def write_config(folder: Path, setting: str, init: Path | None) -> Path:
    def part(*sequences: str) -> dict:
        root = str(folder / "scans")
        return {"type": "SemanticKITTI", "root": root, "sequences": list(sequences)}

    values = {
        "setting": setting,
        "device": "cpu",
        "init": None if init is None else str(init),
        "data": {"train": part("00", "01"), "val": part("02"), "source": part("03")},
        "model": {
            "backbone": {"type": "MinkUNet", "planes": [4, 4, 4], "blocks": 1},
            "voxel_size": 2.0,
        },
        "schedule": {
            "epochs": EPOCHS if setting in SETTINGS else 1,
            "batch_size": 2,
            "optimizer": {"type": "AdamW", "lr": 0.01},
            "source_until": 3,
            "workers": int(setting == "al"),
            "checkpoint_every": 1 + (setting == "ada"),
        },
        "active": {"rounds_at": ROUNDS, "voxel_size": 4.0, "queries_per_scan": BUDGET},
    }
    path = folder / f"{setting}.json"
    path.write_text(json.dumps(values))
    return path


def child(arguments: list[str], end: End, env: dict[str, str], told: str, log: str) -> None:
    """A start of a run. It counts its events, ends itself at one, and tells the count."""
    with open(log, "a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # held until the last heir of the stream ends
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(env)
    # A process that reads scans is forked, as in any run, and not from a server that imports again.
    multiprocessing.set_start_method("fork", force=True)
    import torch

    from annotator3d.cli import main as cli
    from annotator3d.engine import evaluation
    from annotator3d.engine.training import runner
    from annotator3d.ledger.ledger import Ledger

    torch.set_num_threads(1)
    count = 0

    def event() -> None:
        nonlocal count
        count += 1
        if count == end.event and env.get("RANK", "0") == str(end.rank):
            os.kill(os.getpid(), end.signal)

    def watch(owner, name: str) -> None:
        inner = getattr(owner, name)

        def watched(*args, **kwargs):
            event()
            result = inner(*args, **kwargs)
            event()
            return result

        setattr(owner, name, watched)

    for owner, name in (
        (Ledger, "register_scans"),
        (Ledger, "add_round"),
        (Ledger, "record"),
        (runner.TrainLoop, "run_iter"),
        (runner.A3dRunner, "save_checkpoint"),
        (evaluation, "evaluate"),
        (os, "replace"),
        (os, "fsync"),
    ):
        watch(owner, name)
    code = cli.main(arguments)
    Path(told).write_text(str(count))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(arguments: list[str], end: End, processes: int, folder: Path) -> list[int]:
    """Run the command line in forked processes; their exit codes once all have ended."""
    from torch.distributed import TCPStore

    worlds: list[dict[str, str]] = [{}]
    if processes > 1:  # they meet in a store of this process, as torchrun's do in its own
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        world = {
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        worlds = [{**world, "RANK": str(r), "LOCAL_RANK": str(r)} for r in range(processes)]
    running = [
        FORKED.Process(
            target=child,
            args=(arguments, end, env, str(folder / f"events.{rank}"), str(folder / f"log.{rank}")),
        )
        for rank, env in enumerate(worlds)
    ]
    for process in running:
        process.start()
    if end.seconds:
        running[end.rank].join(end.seconds)
        if running[end.rank].is_alive():
            os.kill(running[end.rank].pid, end.signal)
    _await(running, folder)
    for rank in range(processes):
        _await_descendants(folder / f"log.{rank}")
    return [process.exitcode for process in running]


def _await_descendants(log: Path) -> None:
    """Wait for the processes that a run has started: they hold its lock on its log with it."""
    deadline = time.monotonic() + 60
    with open(log, "a") as file:
        while True:
            try:
                return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"a process outlives its run; see {log}") from None
                time.sleep(0.01)


def _await(running: list, folder: Path) -> None:
    """Wait for all; once one has failed, the others end soon, or are ended as by torchrun."""
    deadline = time.monotonic() + 300
    while alive := [process for process in running if process.is_alive()]:
        wait([process.sentinel for process in alive], max(0, deadline - time.monotonic()))
        if time.monotonic() > deadline:
            for process in alive:
                process.kill()
            if not any(process.exitcode for process in running):
                raise RuntimeError(f"a process hung; see {folder}/log.*")
        if any(process.exitcode for process in running):
            deadline = min(deadline, time.monotonic() + 10)


@dataclass
class Case:
    """A config with the run that nobody touched, as the others are to end."""

    setting: str
    folder: Path
    config: Path
    processes: int
    events: int = 0
    seconds: float = 0.0
    expected: tuple = field(default=(), repr=False)

    @classmethod
    def make(cls, folder: Path, setting: str, init: Path | None, processes: int) -> Case:
        case = cls(setting, folder, write_config(folder, setting, init), processes)
        began, whole = time.monotonic(), folder / f"{setting}-whole"
        whole.mkdir()
        codes = case.train(whole, End())
        if any(codes):
            raise RuntimeError(f"the run that nobody touches failed; see {whole}/log.*")
        case.seconds = time.monotonic() - began
        case.events = int((whole / "events.0").read_text())
        case.expected = outcome(whole / "run") if setting in SETTINGS else ()
        return case

    def train(self, folder: Path, end: End) -> list[int]:
        arguments = ["train", str(self.config), "--work-dir", str(folder / "run"), "--resume"]
        return start(arguments, end, self.processes, folder)

    def draw(self, dice: random.Random) -> End:
        """How the next start ends. Short times and few events are as likely as long ones."""
        rank = dice.randrange(self.processes)
        if dice.random() < 0.4:
            return End(signal.SIGKILL, seconds=dice.uniform(0.02, self.seconds), rank=rank)
        kind = signal.SIGTERM if dice.random() < 0.3 else signal.SIGKILL
        return End(kind, event=dice.randint(1, self.events), rank=rank)


def outcome(run: Path) -> tuple:
    """What must be the same: ledger, last checkpoint, metrics by epoch."""
    import torch

    from annotator3d.engine.workdir import WorkDir

    work_dir = WorkDir(run)
    with work_dir.ledger() as ledger:
        canonical = ledger.export_canonical()
    last = torch.load(work_dir.checkpoints / f"epoch_{EPOCHS}.pth", weights_only=True)
    lines = map(json.loads, work_dir.metrics_path.read_text().splitlines())
    parts = {key: last[key] for key in ("state_dict", "optimizer", "param_schedulers")}
    return canonical, parts, {line["epoch"]: line for line in lines}


def same(a, b) -> bool:
    import torch

    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def check_budget(run: Path) -> None:
    """Whatever the moment of the kill: whole rounds, and no more than may be asked."""
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.ledger import Ledger

    path = WorkDir(run).ledger_path
    if not path.exists() or not path.stat().st_size:
        return
    try:
        ledger = Ledger.read(path)
    except ValueError:  # killed while the file was being made: there is no table yet
        return
    with ledger:
        for entry in ledger.rounds():
            scans = Counter(query.scan for query in ledger.queries(entry.number))
            if sum(scans.values()) != entry.num_queries or max(scans.values()) > BUDGET:
                raise RuntimeError(f"{path}: round {entry.number} asks {dict(scans)}")


def torment(case: Case, number: int, kills: int, seed: int) -> Counter:
    """Kill one run up to `kills` times and let it through; what ended it how often."""
    dice, ends = random.Random(f"{seed} {case.setting} {number}"), Counter()
    folder = case.folder / f"{case.setting}-{number}"
    folder.mkdir()
    history: list[End] = []
    while sum(ends.values()) < kills:
        history.append(case.draw(dice))
        codes = case.train(folder, history[-1])
        check_budget(folder / "run")
        if not any(codes):
            break
        if codes[history[-1].rank] not in (-signal.SIGKILL, 128 + signal.SIGTERM):
            raise RuntimeError(f"exit codes {codes} after {history[-1]}; see {folder}/log.*")
        way = "time" if history[-1].seconds else "event"
        ends[f"{signal.Signals(history[-1].signal).name} by {way}"] += 1
    if any(codes := case.train(folder, End())):
        raise RuntimeError(f"exit codes {codes} of the last start; see {folder}/log.*")
    for what, got, expected in zip(
        ("ledger", "checkpoint", "metrics"), outcome(folder / "run"), case.expected, strict=True
    ):
        if not same(got, expected):
            raise RuntimeError(f"{folder}: another {what} than untouched, after {history}")
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1, help="of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--keep", metavar="DIR", help="an empty folder for what the runs leave")
    args = parser.parse_args()
    scratch = tempfile.TemporaryDirectory(prefix="kill_runs-")
    folder = Path(args.keep or scratch.name)
    make_scans(folder / "scans")
    source = Case.make(folder, "source_only", None, 1)
    init = folder / "source_only-whole" / "run" / "checkpoints" / "epoch_1.pth"
    cases = [
        Case.make(folder, setting, init if setting == "ada" else None, args.processes)
        for setting in SETTINGS
    ]
    del source
    ends, runs = Counter(), 0
    with ThreadPoolExecutor(args.jobs) as pool:
        while (left := args.kills - sum(ends.values())) > 0:
            wanted = [min(MOST_KILLS, left - i * MOST_KILLS) for i in range(args.jobs)]
            batch = [
                pool.submit(torment, cases[(runs + i) % len(cases)], runs + i, kills, args.seed)
                for i, kills in enumerate(wanted)
                if kills > 0
            ]
            runs += len(batch)
            for future in batch:
                ends += future.result()
            print(f"{sum(ends.values())} of {args.kills}: {dict(ends)}", flush=True)
    print(
        f"{sum(ends.values())} kills in {runs} runs of {args.processes} process(es), seed "
        f"{args.seed}: every run ended as the untouched one"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
