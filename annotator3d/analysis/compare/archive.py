"""The raw results of an experiment in one archive, from which its report is made.

``results.zip`` holds the experiment file, ``manifest.json`` (every planned run and what became of
it), and of each finished run ``run.json``, ``metrics.jsonl``, ``config.yaml`` and ``picks.jsonl``;
``pools/TASK.json`` has the classes of the pool. Where the scans and runs were is left out. The
same results give the same bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from annotator3d.analysis.compare.picks import PICKS, dump_picks, picks_of
from annotator3d.analysis.compare.placeless import placeless_files
from annotator3d.analysis.compare.plan import Plan, PlannedRun
from annotator3d.analysis.report.classes_asked import pool_classes
from annotator3d.data.files import atomic_write, make_folder, require_file
from annotator3d.data.plain_json import parse_json
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.engine.config.experiment import Experiment, read_experiment
from annotator3d.engine.record import RunRecord
from annotator3d.engine.workdir import WorkDir
from annotator3d.reporter import Reporter

FILE = "results.zip"
EXPERIMENT, MANIFEST = "experiment.yaml", "manifest.json"
FORMAT = 1
_MOST_BYTES = 1 << 30  # of one file in it
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def write_archive(
    path: Path,
    plan: Plan,
    experiment_text: bytes,
    failures: Mapping[str, str],
    amendments: Sequence[Mapping[str, Any]],
    reporter: Reporter,
) -> None:
    """Gather what the runs of a plan have left; the file is replaced in one step.

    Args:
        failures: name of a run -> why it failed.
        amendments: changes of the experiment file after its first run.
    """
    done = [run for run in plan.runs if is_finished(run)]
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, EXPERIMENT, experiment_text)
        manifest = {
            "format": FORMAT,
            "active": list(plan.active),
            "runs": [_entry(run, run in done, failures) for run in plan.runs],
            "amendments": list(amendments),
        }
        _add(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
        for count, run in enumerate(done, start=1):
            picks = dump_picks(picks_of(run.job.work_dir))
            for name, content in {**placeless_files(run), PICKS: picks}.items():
                _add(archive, f"runs/{run.name}/{name}", content)
            reporter.progress("gathering results", count, len(done))
        for task in plan.active:
            if of_task := [run for run in done if run.task == task]:
                _add_pool(archive, of_task, reporter)


def take_pairs(archive: Archive, plan: Plan) -> tuple[list[int], int]:
    """Put the runs of an archive's whole pairs where those of the plan lie, as finished ones.

    A pair that is not whole is left to be run again: its arms start from one source network, which
    no archive holds.

    Returns:
        the seeds of these pairs, and the number of runs that were taken.

    Raises:
        ValueError: a folder of the plan holds another run.
    """
    done = {
        (entry["task"], entry["arm"], entry["seed"])
        for entry in archive.manifest["runs"]
        if entry["state"] == "done"
    }
    seeds: dict[int, list[PlannedRun]] = {}
    for run in plan.runs:
        seeds.setdefault(run.seed, []).append(run)
    whole = {
        seed: runs
        for seed, runs in seeds.items()
        if all((run.task, run.arm, run.seed) in done for run in runs)
    }
    taken = [run for runs in whole.values() for run in runs if not is_finished(run)]
    for run in taken:
        folder = run.job.work_dir
        if folder.path.exists():
            raise ValueError(
                f"{folder.path} holds a part of {run.name}, which {archive.path} holds whole: "
                "delete it, or choose another --out"
            )
        make_folder(folder.path)
        for path in (folder.path / PICKS, *_files_of(folder)):
            with atomic_write(path) as file:
                file.write(archive.read(f"runs/{run.name}/{path.name}"))
    return list(whole), len(taken)


def is_finished(run: PlannedRun) -> bool:
    """Whether its folder holds the finished run of its config, from any checkpoint."""
    folder = run.job.work_dir
    if not folder.config_path.is_file():
        return False
    try:
        kept = read_yaml(folder.config_path)
    except ValueError:
        return False
    config = replace(run.job.config, init=kept.get("init") if isinstance(kept, dict) else None)
    return RunRecord(folder, config, []).is_done()


def _files_of(folder: WorkDir) -> tuple[Path, ...]:
    """What is kept of a run; the last one says that it is done."""
    return folder.metrics_path, folder.config_path, folder.run_info_path


def _entry(run: PlannedRun, done: bool, failures: Mapping[str, str]) -> dict[str, Any]:
    state = "done" if done else "failed" if run.name in failures else "missing"
    why = {"error": failures[run.name]} if state == "failed" else {}
    return {"task": run.task, "arm": run.arm, "seed": run.seed, "state": state, **why}


def _add_pool(archive: zipfile.ZipFile, runs: Sequence[PlannedRun], reporter: Reporter) -> None:
    """The classes of a task's pool, by a run that knows where its scans are."""

    def progress(done: int, total: int) -> None:
        reporter.progress("reading the labels of the pool", done, total)

    run = next((run for run in runs if run.job.work_dir.data_root("train")), runs[0])
    pool = pool_classes(run.job.work_dir, run.job.work_dir.run_info(), progress)
    if pool is not None:
        content = {"points": pool.points.tolist(), "scans": pool.scans, "of": pool.of}
        _add(archive, f"pools/{run.task}.json", json.dumps(content).encode())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


class Archive:
    """The content of a ``results.zip``; use it as a context manager.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of ours, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        require_file(path)
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path}: expected the results.zip of a comparison ({error})"
            ) from None
        try:
            self.manifest = self._manifest()
            self.experiment: Experiment = read_experiment(
                f"{self.path}: {EXPERIMENT}", self.read(EXPERIMENT)
            )
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def has(self, name: str) -> bool:
        return name in self._zip.namelist()

    def read(self, name: str) -> bytes:
        """One file of it. Raises ValueError where it is missing, damaged or absurdly large."""
        try:
            if self._zip.getinfo(name).file_size > _MOST_BYTES:
                raise ValueError(f"{self.path}: {name} is larger than 1 GiB")
            return self._zip.read(name)
        except KeyError:
            raise ValueError(
                f"{self.path}: expected the results.zip of a comparison, there is no {name} in it"
            ) from None
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ValueError(f"{self.path}: {name} is damaged ({error})") from None

    def _manifest(self) -> dict[str, Any]:
        found = parse_json(self.read(MANIFEST))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(
                f"{self.path}: {MANIFEST} is not one of format {FORMAT}; take the version of "
                "annotator3d that wrote it"
            )
        try:
            entries = [(str(run["task"]), run["arm"], int(run["seed"])) for run in found["runs"]]
            whole = set(found["active"]) <= {task for task, _, _ in entries}
            whole = whole and all("state" in run for run in found["runs"])
            whole = whole and isinstance(found["amendments"], list)
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"{self.path}: {MANIFEST} is damaged; take another copy")
        return found
