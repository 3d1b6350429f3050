"""`annotator3d doctor --gpu`: its logic with faked steps and machine, its checks on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from annotator3d.cli.gpu_check import checks, machine, plan
from annotator3d.cli.gpu_check.run import check_gpu
from annotator3d.cli.gpu_check.steps import FIGURES, Outcome, Step, run_process, run_steps
from annotator3d.cli.gpu_check.table import markdown
from annotator3d.cli.main import main
from annotator3d.models.sparse_library import LIBRARIES, VARIABLE

MACHINE = {"device": "NVIDIA Test 1", "driver": "999.1", "torch": "2.13.0, CUDA 13.0"}


class FakeTime:
    """A clock, and steps that take what their command says: seconds, exit code, output."""

    def __init__(self) -> None:
        self.now, self.started = 0.0, []

    def __call__(self) -> float:
        return self.now

    def execute(self, step: Step, limit: float) -> tuple[int, str]:
        self.started.append((step.name, limit))
        seconds, code, output = step.command
        if isinstance(code, BaseException):
            raise code
        if seconds > limit:
            self.now += limit
            raise subprocess.TimeoutExpired("it", limit)
        self.now += seconds
        return code, output


def step(name: str, seconds: float = 1, code=0, output: str = "", **more) -> Step:
    return Step(name, (seconds, code, output), **{"limit": 50, **more})


def ran(steps: list[Step], total: float = 600) -> tuple[list[Outcome], FakeTime]:
    time = FakeTime()
    return run_steps(steps, total, lambda outcomes: None, time.execute, time), time


def test_steps_run_in_their_order_and_a_bad_one_stops_no_other():
    outcomes, time = ran(
        [
            step("first", output=f'noise\n{FIGURES}{{"asked": 8}}\n'),
            step("fails", code=1, output="what\nis wrong\n"),
            step("crashes", code=-11),
            step("cannot start", code=OSError("no such file")),
            step("hangs", seconds=1000),
            step("not here", skip="no nvcc"),
            step("last"),
        ]
    )
    assert [name for name, _ in time.started] == [
        "first", "fails", "crashes", "cannot start", "hangs", "last",
    ]  # fmt: skip
    assert [o.state for o in outcomes] == [
        "passed", "failed", "failed", "failed", "timed out", "skipped", "passed",
    ]  # fmt: skip
    words = {o.name: o.words for o in outcomes}
    assert outcomes[0].figures == {"asked": 8} and words["first"] == ""
    assert words["fails"] == "what is wrong"
    assert "SIGSEGV" in words["crashes"] and "no such file" in words["cannot start"]
    assert words["hangs"] == "stopped after 50 s" and words["not here"] == "no nvcc"
    assert outcomes[4].seconds == 50


def test_the_time_for_all_steps_bounds_each_and_is_never_passed():
    outcomes, time = ran([step("a", 40), step("b", 40), step("c", 40), step("d", 40)], total=100)
    assert time.started == [("a", 50), ("b", 50), ("c", 20)] and time.now == 100
    assert [o.state for o in outcomes] == ["passed", "passed", "timed out", "skipped"]
    assert outcomes[3].words == "no time was left for it"


@pytest.mark.parametrize("output", ["", "figures: ", 'figures: {"a"', "figures: [1]"])
def test_figures_that_were_cut_off_do_not_fail_a_step(output):
    (outcome,), _ = ran([step("a", output=output)])
    assert (outcome.state, outcome.figures) == ("passed", {})


def test_the_table_is_there_after_every_step_and_when_it_is_stopped(tmp_path):
    table, said, seen, time = tmp_path / "t.md", [], [], FakeTime()

    def execute(each: Step, limit: float) -> tuple[int, str]:
        seen.append(table.read_text() if table.exists() else "")
        if each.name == "c":
            raise KeyboardInterrupt
        return time.execute(each, limit)

    steps = [step("a"), step("b", code=1, output="bad"), step("c"), step("d")]
    with pytest.raises(KeyboardInterrupt):
        check_gpu(steps, table, said.append, execute=execute, describe=lambda: MACHINE)
    assert seen[0] == "" and "| a | passed |" in seen[1] and "| b | failed: bad |" in seen[2]
    assert "| 2 more | not run |" in table.read_text() and "| c |" not in table.read_text()
    assert said == ["[1/4] a: passed", "[2/4] b: failed: bad"]


def test_the_table_can_be_pasted(tmp_path):
    outcomes = [
        Outcome("a|b", "passed", 3.4, "", {"memory (GB)": 1.23456, "asked": 8}),
        Outcome("c", "failed", 1, "line\nbreak | pipe " + "x" * 1000),
        Outcome("d", "skipped", 0, "no nvcc"),
    ]
    text = markdown("2026-01-02", MACHINE, outcomes, 3)
    lines = text.splitlines()
    assert lines[0] == "### NVIDIA Test 1, 2026-01-02"
    assert "| driver | 999.1 |" in lines and "1 of 3 steps passed, in 4 s." in lines
    assert "| a\\|b | passed | 3 | memory (GB) 1.23; asked 8 |" in lines
    assert "| d | skipped: no nvcc |  |  |" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert all(len(line.replace("\\|", "").split("|")) == 6 for line in rows[-5:])


@pytest.mark.parametrize(
    ("kinds", "good"),
    [("pp", True), ("ps", True), ("pf", False), ("pl", False), ("ss", False)],
)
def test_it_passes_only_where_something_passed_and_nothing_failed(kinds, good, tmp_path):
    made = {
        "p": step("passes"),
        "f": step("fails", code=1),
        "l": step("is late", seconds=1000),
        "s": step("is skipped", skip="no"),
    }
    args = ([made[kind] for kind in kinds], tmp_path / "t.md", lambda words: None)
    time = FakeTime()
    assert check_gpu(*args, execute=time.execute, describe=lambda: MACHINE) == good


def test_a_real_process_gives_output_and_is_ended_with_its_children_when_late(tmp_path):
    code, output = run_process(
        Step("a", [sys.executable, "-c", "import os; print(os.environ['X']); exit(3)"], 60,
             environment={"X": "seen"}), 60,
    )  # fmt: skip
    assert (code, output.strip()) == (3, "seen")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    child = f"import time; f = open({str(fifo)!r}, 'w'); print(1, file=f, flush=True); "
    child += "time.sleep(600)"
    script = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); "
    script += "time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        run_process(Step("late", [sys.executable, "-c", script], 5), 5)
    os.set_blocking(reader, True)
    with open(reader) as file:
        assert file.read() in ("1\n", "")  # ends when nobody has it open: the child is gone


def test_the_plan_has_what_matters_first_and_fits_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "find_nvcc", lambda: "/usr/bin/nvcc")
    root = plan.checkout()
    if root is None:
        pytest.skip("the tests run without the checkout")
    steps = plan.make_plan(root, tmp_path, "/data/kitti")
    names = [each.name for each in steps]
    assert names[0] == "build of the CUDA library" and len(set(names)) == len(names)
    for setting in ("AL", "ADA"):
        for precision in ("fp16", "bf16"):
            assert f"{setting} round, {precision}" in names
    assert [each.environment.get(VARIABLE) for each in steps if "convolution" in each.name] == [
        library.name for library in LIBRARIES
    ]
    assert names[-2:] == ["kernels' benchmark", "training benchmark"]
    for each in steps[-2:]:
        assert Path(each.command[1]).is_file() and "/data/kitti" in each.command
    assert plan.TOTAL <= 600


def test_an_installed_package_checks_what_needs_no_checkout(tmp_path):
    steps = {each.name: each for each in plan.make_plan(None, tmp_path)}
    skipped = {name for name, each in steps.items() if "checkout" in each.skip}
    assert skipped == {
        "build of the CUDA library", "tests marked cuda", "kernels' benchmark",
        "training benchmark",
    }  # fmt: skip


def test_without_nvcc_the_build_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "find_nvcc", lambda: None)
    assert "no nvcc" in plan.make_plan(tmp_path, tmp_path)[0].skip


def test_pytest_and_benchmarks_are_read(tmp_path):
    assert plan.read_pytest("...\n= 1 failed, 88 passed, 2 skipped in 9s =") == {
        "failed": 1, "passed": 88, "skipped": 2,
    }  # fmt: skip
    file = tmp_path / "f.json"
    with pytest.raises(ValueError, match="was not written"):
        plan.read_figures(file)
    file.write_text('{"vcd": {"ms": 0.5, "ratio": null}}')
    assert plan.read_figures(file) == {"vcd ms": 0.5}


def test_a_machine_without_a_gpu_is_told_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CUDACXX", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.shutil, "which", lambda name, path=None: None)
    table = tmp_path / "t.md"
    assert main(["doctor", "--gpu", "--table", str(table)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("nothing was checked, since no GPU can be used here:")
    for words in ("no NVIDIA driver", "built for the CPU only", "no nvcc"):
        assert words in said
    assert not table.exists()


def test_a_hidden_device_is_told_from_a_missing_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(machine, "_driver", lambda: "580.1")
    monkeypatch.setattr(machine.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    assert machine.missing() == ["torch finds no CUDA device: is CUDA_VISIBLE_DEVICES empty?"]


@pytest.mark.parametrize(
    "options", [["--table", "x.md"], ["--data-root", "x"], ["--gpu", "--json"]]
)
def test_options_that_do_not_belong_together_are_refused(options, capsys):
    assert main(["doctor", *options]) == 2
    assert "--gpu" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_refused_before_anything_runs(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(machine, "missing", lambda: [])
    assert main(["doctor", "--gpu", "--table", str(tmp_path / "no/t.md")]) != 0
    assert "--table: there is no folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "args"),
    [("kernels", ()), ("convolution", ()), ("round", ("ada", "fp32")), ("resume", ())],
)
def test_the_checks_pass_where_both_sides_are_the_cpu(name, args, tmp_path, monkeypatch):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path / "cache"))
    folder = [str(tmp_path / "run")] if name in ("round", "resume") else []
    figures = checks.CHECKS[name](*args, *folder, device="cpu")
    assert figures and all(value is not None for value in figures.values())


def test_picks_that_differ_between_devices_are_seen(monkeypatch):
    select, calls = checks.select_voxels, []

    def wrong_at_last(*args, **more):
        calls.append(None)
        found = select(*args, **more)
        if len(calls) == 2:
            found.scores[0, 0] += 1
        return found

    monkeypatch.setattr(checks, "select_voxels", wrong_at_last)
    with pytest.raises(checks.CheckError, match="vcd: scores differ between CPU and GPU"):
        checks.kernels("cpu")


def test_a_network_that_differs_between_devices_is_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("ANNOTATOR3D_CACHE", str(tmp_path))
    network, made = checks._network, []

    def other_at_last(*args):
        model = network(*args)
        made.append(model)
        if len(made) == 2:
            with torch.no_grad():
                next(model.parameters()).mul_(-1)  # batch norm hides a scale
        return model

    monkeypatch.setattr(checks, "_network", other_at_last)
    with pytest.raises(checks.CheckError, match="logits differ|gradients differ"):
        checks.convolution("cpu")


def test_a_check_that_fails_says_why_and_ends_with_1(monkeypatch, capsys):
    monkeypatch.setitem(checks.CHECKS, "kernels", lambda: checks.require(False, "they differ"))
    assert checks.main(["kernels"]) == 1 and capsys.readouterr().out == "they differ\n"
    monkeypatch.setitem(checks.CHECKS, "kernels", lambda: {"scans": 3})
    assert checks.main(["kernels"]) == 0
    assert capsys.readouterr().out == FIGURES + '{"scans": 3}\n'


def test_a_step_of_the_plan_can_be_started_from_anywhere(tmp_path):
    """The modules are found in a process of its own; without a GPU it fails in words."""
    (each,) = [s for s in plan.make_plan(None, tmp_path) if s.name.startswith("same picks")]
    env = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    alone = Step(each.name, each.command, 120, environment=env)
    code, output = run_process(alone, 120)
    assert code == 1 and "the CUDA library is not used" in output
