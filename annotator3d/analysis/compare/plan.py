"""From an experiment file to its runs: one for each task, arm and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotator3d.analysis.compare.paired import pairs_needed
from annotator3d.engine.config.experiment import Experiment, read_experiment, settings_of
from annotator3d.engine.config.load import find_config, load_config, trust
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.jobs import Job
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import ConfigError
from annotator3d.registry import ORACLES, lookup

RUNS = "runs"  # folder of the work directories


@dataclass(frozen=True)
class PlannedRun:
    """One run; without an arm it is that of a task which asks no questions."""

    task: str
    arm: str | None
    seed: int
    job: Job

    @property
    def name(self) -> str:
        return self.job.name


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment, pair by pair, those that others start from first."""

    experiment: Experiment
    active: tuple[str, ...]  # tasks that ask questions: they have arms
    runs: tuple[PlannedRun, ...]

    @property
    def compared(self) -> tuple[str, ...]:
        """What the arms are compared on."""
        return compared_tasks(self.experiment, self.active)

    @property
    def seeds(self) -> list[int]:
        """Of the pairs, in their order; those of the calibration are not among them."""
        return seeds_of(self.experiment, self.compared)

    def jobs(self, only: Sequence[PlannedRun] | None = None) -> list[Job]:
        """Of these runs, and those that they start from, in the order of the plan."""
        if only is None:
            return [run.job for run in self.runs]
        wanted = {run.name for run in only}
        wanted |= {run.job.starts_from for run in only if run.job.starts_from}
        return [run.job for run in self.runs if run.name in wanted]


def compared_tasks(experiment: Experiment, active: Sequence[str]) -> tuple[str, ...]:
    """The tasks that ask questions, with folds that are added up in the place of their tasks."""
    names = {fold: name for name, folds in experiment.folds.items() for fold in folds}
    return tuple(dict.fromkeys(names.get(task, task) for task in active))


def comparisons(
    experiment: Experiment, active: Sequence[str], measure: str | None = None
) -> list[tuple[str, str, str]]:
    """(task, arm, other arm) of every comparison that a measure can test.

    Args:
        active: `compared_tasks`, here and in what follows.
        measure: "end" or "area", for which a control has no budgets; None: the experiment's.
    """
    by_area = (measure or experiment.measure) == "area"
    return [
        (task, one, other)
        for one, other in experiment.compared
        if not by_area or not any(experiment.arms[arm].control for arm in (one, other))
        for task in experiment.tasks_of(one, active)
        if task in experiment.tasks_of(other, active)
    ]


def merged(
    experiment: Experiment, active: Sequence[str], measure: str | None = None
) -> list[tuple[str, str]]:
    """(arm, other arm) that are compared on several tasks: their mean over the tasks, too."""
    if experiment.sequential is not None:
        return []  # a comparison of one task may have ended before that of another
    shared = comparisons(experiment, active, measure)
    return [
        (one, other)
        for one, other in experiment.compared
        if sum(each[1:] == (one, other) for each in shared) > 1
    ]


def tests_of(experiment: Experiment, active: Sequence[str]) -> int:
    """How many tests Holm corrects for: of every comparison, and of its mean over the tasks."""
    return len(comparisons(experiment, active)) + len(merged(experiment, active))


def seeds_of(experiment: Experiment, active: Sequence[str]) -> list[int]:
    """The seed of each pair."""
    pairs = experiment.pairs
    if experiment.sequential is not None:
        pairs = experiment.sequential.group * experiment.sequential.looks
    elif pairs is None:
        pairs = pairs_needed(tests_of(experiment, active), experiment.test)
    return list(range(experiment.first_seed, experiment.first_seed + pairs))


def load_plan(
    file: Path, out: Path, *, data_root: str | None = None, say_yes: bool = False
) -> Plan:
    """Read an experiment file and the configs that it names.

    Args:
        out: gets a work directory for each run, under ``runs/``.
        data_root: root of the target and validation scans, where a config has none.
        say_yes: trust the Python code that the configs name (`trust`).

    Raises:
        ConfigError: see `read_experiment` and `load_config`; or the experiment and the configs do
            not fit.
    """
    experiment = read_experiment(file)
    paths = {name: _config_path(task.config, file) for name, task in experiment.tasks.items()}
    if say_yes:
        for path in dict.fromkeys(paths.values()):
            trust(path)
    bases = {name: _load(experiment, name, None, 0, paths[name]) for name in experiment.tasks}
    active = tuple(name for name, config in bases.items() if config.is_active)
    _check(experiment, bases, active)
    seeds = seeds_of(experiment, compared_tasks(experiment, active))
    extra = [seeds[-1] + 1 + i for i in range(len(seeds))] if experiment.calibrate else []
    runs = []
    for seed in [*seeds, *extra]:
        of_seed = _runs_of(experiment, bases, active, paths, seed, out, data_root)
        if seed in extra:
            of_seed = _those_of(of_seed, experiment.calibrate.arm)
        runs += of_seed
    return Plan(experiment, active, tuple(runs))


