"""The runs of an experiment as its archive holds them, and the score that each arm has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.analysis.compare.archive import Archive
from annotator3d.analysis.compare.budget import area, common_range
from annotator3d.analysis.compare.compared_run import ComparedRun
from annotator3d.analysis.compare.folds import pool_folds
from annotator3d.analysis.compare.picks import parse_picks
from annotator3d.analysis.compare.plan import compared_tasks, seeds_of
from annotator3d.analysis.runs import Run, read_run
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.config.experiment import Experiment
from annotator3d.engine.workdir import WorkDir

Key = tuple[str, str | None, int]  # task, arm (None: a task without arms), seed


@dataclass(frozen=True)
class Results:
    """All finished runs of an experiment and the state of the others."""

    experiment: Experiment
    active: tuple[str, ...]  # what arms are compared on: tasks, and folds as one
    runs: Mapping[Key, ComparedRun]
    planned: tuple[dict[str, Any], ...]  # task, arm, seed, state, error
    amendments: tuple[dict[str, Any], ...]
    pools: Mapping[str, np.ndarray]  # each of `active` -> [C] points of each class in the pool
    _pooled: dict[Key, ComparedRun] = field(default_factory=dict, compare=False)

    @property
    def seeds(self) -> list[int]:
        """Of the pairs, in their order."""
        return seeds_of(self.experiment, self.active)

    def arms(self, task: str) -> list[str]:
        """The arms that are planned in a task."""
        return [arm for arm in self.experiment.arms if task in self._tasks(arm)]

    def asking(self, task: str) -> list[str]:
        """The arms of a task that are no control."""
        return [arm for arm in self.arms(task) if not self.experiment.arms[arm].control]

    def _tasks(self, arm: str) -> list[str]:
        return self.experiment.tasks_of(arm, self.active)

    def of(self, task: str, arm: str | None) -> dict[int, ComparedRun]:
        """The finished runs of an arm among the pairs, by seed; of folds, if all have ended."""
        found = self.of_all_seeds(task, arm)
        return {seed: found[seed] for seed in self.seeds if seed in found}

    def of_all_seeds(self, task: str, arm: str | None) -> dict[int, ComparedRun]:
        """As `of`, with the seeds of the calibration."""
        folds = self.experiment.folds.get(task)
        if folds is None:
            return {key[2]: run for key, run in self.runs.items() if key[:2] == (task, arm)}
        by_fold = [self.of_all_seeds(fold, arm) for fold in folds]
        for seed in set.intersection(*map(set, by_fold)):
            if (key := (task, arm, seed)) not in self._pooled:
                self._pooled[key] = pool_folds([runs[seed] for runs in by_fold])
        return {key[2]: run for key, run in self._pooled.items() if key[:2] == (task, arm)}

    def classes(self, task: str) -> tuple[str, ...]:
        """Of a task with a finished run."""
        task = self.experiment.folds_of(task)[0]
        return next(run.run.classes for key, run in self.runs.items() if key[0] == task)

    def budget_range(
        self, task: str, axis: str, arms: Sequence[str] | None = None
    ) -> tuple[float, float] | None:
        """The budgets that every run of these arms covers; None: of all arms of the task."""
        asking = self.asking(task)
        chosen = asking if arms is None else [arm for arm in arms if arm in asking]
        runs = (run for arm in chosen for run in self.of(task, arm).values())
        return common_range(run.curve(axis) for run in runs)

    def scores(
        self, measure: str, task: str, arm: str, axis: str, among: Sequence[str] | None = None
    ) -> dict[int, float]:
        """By seed: mIoU at the end, or the area under the curve; in percent.

        Args:
            among: arms whose common budgets the area is over; None: all of the task.
        """
        runs = self.of(task, arm)
        if measure == "end":
            return {seed: run.end for seed, run in runs.items()}
        shared = self.budget_range(task, axis, among)
        if shared is None or self.experiment.arms[arm].control:
            return {}
        return {seed: area(run.curve(axis), *shared) for seed, run in runs.items()}

    def differences(
        self, measure: str, task: str, one: str, other: str, axis: str
    ) -> dict[int, float]:
        """`one` minus `other` by seed, of the pairs of which both runs have ended.

        Areas are over the budgets that both arms cover.
        """
        a = self.scores(measure, task, one, axis, (one, other))
        b = self.scores(measure, task, other, axis, (one, other))
        return {seed: a[seed] - b[seed] for seed in self.seeds if seed in a and seed in b}


def read_results(path: str | Path) -> Results:
    """Read a ``results.zip``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of ours or damaged, or runs of one task were not tested on the same
            points.
    """
    with Archive(path) as archive:
        experiment, manifest = archive.experiment, archive.manifest
        active = compared_tasks(experiment, manifest["active"])
        planned = tuple(manifest["runs"])
        runs = dict(_runs(archive, planned))
        pools = {
            task: sum(parts)
            for task in active
            if (parts := _pools(archive, experiment.folds_of(task)))
        }
    _check_same_test(runs)
    return Results(experiment, active, runs, planned, tuple(manifest["amendments"]), pools)


def _runs(
    archive: Archive, planned: tuple[dict[str, Any], ...]
) -> Iterator[tuple[Key, ComparedRun]]:
    for entry in planned:
        if entry["state"] != "done":
            continue
        key = (entry["task"], entry["arm"], int(entry["seed"]))
        name = "/".join(str(part) for part in (key[0], key[1], f"seed-{key[2]}") if part)
        where = f"{archive.path}: runs/{name}"
        with tempfile.TemporaryDirectory() as folder:
            work_dir = WorkDir(folder)
            for file in (work_dir.run_info_path, work_dir.metrics_path):
                file.write_bytes(archive.read(f"runs/{name}/{file.name}"))
            try:
                run = read_run(folder)
            except ValueError as error:
                raise ValueError(str(error).replace(folder, where)) from None
        picks = parse_picks(archive.read(f"runs/{name}/picks.jsonl"), f"{where}/picks.jsonl")
        yield key, ComparedRun(run, tuple(picks))


def _pools(archive: Archive, tasks: Sequence[str]) -> list[np.ndarray]:
    """[C] points of each class in the pool of every task; none where one of them is not known."""
    names = [f"pools/{task}.json" for task in tasks]
    if not all(archive.has(name) for name in names):
        return []
    return [np.array(parse_json(archive.read(name))["points"], np.int64) for name in names]


def _check_same_test(runs: Mapping[Key, ComparedRun]) -> None:
    first: dict[str, tuple[Key, Run]] = {}
    for key, compared in runs.items():
        run = compared.run
        other_key, other = first.setdefault(key[0], (key, run))
        same = run.classes == other.classes and np.array_equal(_truth(run), _truth(other))
        if not same:
            raise ValueError(
                f"{_words(key)} and {_words(other_key)} were tested on different points or "
                "classes; an arm must leave data.val as it is"
            )


def _truth(run: Run) -> np.ndarray:
    return run.final.confusion.sum(axis=1)


def _words(key: Key) -> str:
    return "/".join(str(part) for part in key if part is not None)
