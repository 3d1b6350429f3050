#!/usr/bin/env python3
"""Attack the ledger through the commands, for as long as you like, and count what survives.

Each attempt draws from a seed of its own: a kill at a statement or file operation, a flipped bit or
a cut in a ledger or package, a disk that is full after so many bytes, or two starts at once. After
it, the folder must hold all that was acknowledged, or the command must have refused in words; a
Python traceback, a hang, a lost answer and a wrong one count as broken. What breaks is printed with
its seed; run that one again with --seed SEED --attempts 1.

    python tools/attack.py --minutes 10 [--seed 0] [--attempts N] [--kinds kill,flip,full,double]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

LIMIT = 120  # seconds that an attempt may take
DONE = ("is out", "already", "is free", "exists;")  # the first start had done it
SURVIVED, REFUSED, BROKEN = "survived", "refused in words", "broken"


class BrokenError(Exception):
    """A promise did not hold."""


def make_home(folder: Path) -> None:
    """Scans, a config, a run that is answered in part, a package of it that is answered."""
    draw = np.random.default_rng(0)
    for part in ("velodyne", "labels"):
        (folder / "scans/sequences/00" / part).mkdir(parents=True)
    for frame in range(2):
        xyz = draw.uniform([-20, -20, -2], [20, 20, 3], (200, 3))
        scan = np.column_stack([xyz, draw.random(200)]).astype("<f4")
        scan.tofile(folder / f"scans/sequences/00/velodyne/{frame:06d}.bin")
        raw = draw.choice([10, 40, 50, 70], 200).astype("<u4")
        raw.tofile(folder / f"scans/sequences/00/labels/{frame:06d}.label")
    train = f"{{type: SemanticKITTI, root: {folder / 'scans'}, sequences: ['00']}}"
    asked = "{strategy: random, oracle: person, voxel_size: 4.0, queries_per_scan: 4}"
    config = f"setting: al\ndevice: cpu\ndata: {{train: {train}}}\nactive: {asked}\n"
    (folder / "config.yaml").write_text(config)
    quiet(["select", str(folder / "config.yaml"), "--work-dir", str(folder / "run")])
    answer(folder / "run/ledger.sqlite", "ann", 5)
    package = str(folder / "one.a3dpack")
    quiet(["package", "export", str(folder / "run"), package, "--to", "bob"])
    answer(folder / "one.a3dpack", "bob", 2)


def quiet(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command, in this process."""
    from annotator3d.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([*command])
    return code, said.getvalue()


def answer(path: Path, who: str, count: int) -> list[int]:
    """Answer open queries; their ids, each told as soon as it is acknowledged."""
    from annotator3d.ledger.ledger import Ledger

    done = []
    with Ledger.open_existing(path) as ledger:
        for query in ledger.open_queries()[:count]:
            labels = np.full(query.num_points, query.id % 3, np.uint8)
            ledger.answer(query.id, labels, annotator=who, seconds=1.5)
            done.append(query.id)
            sys.stdout.write(f"acknowledged {query.id}\n")
            sys.stdout.flush()
    return done


def answers_of(path: Path) -> dict[int, tuple]:
    """Query -> (person, labels) of every answer that counts."""
    from annotator3d.ledger.ledger import Ledger

    with Ledger.read(path) as ledger:
        return {
            query.id: (found.annotator, tuple(found.labels))
            for query, found in ledger.responses()
            if found is not None and found.labels is not None
        }


def in_child(work: Callable[[], int], folder: Path) -> tuple[int, str]:
    """Run it in a process of its own; its exit code and what it said. Broken if it hangs."""
    log = folder / f"log{random.random()}"
    process = multiprocessing.get_context("fork").Process(target=_child, args=(work, log))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        process.join()
        raise BrokenError(f"it hung for {LIMIT} s")
    said = log.read_text(errors="replace")
    if "Traceback (most recent call last)" in said:
        raise BrokenError(f"a traceback: {said[-300:]}")
    return process.exitcode or 0, said


