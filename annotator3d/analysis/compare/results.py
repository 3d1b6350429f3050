"""The runs of an experiment as its archive holds them, and the score that each of them has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from annotator3d.analysis.compare.archive import Archive
from annotator3d.analysis.compare.budget import Curve, area, common_range
from annotator3d.analysis.compare.picks import Pick, parse_picks
from annotator3d.analysis.compare.plan import seeds_of
from annotator3d.analysis.runs import Run, read_run
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.config.experiment import AXES, Experiment
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.records import Cell

Key = tuple[str, str | None, int]  # task, arm (None: a task without arms), seed


@dataclass(frozen=True)
class ComparedRun:
    """A finished run with what it asked."""

    run: Run
    picks: tuple[Pick, ...]

    @property
    def end(self) -> float:
        """mIoU in percent after the whole training."""
        return self.run.final.miou

    @cached_property
    def cells(self) -> frozenset[tuple[str, Cell]]:
        """(scan, cell) of every query."""
        return frozenset((pick.scan, pick.cell) for pick in self.picks)

    def spent(self, axis: str) -> float:
        """All that the run has cost on one axis."""
        return float(self._spent[axis][-1])

    def curve(self, axis: str) -> Curve:
        """Budgets on an axis of the experiment, and mIoU in percent, by round.

        Each round is represented by its last evaluation, before the answers of the next came in.
        """
        last = {e.round: e for e in self.run.evaluations if e.round > 0}
        return self._spent[axis][list(last)], np.array([e.miou for e in last.values()])

    @cached_property
    def _spent(self) -> dict[str, np.ndarray]:
        """By axis: [R + 1] spent up to each round, from round 0 on."""
        rounds = [e.round for e in self.run.evaluations] + [pick.round for pick in self.picks]
        found = {}
        for axis in AXES:
            spent = np.zeros(max(rounds, default=0) + 1)
            for pick in self.picks:
                spent[pick.round] += 1 if axis == "voxels" else getattr(pick, axis)
            found[axis] = np.cumsum(spent)
        return found


@dataclass(frozen=True)
class Results:
    """All finished runs of an experiment and the state of the others."""

    experiment: Experiment
    active: tuple[str, ...]
    runs: Mapping[Key, ComparedRun]
    planned: tuple[dict[str, Any], ...]  # task, arm, seed, state, error
    amendments: tuple[dict[str, Any], ...]
    pools: Mapping[str, np.ndarray]  # task -> [C] points of each class in the pool

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
        """The finished runs of an arm among the pairs, by seed."""
        keys = {seed: (task, arm, seed) for seed in self.seeds}
        return {seed: self.runs[key] for seed, key in keys.items() if key in self.runs}

    def classes(self, task: str) -> tuple[str, ...]:
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
        active = tuple(manifest["active"])
        planned = tuple(manifest["runs"])
        runs = dict(_runs(archive, planned))
        pools = {
            task: np.array(parse_json(archive.read(f"pools/{task}.json"))["points"], np.int64)
            for task in active
            if archive.has(f"pools/{task}.json")
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
