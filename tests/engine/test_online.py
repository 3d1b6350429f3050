"""Online selection: by the step's own forward pass, in the ledger before its loss, replayed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from annotator3d.engine.config.load import dump_config, make_config
from annotator3d.engine.rounds import online
from annotator3d.engine.rounds.select_only import select_only
from annotator3d.engine.run import train
from annotator3d.errors import ConfigError
from annotator3d.kernels.selection import VoxelPick
from annotator3d.ledger.ledger import Ledger, ScanRecord
from annotator3d.models import segmentor

ONLINE = {"when": "online", "first_round": "self"}


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)


def rounds_of(work_dir):
    """Round -> scan -> cells, in the order of their rank."""
    found = defaultdict(lambda: defaultdict(list))
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        for query in ledger.queries():
            found[query.round][query.scan].append(query.cell)
        return {r: dict(scans) for r, scans in found.items()}, ledger.export_canonical()


def confusion_by_cell(xyz, classes, size):
    """Cell -> entropy in bits of the classes of its points: a dictionary and a loop."""
    members = defaultdict(list)
    for point, label in zip(xyz, classes, strict=True):
        members[tuple(math.floor(np.float32(c) / np.float32(size)) for c in point)].append(label)
    return {
        cell: -sum(n / len(m) * math.log2(n / len(m)) for n in Counter(m).values())
        for cell, m in members.items()
    }


def majority_by_voxel(point_to_voxel, labels, count):
    """Most frequent label but 255 of each voxel, the lowest of several; 255 without any."""
    votes = [Counter() for _ in range(count)]
    for voxel, label in zip(point_to_voxel, labels, strict=True):
        if label != 255:
            votes[voxel][label] += 1
    return [min(v, key=lambda c: (-v[c], c)) if v else 255 for v in votes]


@pytest.mark.parametrize("rule", ["any", "first"])
def test_each_step_asks_by_its_own_forward_pass_and_trains_on_the_answers(
    root, tmp_path, monkeypatch, rule
):
    config = tiny_config(
        root, active={**ONLINE, "queries_per_scan": 2}, model={"target_rule": rule}
    )
    inner, loss, steps, trained_on = (
        online.OnlineRound.__call__,
        segmentor.segmentation_loss,
        0,
        [],
    )

    def watch_loss(logits, target, *args):
        trained_on.append(target.tolist())
        return loss(logits, target, *args)

    def check(self, batch, logits):
        nonlocal steps
        steps += 1
        before = self.ledger.spent()
        target = inner(self, batch, logits)
        assert self.ledger.spent() == before + 2 * len(batch["scans"]), "asked before the loss"
        classes = logits.argmax(1)[batch["point_to_voxel"]].split(batch["num_points"].tolist())
        wanted = []
        for b, scan in enumerate(batch["scans"]):
            start, stop = batch["splits"][b : b + 2].tolist()
            score = confusion_by_cell(scan.xyz, classes[b].tolist(), 4.0)
            mine = self.ledger.queries(self.plan.number, scan.id)
            earlier = {q.cell for q in self.ledger.queries(scan=scan.id)} - {q.cell for q in mine}
            best = sorted((s for cell, s in score.items() if cell not in earlier), reverse=True)
            assert [score[q.cell] for q in mine] == pytest.approx(best[:2], abs=1e-6)
            asked = earlier | {q.cell for q in mine}
            cells = np.floor(scan.xyz / np.float32(4.0)).astype(int)
            labelled = [tuple(c) in asked for c in cells]
            labels = np.where(labelled, scan.labels, 255).tolist()
            points = slice(*np.cumsum([0, *batch["num_points"]])[b : b + 2])
            inside = (batch["point_to_voxel"][points] - start).tolist()
            if rule == "any":
                wanted += majority_by_voxel(inside, labels, stop - start)
            else:
                first = {v: label for v, label in zip(inside[::-1], labels[::-1], strict=True)}
                wanted += [first[v] for v in range(stop - start)]
        wanted_of_step.append(wanted)
        assert target.tolist() == wanted
        return target

    wanted_of_step = []
    monkeypatch.setattr(segmentor, "segmentation_loss", watch_loss)
    monkeypatch.setattr(online.OnlineRound, "__call__", check)
    train(config, tmp_path / "al")
    assert steps == 3 * 2  # three active epochs of two batches, and none in the fourth
    assert trained_on[1 : steps + 1] == wanted_of_step  # the first is the step that is tried


def test_scans_are_scored_augmented_and_in_train_mode(root, tmp_path, monkeypatch):
    seen = []
    inner = online.OnlineRound.__call__

    def watch(self, batch, logits):
        raw = np.concatenate([scan.xyz for scan in batch["scans"]])
        seen.append(np.abs(batch["features"].mean(0)[:3].numpy() - raw.mean(0)).max())
        return inner(self, batch, logits)

    modes, scores = [], segmentor.Segmentor._outputs

    def note(self, batch):
        modes.append(self.training)
        return scores(self, batch)

    monkeypatch.setattr(segmentor.Segmentor, "_outputs", note)
    monkeypatch.setattr(online.OnlineRound, "__call__", watch)
    train(tiny_config(root, active={**ONLINE, "rounds_at": [0]}), tmp_path / "al")
    assert len(seen) == 2 and min(seen) > 0.05  # the mean point of an augmented scan has moved
    assert modes[:2] == [True, True]


def test_budget_stride_and_small_scans(root, tmp_path):
    path = root / "sequences" / "00" / "velodyne" / "000000.bin"
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    points[:, :3] = points[:, :3] * 0.01 + 1  # one voxel of 4 m holds the whole scan
    points.tofile(path)
    active = {**ONLINE, "queries_per_scan": 3, "stride": 3}
    train(tiny_config(root, active=active), tmp_path / "al")
    found, _ = rounds_of(tmp_path / "al")
    assert {scan for scans in found.values() for scan in scans} == {"00/000000", "01/000001"}
    assert [len(found[1][s]) for s in ("00/000000", "01/000001")] == [1, 3]
    assert "00/000000" not in found[2], "its only voxel was asked about in round 1"
    everything = [(s, c) for scans in found.values() for s, cells in scans.items() for c in cells]
    assert len(set(everything)) == len(everything) == 1 + 3 * 3


def test_workers_and_source_batches_change_no_pick(root, tmp_path):
    expected = None
    for workers in (0, 2):
        config = tiny_config(root, active=ONLINE, schedule={"workers": workers})
        train(config, tmp_path / f"w{workers}")
        _, canonical = rounds_of(tmp_path / f"w{workers}")
        assert expected in (None, canonical)
        expected = canonical
    source = train(tiny_config(root, "source_only", schedule={"epochs": 1}), tmp_path / "source")
    init = str(source.work_dir.checkpoints / "epoch_1.pth")
    train(tiny_config(root, "ada", init=init, active=ONLINE), tmp_path / "ada")
    found, _ = rounds_of(tmp_path / "ada")
    assert {scan[:2] for scans in found.values() for scan in scans} == {"00", "01"}


# Imports once, then forks a run for each kill point; a run kills itself at its n-th event.
PARENT = textwrap.dedent(
    """
    import os, signal, sys
    from annotator3d.cli import main as cli
    from annotator3d.ledger.ledger import Ledger
    from annotator3d.engine.training import runner; from annotator3d.engine import run
    import annotator3d.engine.record

    left = 0

    def event():
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, name):
        inner = getattr(owner, name)
        def wrapped(*args, **kwargs):
            event()
            result = inner(*args, **kwargs)
            event()
            return result
        setattr(owner, name, wrapped)

    for owner, name in (
        (Ledger, "add_round"), (Ledger, "register_scans"), (Ledger, "fill_round"),
        (Ledger, "record"), (runner.TrainLoop, "run_iter"), (os, "replace"),
    ):
        around(owner, name)
    config, *starts = sys.argv[1:]
    for start in starts:
        kill, work_dir = start.split("=")
        pid = os.fork()
        if pid == 0:
            left = int(kill)
            os._exit(cli.main(["train", config, "--work-dir", work_dir, "--resume"]))
        _, status = os.waitpid(pid, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)
    """
)


def test_a_run_killed_between_and_within_steps_ends_as_the_unbroken_one(root, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(tiny_config(root, active={**ONLINE, "queries_per_scan": 2})))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    # Each start gets a little further: into the first step's picks, answers, steps and files.
    kills = (4, 8, 11, 12, 17, 24, 33, 0)
    starts = [f"0={whole}", *(f"{kill}={broken}" for kill in kills)]
    process = subprocess.run(
        [sys.executable, "-c", PARENT, str(path), *starts],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    ends = [line.split()[1] for line in process.stdout.splitlines() if line.startswith("ended")]
    assert ends == ["0", *["-9"] * 7, "0"], process.stderr[-2000:]
    (_, expected), (found, got) = rounds_of(whole), rounds_of(broken)
    assert got == expected
    assert [len(cells) for scans in found.values() for cells in scans.values()] == [2] * 12
    weights = [
        torch.load(folder / "checkpoints" / "epoch_4.pth", weights_only=True)["state_dict"]
        for folder in (whole, broken)
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ("active", "words"),
    [
        ({"oracle": "person"}, "only the oracle 'truth' can answer, not 'person'"),
        ({"max_queries": 9}, "active.max_queries: online selection sees one scan after the other"),
        ({"when": "onlin"}, "active.when: expected round or online, got 'onlin'"),
    ],
)
def test_what_cannot_go_along_is_refused(active, words):
    with pytest.raises(ConfigError, match=words):
        make_config({"active": {"when": "online", **active}})
    make_config({"setting": "source_only", "active": {"when": "online", "max_queries": 9}})


def test_several_processes_are_refused():
    config = make_config({"active": {"when": "online"}})
    with pytest.raises(ConfigError, match="online selection runs in one process, this run has 2"):
        online.refuse_several_processes(config, 2)
    online.refuse_several_processes(config, 1)
    online.refuse_several_processes(make_config({}), 2)


def test_select_has_no_training_step_to_select_in(root, tmp_path):
    config = tiny_config(root, active={**ONLINE, "strategy": "random"})
    with pytest.raises(ConfigError, match="active.when: online .* --set active.when=round"):
        select_only(config, tmp_path / "w")


def test_a_round_is_filled_scan_by_scan_and_never_over_its_budget(tmp_path):
    def pick(x, score=0.5):
        return VoxelPick((x, 0, 0), score, 2, np.arange(2))

    with Ledger.open(tmp_path / "l.sqlite", ["a"], "digest") as ledger:
        ledger.register_scans(ScanRecord(f"00/{i}", "f", 9) for i in range(3))
        ledger.add_round(1, "vcd", 0, 2, {}, source="online", planned=4)
        asked = ledger.fill_round(1, {"00/1": [pick(0), pick(1)]})
        assert [(q.scan, q.cell[0], q.rank) for q in asked] == [("00/1", 0, 0), ("00/1", 1, 1)]
        before = ledger.export_canonical()
        for queries, words in (
            ({"00/0": [pick(0)], "00/1": [pick(5)]}, "00/1"),  # asked about in this round
            ({"00/0": [pick(0), pick(1), pick(2)]}, "more queries for one scan than the budget"),
            ({"00/0": [pick(0), pick(1)], "00/2": [pick(0)]}, "this round is complete"),
            ({"00/7": [pick(0)]}, "scan 00/7 is not registered"),
            ({"00/0": [pick(0), pick(0)]}, "a voxel is never asked twice"),
            ({"00/0": [pick(0, math.nan)]}, "is not finite"),
        ):
            with pytest.raises(ValueError, match=words):
                ledger.fill_round(1, queries)
            assert ledger.export_canonical() == before, "all or nothing"
        ledger.fill_round(1, {"00/0": [pick(0)]})
        ledger.add_round(2, "vcd", 0, 2, {"00/2": [pick(0)]})
        with pytest.raises(ValueError, match="this round is complete"):
            ledger.fill_round(2, {"00/1": [pick(9)]})