def _child(work: Callable[[], int], log: Path) -> None:
    with open(log, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
    code = work()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def commands(folder: Path) -> dict[str, Callable[[], int]]:
    """What is attacked: each writes."""
    from annotator3d.cli.main import main

    run, config = str(folder / "run"), str(folder / "config.yaml")
    return {
        "first select": lambda: main(["select", config, "--work-dir", str(folder / "new")]),
        "next select": lambda: main(["select", config, "--work-dir", run]),
        "answers": lambda: len(answer(folder / "run/ledger.sqlite", "eve", 3)) * 0,
        "round close": lambda: main(["round", "close", run, "--release", "--annotator", "lead"]),
        "package merge": lambda: main(["package", "merge", run, str(folder / "one.a3dpack")]),
        "package export": lambda: main(
            [
                "package",
                "export",
                run,
                str(folder / "two.a3dpack"),
                "--to",
                "cid",
                "--queries",
                "all",
            ]
        ),
        "backup": lambda: main(["ledger", "backup", run, str(folder / "backups"), "--keep", "1"]),
    }


def require_whole(folder: Path, before: dict[int, tuple], said: str) -> None:
    """After any attack on a whole ledger: it verifies, and holds what was acknowledged."""
    code, words = quiet(["ledger", "verify", str(folder / "run"), "--no-scans"])
    if code != 0:
        raise BrokenError(f"the ledger does not verify: {words[-300:]}")
    now = answers_of(folder / "run/ledger.sqlite")
    for query, given in before.items():
        if now.get(query) != given:
            raise BrokenError(f"query {query} had {given} and has {now.get(query)}")
    told = [int(line.split()[1]) for line in said.splitlines() if line.startswith("acknowledged")]
    if missing := set(told) - set(now):
        raise BrokenError(f"acknowledged and lost: {missing}")
    for copy in (folder / "backups").glob("ledger-*.sqlite"):
        if quiet(["ledger", "verify", str(copy), "--no-scans"])[0] != 0:
            raise BrokenError(f"{copy.name} is no whole backup")


def kill(draw: random.Random, folder: Path) -> str:
    """SIGKILL at a statement, or at a call that flushes, links or renames a file; then again."""
    name = draw.choice(list(commands(folder)))
    work, before = commands(folder)[name], answers_of(folder / "run/ledger.sqlite")
    at, place = draw.randrange(150), draw.choice(["statement"] * 3 + ["fsync", "replace", "link"])
    if place != "statement":
        at %= 6

    def dying() -> int:
        left = [at]

        def tick(*_: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        if place == "statement":
            plain = sqlite3.connect

            def connect(*values, **options):
                db = plain(*values, **options)
                db.set_trace_callback(tick)
                return db

            sqlite3.connect = connect
        else:
            inner = getattr(os, place)
            setattr(os, place, lambda *values, **options: (tick(), inner(*values, **options))[1])
        return work()

    code, said = in_child(dying, folder)
    require_whole(folder, before, said)
    again, words = in_child(work, folder)
    if again != 0 and not any(word in words for word in DONE):
        raise BrokenError(f"{name} killed at {place} {at} ({code}) does not go on: {words[-300:]}")
    require_whole(folder, before, words)
    return SURVIVED


def flip(draw: random.Random, folder: Path) -> str:
    """Flip a bit, or cut, a ledger or a package; what reads it gives the same answers or words."""
    target = draw.choice([folder / "run/ledger.sqlite", folder / "one.a3dpack"])
    before, home = answers_of(target), answers_of(folder / "run/ledger.sqlite")
    content = bytearray(target.read_bytes())
    if draw.random() < 0.85:
        for _ in range(draw.choice([1, 1, 1, 8])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    else:
        del content[draw.randrange(len(content)) :]
    target.write_bytes(content)
    if target.suffix == ".a3dpack":
        code, said = in_child(commands(folder)["package merge"], folder)
        now = answers_of(folder / "run/ledger.sqlite")
        whole = {**home, **before}
        if code == 0 and now != whole:
            raise BrokenError(f"a damaged package was merged: {said[-300:]}")
        if code != 0 and now != home:
            raise BrokenError(f"a package was refused and merged in part: {said[-300:]}")
        return REFUSED if code else SURVIVED
    out = folder / "out.jsonl"

    def read() -> int:
        from annotator3d.cli.main import main

        return main(["ledger", "export", str(folder / "run"), str(out)])

    code, said = in_child(read, folder)
    if code != 0:
        if not said.strip():
            raise BrokenError("refused without a word")
        return REFUSED
    if answers_of(target) != before:
        raise BrokenError(f"other answers, in silence: {said[-300:]}")
    return SURVIVED


def full(draw: random.Random, folder: Path) -> str:
    """No file may grow beyond a limit, as on a full disk; then there is space again."""
    name = draw.choice(list(commands(folder)))
    work, before = commands(folder)[name], answers_of(folder / "run/ledger.sqlite")
    most = draw.randrange(0, 200_000)

    def limited() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        try:
            return work()
        except (OSError, ValueError) as error:  # what is no command says so by itself
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            print(error)
            return 1

    start = time.monotonic()
    code, said = in_child(limited, folder)
    if time.monotonic() - start > 50:
        raise BrokenError(f"{name} was silent for {time.monotonic() - start:.0f} s")
    require_whole(folder, before, said)
    again, words = in_child(work, folder)
    if again != 0 and not any(word in words for word in DONE):
        raise BrokenError(f"{name} with {most} bytes ({code}) does not go on: {words[-300:]}")
    require_whole(folder, before, words)
    return REFUSED if code else SURVIVED


def double(draw: random.Random, folder: Path) -> str:
    """Two starts of two commands at the same time."""
    names = draw.choices([n for n in commands(folder) if n != "package export"], k=2)
    before = answers_of(folder / "run/ledger.sqlite")
    context, running = multiprocessing.get_context("fork"), []
    for number, name in enumerate(names):
        log = folder / f"double{number}"
        running.append((context.Process(target=_child, args=(commands(folder)[name], log)), log))
    for process, _ in running:
        process.start()
    for process, _ in running:
        process.join(LIMIT)
        if process.is_alive():
            process.kill()
            raise BrokenError(f"{names} hung")
    said = "".join(log.read_text(errors="replace") for _, log in running)
    if "Traceback (most recent call last)" in said:
        raise BrokenError(f"{names}: a traceback: {said[-400:]}")
    require_whole(folder, before, said)
    failed = any(process.exitcode for process, _ in running)
    return REFUSED if failed else SURVIVED


KINDS = {"kill": kill, "flip": flip, "full": full, "double": double}


def attempt(seed: int, kinds: list[str], home: Path) -> tuple[str, str, str]:
    """(kind, outcome, what broke) of one attempt, on a copy of the home."""
    draw = random.Random(seed)
    kind = draw.choice(kinds)
    with tempfile.TemporaryDirectory(prefix="attack-", dir=home.parent) as name:
        folder = Path(name)
        for part in ("config.yaml", "run", "one.a3dpack"):
            copy = shutil.copytree if (home / part).is_dir() else shutil.copy
            copy(home / part, folder / part)
        (folder / "backups").mkdir()
        try:
            return kind, KINDS[kind](draw, folder), ""
        except BrokenError as error:
            return kind, BROKEN, str(error)
        except Exception as error:
            return kind, BROKEN, f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first attempt")
    parser.add_argument("--attempts", type=int, help="at most so many")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default: all")
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--kinds: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    counts: Counter[tuple[str, str]] = Counter()
    seed, last = args.seed, args.seed + (args.attempts or sys.maxsize)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        home.mkdir()
        make_home(home)
        end = time.monotonic() + 60 * args.minutes
        while time.monotonic() < end and seed < last:
            kind, outcome, why = attempt(seed, kinds, home)
            counts[kind, outcome] += 1
            if outcome == BROKEN:
                print(f"broken: --seed {seed} --attempts 1 ({kind}): {why}", flush=True)
            seed += 1
    print(f"{seed - args.seed} attempts, seeds {args.seed} to {seed - 1}")
    for kind in kinds:
        found = {outcome: counts[kind, outcome] for outcome in (SURVIVED, REFUSED, BROKEN)}
        print(f"  {kind}: " + ", ".join(f"{count} {word}" for word, count in found.items()))
    return int(any(outcome == BROKEN for _, outcome in counts))


if __name__ == "__main__":
    sys.exit(main())
