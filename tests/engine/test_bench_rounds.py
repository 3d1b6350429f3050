"""The benchmark of whole rounds and of training: what it counts, and that it continues."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
if not TOOLS.is_dir():
    pytest.skip("the tools are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(TOOLS))
import bench_rounds  # noqa: E402
import bench_rounds_worker  # noqa: E402

ROUND = bench_rounds.Measured(
    "real", "small", 1, "round", 20.0, 10, {"network": 12.0, "write to the ledger": 2.0}
)
LEDGER = bench_rounds.Measured("simulated", "small", 1, "ledger", 3.0, bench_rounds.FULL, {})


def test_rates_and_extrapolations_are_those_of_the_definition():
    assert ROUND.per_minute == 30
    # 18 of 20 seconds grow with the scans; the ledger takes the 3 seconds that were measured.
    expected = (18 / 10 * bench_rounds.FULL + 3) / 3600
    assert ROUND.hours_of_all(LEDGER) == pytest.approx(expected)
    trained = bench_rounds.Measured("real", "small", 2, "train", 20.0, 10, {})
    assert trained.hours_of_all(LEDGER) == pytest.approx(bench_rounds.FULL * 2 / 3600)


def test_shares_sum_to_the_whole():
    assert ROUND.shares() == "network 60.0 %, rest 30.0 %, write to the ledger 10.0 %"


def test_a_step_inside_another_counts_once():
    now, watch = [0.0], bench_rounds_worker.Stopwatch()

    def take(seconds: float) -> None:
        now[0] += seconds

    def inner() -> None:
        take(2)

    work = SimpleNamespace(inner=inner)
    work.outer = lambda: (take(1), work.inner(), take(4))
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        patched.setattr(bench_rounds_worker.time, "perf_counter", lambda: now[0])
        watch.on(stack, work, "inner", "inner")
        watch.on(stack, work, "outer", "outer")
        work.outer()
        work.inner()
    assert watch.seconds == {"outer": 5, "inner": 4}


@pytest.fixture
def task(make_kitti, tmp_path):
    root = make_kitti(sequences=("00",), scans=2, points=300)
    return {"network": "small", "root": str(root), "scans": ["00/000000", "00/000001"]}


@pytest.mark.parametrize(
    ("part", "steps"),
    [
        ("round", {"read", "network", "score and choose", "write to the ledger", "fingerprints"}),
        ("train", {"read", "forward and loss", "backward and update"}),
        ("ledger", set()),
    ],
)
def test_the_steps_of_a_part_are_measured(part, steps, task, tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    out, folder = tmp_path / "found.json", tmp_path / "work"
    folder.mkdir()
    sent = {**task, "part": part, "folder": str(folder), "out": str(out), "threads": 1}
    bench_rounds_worker.main(json.dumps({**sent, "ledger_scans": 20}))
    found = json.loads(out.read_text())
    assert found["scans"] == (20 if part == "ledger" else 2)
    assert steps <= found["steps"].keys() and all(found["steps"][name] > 0 for name in steps)
    assert 0 <= sum(found["steps"].values()) <= found["seconds"] > 0


@pytest.mark.slow
def test_two_processes_measure_a_round_together(task, tmp_path):
    found = bench_rounds.Bench(tmp_path, "cpu", 1).measure("real", 2, part="round", **task)
    assert (found.scans, found.processes) == (2, 2) and found.steps["network"] > 0
    assert [path.suffix for path in tmp_path.iterdir() if "round" in path.name] == [".json"]


def test_a_stopped_run_continues_and_the_table_is_written(tmp_path, monkeypatch, capsys):
    measured = []

    def run(bench, text: str, processes: int, threads: int) -> None:
        task = json.loads(text)
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append((task["part"], processes))
        found = {"seconds": 2.0 * processes, "scans": 4, "steps": {"network": 1.0}}
        Path(task["out"]).write_text(json.dumps(found))

    monkeypatch.setattr(bench_rounds.Bench, "_run", run)
    options = [str(tmp_path), "--quick", "--network", "small"]
    with pytest.raises(KeyboardInterrupt):
        bench_rounds.main(options)
    measured.append("again")
    assert len(bench_rounds.main(options)) == 4
    assert measured == [
        ("round", 1), ("train", 1), ("round", 2), "again", ("train", 2), ("ledger", 1),
    ]  # fmt: skip
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert "| simulated | small | 1 | round | 120 |" in table
    assert "| simulated | small | 2 | train | 60 | 5.3 | rest 75.0 %, network 25.0 % |" in table


def test_a_measurement_that_fails_says_why(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text("raise ValueError('no scan 7')")
    monkeypatch.setattr(bench_rounds, "WORKER", worker)
    task = {"part": "round", "network": "small", "root": str(tmp_path), "scans": ["00/000000"]}
    with pytest.raises(SystemExit, match="failed:(.|\n)*no scan 7"):
        bench_rounds.Bench(tmp_path, "cpu", 1).measure("real", 1, **task)
    assert not list(tmp_path.glob("*.json"))


def test_a_folder_without_scans_is_named(tmp_path):
    with pytest.raises(SystemExit, match="--data-root: no sequences"):
        bench_rounds.ids_of(tmp_path, 3)


def test_the_worker_reads_the_task_that_is_sent(tmp_path):
    task = bench_rounds_worker.Task("round", "small", "r", ["a/b"], "f", "o", 1)
    sent = json.dumps(bench_rounds.asdict(task))
    assert bench_rounds_worker.Task(**json.loads(sent)) == task
