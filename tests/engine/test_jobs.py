"""Runs side by side: order, reuse, and what happens when one fails or the user stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tiny_runs import tiny_config

from annotator3d.engine.jobs import Job, is_done, last_checkpoint, run_jobs
from annotator3d.engine.run import train
from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter

HERE = Path(__file__).parents[1] / "support"


@pytest.fixture
def root(make_kitti):
    return make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=200)


def test_a_job_starts_from_anothers_checkpoint_and_finished_ones_are_kept(root, tmp_path):
    source = Job(
        "s", tiny_config(root, "source_only", schedule={"epochs": 1}), WorkDir(tmp_path / "s")
    )
    ada = Job("a", tiny_config(root, "ada"), WorkDir(tmp_path / "a"), starts_from="s")
    assert run_jobs([ada, source], Reporter()) == 2
    before = last_checkpoint(ada).stat().st_mtime_ns
    assert run_jobs([ada, source], Reporter()) == 0
    assert last_checkpoint(ada).stat().st_mtime_ns == before


def test_a_failing_job_is_named_and_queued_ones_do_not_begin(root, tmp_path):
    bad = tiny_config(root, "source_only")
    bad.data.source = {**bad.data.source, "sequences": ["77"]}
    jobs = [Job("bad", bad, WorkDir(tmp_path / "bad"))]
    jobs += [Job(f"j{i}", tiny_config(root), WorkDir(tmp_path / f"j{i}")) for i in range(3)]
    with pytest.raises(RuntimeError, match="bad: data.source: sequence '77' has no folder"):
        run_jobs(jobs, Reporter(), workers=1)
    assert not any((tmp_path / f"j{i}").exists() for i in range(3))


def test_a_job_that_fails_takes_along_only_what_starts_from_it(root, tmp_path):
    bad = tiny_config(root, "source_only")
    bad.data.source = {**bad.data.source, "sequences": ["77"]}
    jobs = [
        Job("bad", bad, WorkDir(tmp_path / "bad")),
        Job("ada", tiny_config(root, "ada"), WorkDir(tmp_path / "ada"), starts_from="bad"),
        Job("al", tiny_config(root), WorkDir(tmp_path / "al")),
    ]
    why = {}
    assert run_jobs(jobs, Reporter(), workers=1, failed=why.__setitem__) == 3
    assert "sequence '77' has no folder" in why["bad"]
    assert why["ada"] == "it starts from bad, which failed"
    assert set(why) == {"bad", "ada"} and is_done(jobs[2])


def test_a_run_whose_process_dies_takes_no_other_along(root, tmp_path):
    doomed = tiny_config(root, schedule={"epochs": 5000})
    jobs = [Job("doomed", doomed, WorkDir(tmp_path / "doomed"))]
    for name in ("one", "two", "three"):  # the last one takes the place of the doomed
        jobs.append(Job(name, tiny_config(root), WorkDir(tmp_path / name)))

    def kill_the_doomed(name, state):
        if (name, state) == ("one", "ended"):
            os.kill(jobs[0].work_dir.run_info()["pid"], signal.SIGKILL)

    why = {}
    run_jobs(jobs, Reporter(), workers=2, changed=kill_the_doomed, failed=why.__setitem__)
    assert list(why) == ["doomed"] and "its process was killed" in why["doomed"]
    assert all(is_done(job) for job in jobs[1:])


def test_a_job_waits_for_another_process_that_works_in_its_folder(root, tmp_path):
    job = Job("j", tiny_config(root), WorkDir(tmp_path / "j"))
    said = []

    class Hears(Reporter):
        def info(self, text):
            said.append(text)
            if text.endswith("; waiting"):
                held.close()

    held = ExitStack()
    held.enter_context(job.work_dir.lock())
    assert run_jobs([job], Hears(), workers=1) == 1
    assert any("another process is working in" in text for text in said) and is_done(job)


def test_a_job_that_another_process_has_ended_meanwhile_is_not_trained_again(root, tmp_path):
    job = Job("j", tiny_config(root), WorkDir(tmp_path / "j"))
    said = []

    class Hears(Reporter):
        def info(self, text):
            said.append(text)
            if text.endswith("; waiting"):
                train(job.config, job.work_dir, resume=True)
                held.close()

    held = ExitStack()
    held.enter_context(job.work_dir.lock(".claim"))
    run_jobs([job], Hears(), workers=1)
    assert is_done(job) and not any("epoch" in text for text in said)


LONG = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from tiny_runs import tiny_config
    from annotator3d.engine.jobs import Job, run_jobs
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.reporter import Reporter

    if __name__ == "__main__":
        root, out = Path(sys.argv[1]), Path(sys.argv[2])
        config = tiny_config(root, schedule={"epochs": 5000})
        jobs = [Job(f"j{i}", config, WorkDir(out / f"j{i}")) for i in range(3)]
        run_jobs(jobs, Reporter(), workers=1)
    """
)


def group_members(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    found += [int(entry.name)] if state != "Z" else []
            except (ProcessLookupError, FileNotFoundError):
                continue
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_stopping_the_experiment_stops_its_runs(root, tmp_path, how):
    script = tmp_path / "long.py"
    script.write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, str(script), str(root), str(tmp_path / "out"), str(HERE)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "out" / "j0" / "checkpoints" / "epoch_1.pth").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            process.kill()
        process.wait(timeout=60)
        deadline = time.monotonic() + 60
        while group_members(process.pid):
            assert time.monotonic() < deadline, "a run went on without its experiment"
            time.sleep(0.02)
        assert not (tmp_path / "out" / "j1").exists()
    finally:
        for pid in group_members(process.pid):
            os.kill(pid, signal.SIGKILL)
