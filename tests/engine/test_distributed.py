"""Several processes: the same queries, labels and evaluation; one that dies ends all of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import distributed_runs as case
import numpy as np
import pytest
import torch
from processes import ended, ranks, run_ranks
from tiny_runs import tiny_config

from annotator3d.data.batch import InputRule, SampleRequest, TrainingScans, make_sample
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.scan import Scan, VoxelLabels
from annotator3d.engine import distributed
from annotator3d.engine.config.load import dump_config
from annotator3d.engine.distributed import World, joined
from annotator3d.engine.training.checkpoints import Place
from annotator3d.engine.training.loading import batches, training_loader
from annotator3d.errors import ConfigError
from annotator3d.ledger.ledger import Ledger
from annotator3d.models.normalization import BatchNorm

CPU = torch.device("cpu")
TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def root(make_kitti):
    """5 scans in the pool, 3 to evaluate on: neither is a multiple of 2 or 4."""
    root = make_kitti(sequences=("00", "02", "03"), scans=3, points=300)
    make_kitti(sequences=("01",), scans=2, points=300, seed=1)
    return root


def write(config, path: Path) -> Path:
    path.write_text(dump_config(config))
    return path


def ledger_of(work_dir: Path) -> tuple[str, list[str]]:
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return ledger.export_canonical(), [entry.source for entry in ledger.rounds()]


def lines_of(work_dir: Path) -> list[dict]:
    return list(map(json.loads, (work_dir / "metrics.jsonl").read_text().splitlines()))


def log_of(path: Path) -> str:
    return "".join(p.read_text() for p in sorted(path.parent.glob(f"{path.name}.*")))


def test_frozen_weights_ask_and_score_the_same_in_any_number_of_processes(root, tmp_path):
    source = write(
        tiny_config(root, "source_only", schedule={"epochs": 1}), tmp_path / "source.yaml"
    )
    assert run_ranks(1, case.train, source, tmp_path / "source", log=tmp_path / "log") == [0]
    still = {"optimizer": {"type": "SGD", "lr": 0.0}, "batch_size": 1}
    asks = {"queries_per_scan": 2, "max_queries": 7, "rounds_at": [0, 1, 2]}
    config = tiny_config(root, "ada", schedule=still, active=asks)
    config.init = str(tmp_path / "source" / "checkpoints" / "epoch_1.pth")
    path, found = write(config, tmp_path / "config.yaml"), {}
    for size, workers in ((1, 0), (2, 0), (4, 0), (1, 2), (2, 2), (1, 8)):
        folder = tmp_path / f"{size}x{workers}"
        codes = run_ranks(size, case.train_frozen, path, folder, workers, log=tmp_path / "log")
        assert codes == [0] * size, log_of(tmp_path / "log")
        found[size, workers] = *ledger_of(folder), lines_of(folder)
        scored = sorted(map(int, Path(f"{folder}.scored").read_text().split()))
        assert scored == sorted(3 * [len(range(rank, 5, size)) for rank in range(size)])
    canonical, sources, lines = found[1, 0]
    assert canonical.count('"labels"') == 21 and len(set(sources)) == 1 and len(lines) == 3
    assert all(outcome == found[1, 0] for outcome in found.values())
    labelled = [SemanticKITTI(root, ["02"]).read(i).raw_labels != 255 for i in range(3)]
    assert np.sum(lines[-1]["confusion"]) == np.concatenate(labelled).sum()  # each point once


@pytest.mark.parametrize("size", [2, 4])
def test_a_training_keeps_its_budget_and_its_processes_agree(root, tmp_path, size):
    path = write(tiny_config(root, active={"queries_per_scan": 2}), tmp_path / "config.yaml")
    codes = run_ranks(size, case.train, path, tmp_path / "al", log=tmp_path / "log")
    assert codes == [0] * size, log_of(tmp_path / "log")
    with Ledger.read(tmp_path / "al" / "ledger.sqlite") as ledger:
        asked = [(q.scan, q.cell) for q in ledger.queries()]
        assert [ledger.spent(number) for number in (1, 2, 3)] == [10, 10, 10]
        assert len(set(asked)) == 30 and ledger.open_queries() == []
    weights = {p.read_text() for p in tmp_path.glob("al.weights.*")}
    assert len(weights) == 1, "the processes must end with the same weights, statistics included"
    card = json.loads((tmp_path / "al" / "run.json").read_text())
    assert card["state"] == "done" and card["processes"] == size


def test_a_backbone_with_unused_parameters_trains_in_several_processes(root, tmp_path):
    config = tiny_config(root, "target_only", schedule={"epochs": 2})
    config.model.backbone = {**config.model.backbone, "type": "HalfUsed"}
    path = write(config, tmp_path / "config.yaml")
    codes = run_ranks(2, case.train, path, tmp_path / "run", log=tmp_path / "log")
    assert codes == [0, 0], log_of(tmp_path / "log")


def test_labels_that_differ_stop_the_run_and_are_named(root, tmp_path):
    path = write(tiny_config(root), tmp_path / "config.yaml")
    log = tmp_path / "log"
    codes = run_ranks(2, case.train_with_a_lost_label, path, tmp_path / "al", log=log)
    assert codes == [1, 1]
    words = "the labels of process 1 are not those of process 0: 01/000001; start the run again"
    assert log_of(log).count(words) == 1, log_of(log)


def test_datasets_that_differ_are_refused(root, tmp_path, make_kitti):
    # Each process of a machine reads what is below $DATA: here, two machines with other files.
    other = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=310, name="other")
    values = dump_config(tiny_config(root)).replace(str(root), str(tmp_path / "link"))
    (tmp_path / "config.yaml").write_text(values)
    log = tmp_path / "log"
    args = (tmp_path / "config.yaml", tmp_path / "al", [root, other])
    assert run_ranks(2, case.train_on_own_data, *args, log=log) == [1, 1]
    assert "the datasets of process 1 are not those of process 0: data.pool" in log_of(log)
    assert not (tmp_path / "al").exists()


def labelled_samples(counts: list[int]) -> list[dict]:
    random, rule, samples = np.random.default_rng(0), InputRule(5, 1.0), []
    for number, count in enumerate(counts):
        xyz = random.uniform(-6, 6, (150, 3)).astype(np.float32)
        labels = np.full(150, 255, np.uint8)
        labels[:count] = random.integers(0, 5, count)
        scan = Scan.from_raw(f"00/{number:06d}", xyz, random.random(150, np.float32), labels)
        samples.append(make_sample(scan, rule, labels))
    return samples


@pytest.mark.parametrize("counts", [[3, 90, 7, 40], [5, 0, 60, 0]], ids=["uneven", "one has none"])
def test_gradients_of_two_processes_are_those_of_the_joined_batch(tmp_path, counts):
    samples, found = tmp_path / "samples.pt", []
    torch.save(labelled_samples(counts), samples)
    for size in (1, 2):
        path = tmp_path / f"{size}.pt"
        codes = run_ranks(size, case.gradients, samples, path, log=tmp_path / "log")
        assert codes == [0] * size, log_of(tmp_path / "log")
        found.append(torch.load(path, weights_only=True))
    alone, two = found
    assert any(grad.abs().max() > 1e-3 for grad in alone.values())
    for name, grad in alone.items():
        torch.testing.assert_close(two[name], grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_killed_process_ends_the_run_which_then_goes_on_as_if_unbroken(root, tmp_path):
    path = write(tiny_config(root), tmp_path / "config.yaml")
    log = tmp_path / "log"
    assert run_ranks(2, case.train, path, tmp_path / "whole", log=log) == [0, 0], log_of(log)
    broken = ["train", str(path), "--work-dir", str(tmp_path / "broken")]
    with ranks(2, case.killed, 1, 4, *broken, log=log) as processes:
        codes = [ended(process) for process in processes]
    assert codes[1] == -signal.SIGKILL and codes[0] == 1, log_of(log)
    assert "another process of this run has ended" in log_of(log)
    codes = run_ranks(2, case.train, path, tmp_path / "broken", True, log=log)
    assert codes == [0, 0], log_of(log)
    assert ledger_of(tmp_path / "broken") == ledger_of(tmp_path / "whole")
    digests = {p.read_text() for p in tmp_path.glob("*.weights.*")}
    assert len(digests) == 1


def test_sigterm_to_one_process_stops_all_at_the_same_step(root, tmp_path):
    path = write(tiny_config(root), tmp_path / "config.yaml")
    log = tmp_path / "log"
    assert run_ranks(2, case.train, path, tmp_path / "whole", log=log) == [0, 0], log_of(log)
    broken = ["train", str(path), "--work-dir", str(tmp_path / "broken")]
    assert run_ranks(2, case.stopped, 1, 3, *broken, log=log) == [143, 143], log_of(log)
    assert log_of(log).count("saved as epoch_1_step_1.pth") == 1
    assert run_ranks(2, case.train, path, tmp_path / "broken", True, log=log) == [0, 0]
    digests = {p.read_text() for p in tmp_path.glob("*.weights.*")}
    assert len(digests) == 1 and ledger_of(tmp_path / "broken") == ledger_of(tmp_path / "whole")


def test_torchrun_names_the_cause_and_does_not_hang(root, tmp_path):
    path = write(tiny_config(root), tmp_path / "config.yaml")
    (root / "sequences" / "01" / "velodyne" / "000000.bin").write_bytes(b"12345")
    run = subprocess.run(
        ["bash", str(TOOLS / "dist_train.sh"), "2", str(path), "--work-dir", str(tmp_path / "al")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode != 0
    assert run.stderr.count("annotator3d train: ") == 1 and "000000.bin" in run.stderr


SLURM = {  # stand-ins for SLURM's commands, and for Python: each task tells what it was given
    "scontrol": '[ "$*" = "show hostnames n[1-2]" ] && printf "n1\\nn2\\n"',
    "srun": 'shift; for i in 0 1 2; do SLURM_PROCID=$i SLURM_LOCALID=$((i % 2)) "$@"; done',
    "python": 'echo "$RANK/$WORLD_SIZE $LOCAL_RANK $MASTER_ADDR:$MASTER_PORT $*"',
}


def test_each_slurm_task_is_a_process_of_the_run_and_resumes(tmp_path):
    for name, text in SLURM.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {"SLURM_JOB_ID": "41234", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NTASKS": "3"}
    run = subprocess.run(
        ["bash", str(TOOLS / "slurm_train.sh"), "al/x", "--work-dir", "a b"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": "/repo", **given},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        f"{rank}/3 {rank % 2} n1:21234 /repo/tools/train.py al/x --work-dir a b --resume"
        for rank in range(3)
    ]


@pytest.mark.parametrize("script", ["dist_train.sh", "slurm_train.sh"])
def test_a_script_without_arguments_explains_itself(script):
    run = subprocess.run(["bash", str(TOOLS / script)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2 and f"tools/{script}" in run.stderr


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK is None; start several processes with"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "but MASTER_PORT is None"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
    ],
)
def test_an_environment_that_says_half_is_refused(monkeypatch, env, words):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words), joined(CPU):
        pass


@pytest.mark.parametrize(
    ("rank", "listens", "words"), [(0, True, "EADDRINUSE"), (1, False, "timed out")]
)
def test_processes_that_do_not_meet_are_told_where_they_looked(monkeypatch, rank, listens, words):
    monkeypatch.setattr(distributed, "START_TIMEOUT", timedelta(seconds=1))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listens:
            taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        for name, value in (("RANK", rank), ("WORLD_SIZE", 2)):
            monkeypatch.setenv(name, str(value))
        for name, value in zip(("MASTER_ADDR", "MASTER_PORT"), place.split(":"), strict=True):
            monkeypatch.setenv(name, value)
        said = f"process {rank} of 2 did not meet the others at {place}: .*{words}.* Check that"
        with pytest.raises(RuntimeError, match=said), joined(CPU):
            pass


def test_leaving_a_run_does_not_hang(tmp_path):
    for _ in range(12):  # each would hang with a probability of about a quarter
        codes = run_ranks(2, case.leave_at_once, log=tmp_path / "log")
        assert codes == [0, 0], log_of(tmp_path / "log")


def test_a_share_holds_every_item_once():
    items = range(11)
    for size in (1, 2, 4, 16):
        shares = [list(World(rank, size).share(items)) for rank in range(size)]
        assert sorted(sum(shares, [])) == list(items)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_workers_that_live_on_see_new_labels_and_the_epoch(root):
    base = SemanticKITTI(root, ["00"])
    scans = TrainingScans(base, InputRule(19, 4.0), seed=3, query_size=4.0, answers={})
    loader = training_loader(scans, 3, 0, workers=2, device=CPU)
    alone = training_loader(scans, 3, 0, workers=0, device=CPU)
    seen = []
    for epoch in range(3):
        if epoch == 1:
            cell = tuple(np.floor(base.read(0).xyz[0] / np.float32(4)).astype(int).tolist())
            same = (np.floor(base.read(0).xyz / np.float32(4)) == cell).all(1)
            scans.answers = {"00/000000": [VoxelLabels(cell, np.full(same.sum(), 7, np.uint8), 1)]}
        (batch,), (expected,) = batches(loader, epoch), batches(alone, epoch)
        assert batch["ids"] == expected["ids"]
        assert torch.equal(batch["features"], expected["features"])
        assert torch.equal(batch["target"], expected["target"])
        seen.append((batch["target"] != 255).sum().item())
        if epoch == 0:
            workers = [worker.pid for worker in loader._iterator._workers]
    assert seen[0] == 0 and seen[1] > 0
    assert [worker.pid for worker in loader._iterator._workers] == workers


def test_an_epoch_goes_on_from_any_step_with_the_scans_that_are_left(root):
    scans = TrainingScans(SemanticKITTI(root, ["00", "01"]), InputRule(19, 4.0), seed=3)
    for workers in (0, 2):
        loader = training_loader(scans, 2, 0, workers=workers, device=CPU)
        whole = [batch["ids"] for batch in batches(loader, 1)]
        assert len(whole) == len(loader) == 3
        for step in range(4):
            assert [batch["ids"] for batch in batches(loader, 1, step)] == whole[step:]


def test_our_batch_norm_becomes_torchs_synchronised_one():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), BatchNorm(4))
    model(torch.randn(10, 3))
    synced = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(synced[1], torch.nn.SyncBatchNorm)
    assert synced.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(synced[1].running_mean, model[1].running_mean)


def test_a_request_has_the_answers_of_its_moment(root):
    scans = TrainingScans(SemanticKITTI(root, ["00"]), InputRule(19, 4.0), seed=3, answers={})
    assert scans.request(1) == SampleRequest(1, 0, ())
    scans.epoch, scans.answers = 5, {"00/000001": ["an answer"]}
    assert scans.request(1) == SampleRequest(1, 5, ["an answer"])
    assert Place.of("epoch_3_step_17.pth") == Place(3, 17) and Place.of("epoch_x.pth") is None