def _runs_of(
    experiment: Experiment,
    bases: dict[str, RunConfig],
    active: Sequence[str],
    paths: dict[str, Path],
    seed: int,
    out: Path,
    data_root: str | None,
) -> list[PlannedRun]:
    def run(task: str, arm: str | None, config: RunConfig) -> PlannedRun:
        start = experiment.tasks[task].starts_from
        before = None if start is None else _name(start, None, seed)
        name = _name(task, arm, seed)
        work_dir = WorkDir(out.absolute() / RUNS / name)
        return PlannedRun(task, arm, seed, Job(name, config, work_dir, before, data_root))

    alone = [
        run(task, None, replace(config, seed=seed))
        for task, config in bases.items()
        if task not in active
    ]
    return alone + [
        run(task, arm, _load(experiment, task, arm, seed, paths[task]))
        for task in active
        for arm in experiment.arms
        if task in experiment.tasks_of(arm, active)
    ]


def _those_of(runs: list[PlannedRun], arm: str) -> list[PlannedRun]:
    chosen = [run for run in runs if run.arm == arm]
    starts = {run.job.starts_from for run in chosen}
    return [run for run in runs if run.arm == arm or run.name in starts]


def _name(task: str, arm: str | None, seed: int) -> str:
    return "/".join(filter(None, (task, arm, f"seed-{seed}")))


def _config_path(name: str, file: Path) -> Path:
    """A config by its path from the folder of the experiment file, or as everywhere."""
    beside = file.parent / name
    return beside if beside.is_file() else find_config(name)


def _load(experiment: Experiment, task: str, arm: str | None, seed: int, path: Path) -> RunConfig:
    settings = settings_of(experiment.overrides) + settings_of(experiment.tasks[task].overrides)
    if arm is not None:
        settings += settings_of(experiment.arms[arm].overrides)
        settings += ["active.rounds_at=[]"] if experiment.arms[arm].control else []
    where = f"tasks.{task}" if arm is None else f"arms.{arm}, tasks.{task}"
    try:
        config = load_config(path, [*settings, f"seed={seed}"], python=False)
    except ConfigError as error:
        words = str(error).replace("--set ", "")
        raise ConfigError(f"{where}: {words}") from None
    if arm is not None and not config.is_active:
        raise ConfigError(f"{where}: an arm asks questions; expected no setting {config.setting}")
    if arm is not None and not _answers_by_itself(config):
        raise ConfigError(
            f"{where}: active.oracle {config.active.oracle_name!r} waits for a person, and an "
            "experiment does not; choose truth or noisy"
        )
    return config


def _answers_by_itself(config: RunConfig) -> bool:
    return getattr(lookup(ORACLES, config.active.oracle_name), "automatic", True)


def _check(experiment: Experiment, bases: dict[str, RunConfig], active: Sequence[str]) -> None:
    """What only the configs show."""
    if not active:
        raise ConfigError("tasks: expected one that asks questions (setting al, asfda or ada)")
    for name, task in experiment.tasks.items():
        start = task.starts_from
        if start is None and bases[name].setting in ("asfda", "ada") and not bases[name].init:
            raise ConfigError(
                f"tasks.{name}: {bases[name].setting} starts from a source checkpoint; name the "
                "task that trains one with starts_from"
            )
        if start is not None and bases[start].setting != "source_only":
            raise ConfigError(
                f"tasks.{name}.starts_from: {start} is {bases[start].setting}, expected a task of "
                "the setting source_only"
            )
        if start is not None and bases[name].setting not in ("asfda", "ada"):
            raise ConfigError(
                f"tasks.{name}.starts_from: {bases[name].setting} starts from nothing; only asfda "
                "and ada take a checkpoint"
            )
        for reference in task.references:
            if not set(experiment.folds_of(reference)).isdisjoint(active):
                raise ConfigError(
                    f"tasks.{name}.references: {reference} has arms; expected tasks without any "
                    "(source_only, target_only)"
                )
    for name, arm in experiment.arms.items():
        for task in arm.tasks or []:
            if task not in active:
                raise ConfigError(
                    f"arms.{name}.tasks: {task} asks no questions ({bases[task].setting}), so it "
                    "has no arms"
                )
    for name, folds in experiment.folds.items():
        settings = dict.fromkeys(bases[task].setting for task in folds)
        if len(settings) > 1:
            raise ConfigError(
                f"folds.{name}: expected tasks of one setting, got {', '.join(settings)}"
            )
    if experiment.compared and not comparisons(experiment, compared_tasks(experiment, active)):
        raise ConfigError("compare: no two of these arms run in the same task")
