"""The file of an experiment: which arms are compared on which tasks, with how many pairs.

Written before the runs, in YAML. It is data: it names configs, and runs no code.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictStr, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from annotator3d.data.files import is_there
from annotator3d.data.plain_yaml import read_yaml
from annotator3d.engine.config.load import config_folder
from annotator3d.engine.config.overrides import PlainLoader
from annotator3d.engine.config.schema import Integer, Seed, rule
from annotator3d.engine.config.values import expected
from annotator3d.errors import ConfigError, in_yaml, kind_in_words, nearest

AXES = ("voxels", "labelled_points", "clicks", "seconds")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_KEYS = ConfigDict(extra="forbid")
_SET_HERE = {
    "seed": "`pairs` and `first_seed` give the seeds",
    "init": "`starts_from` of a task gives the checkpoint",
    "custom_imports": "an experiment runs no code; the config of a task may name it",
}

Axes = Annotated[
    list[Literal["voxels", "labelled_points", "clicks", "seconds"]],
    rule("each axis once, at least one", lambda axes: 0 < len(axes) == len(set(axes))),
]
PairCount = Annotated[Integer, Field(ge=1, le=1000)]
TwoArms = Annotated[list[StrictStr], rule("two arms", lambda arms: len(set(arms)) == 2)]


@dataclass(config=_KEYS)
class Task:
    """A config with what is changed in it: a setting on a data set, perhaps one fold of it."""

    config: StrictStr  # a file, or the name of an installed config
    overrides: dict = field(default_factory=dict)
    starts_from: StrictStr | None = None  # the source-only task whose checkpoint initialises it
    references: list[StrictStr] = field(default_factory=list)  # tasks without arms, shown beside it


@dataclass(config=_KEYS)
class Arm:
    """What one side of a comparison changes in the config of every task."""

    overrides: dict = field(default_factory=dict)
    tasks: list[StrictStr] | None = None  # None: all that ask questions
    control: StrictBool = False  # the same training without any label: no round


@dataclass(config=_KEYS)
class Sequential:
    """Look after each group of pairs, and stop the comparisons that are decided."""

    group: PairCount
    looks: Annotated[Integer, Field(ge=2, le=100)]
    method: Literal["adastop"] = "adastop"


@dataclass(config=_KEYS)
class Calibrate:
    """Run an arm with as many other seeds, too, and test it against itself."""

    arm: StrictStr
    splits: Annotated[Integer, Field(ge=100, le=100_000)] = 1000


@dataclass(config=_KEYS)
class Experiment:
    """All keys of an experiment."""

    name: StrictStr
    tasks: dict[StrictStr, Task]
    arms: dict[StrictStr, Arm]
    folds: dict[StrictStr, list[StrictStr]] = field(default_factory=dict)  # tasks that are one test
    bets: list[StrictStr] = field(default_factory=list)
    pairs: PairCount | None = None  # None: 5, or as many as the test needs to show anything
    first_seed: Seed = 0
    against: StrictStr | None = None  # all other arms are compared with this one
    compare: list[TwoArms] = field(default_factory=list)  # or these are
    measure: Literal["end", "area"] = "end"  # what is claimed: the last mIoU, or the whole curve
    test: Literal["sign-flip", "t"] = "sign-flip"
    axes: Axes = field(default_factory=lambda: list(AXES))  # the area is over the first one
    overrides: dict = field(default_factory=dict)  # of every run
    sequential: Sequential | None = None
    calibrate: Calibrate | None = None

    @property
    def compared(self) -> list[tuple[str, str]]:
        """(arm, the other one) of every comparison."""
        if self.against is not None:
            return [(arm, self.against) for arm in self.arms if arm != self.against]
        return [(one, other) for one, other in self.compare]

    def folds_of(self, task: str) -> list[str]:
        """The tasks that are added up under a name; a task that is none of folds, itself."""
        return self.folds.get(task, [task])

    def tasks_of(self, arm: str, active: Iterable[str]) -> list[str]:
        """Those of the `active` tasks that an arm runs in; folds, if it runs in all of them."""
        wanted = self.arms[arm].tasks
        return [
            task for task in active if wanted is None or set(self.folds_of(task)) <= set(wanted)
        ]


_EXPERIMENT = TypeAdapter(Experiment)
_TABLES: dict[tuple[str, int], type] = {
    ("tasks", 2): Task,
    ("arms", 2): Arm,
    ("sequential", 1): Sequential,
    ("calibrate", 1): Calibrate,
}


def read_experiment(file: str | Path, text: bytes | None = None) -> Experiment:
    """Read and check an experiment file.

    Args:
        file: the file, or what messages call the text.
        text: what to read in its place.

    Raises:
        ConfigError: it cannot be read, has an unknown key or name (with the nearest known one), or
            a value that cannot be.
    """
    try:
        values = read_yaml(file, text, PlainLoader)
    except (ValueError, OSError) as error:
        words = str(error)
        raise ConfigError(words if str(file) in words else f"{file}: {words}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected a table of keys, got {kind_in_words(values)}")
    try:
        experiment = _EXPERIMENT.validate_python(values)
        _check(experiment)
    except ValidationError as error:
        raise ConfigError(f"{file}: {_describe(error.errors()[0])}") from None
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return experiment


def find_experiment(name: str) -> Path:
    """An experiment file by its path, or by its name among those of the package.

    Raises ConfigError: there is none (with the nearest names).
    """
    if is_there(path := Path(name)):
        return path
    folder = config_folder()
    known = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.yaml")}
    wanted = name.removesuffix(".yaml").removeprefix("configs/")
    if wanted not in known:
        raise ConfigError(f"no experiment file {name}: {nearest(wanted, known)}")
    return known[wanted]


def settings_of(overrides: Mapping[str, Any], where: str = "overrides") -> list[str]:
    """``key.path=value`` for a table of overrides, as ``--set`` takes them.

    Tables are gone into, so that ``active: {strategy: vcd}`` is ``active.strategy: vcd``. One with
    a ``type``, such as an oracle with its options, is a value as a whole.

    Raises ConfigError for a key that is none, or a value that a config cannot hold.
    """
    found = []
    for key, value in overrides.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(f"{where}: expected a key of a config, got {in_yaml(key)}")
        if (table := key.partition(".")[0]) in _SET_HERE:
            raise ConfigError(f"{where}.{key}: {_SET_HERE[table]}; leave it out")
        if isinstance(value, dict) and "type" not in value:
            inner = {f"{key}.{name}": each for name, each in value.items()}
            found += settings_of(inner, where)
            continue
        try:
            found.append(f"{key}={json.dumps(value, allow_nan=False)}")
        except (TypeError, ValueError):
            raise ConfigError(
                f"{where}.{key}: expected text, numbers, lists or tables, got {in_yaml(value)}"
            ) from None
    return found


def difference(one: Experiment, other: Experiment) -> list[str]:
    """The keys in which two experiments differ, such as ``pairs`` or ``arms.vcd``."""
    found = []
    for entry in dataclasses.fields(Experiment):
        old, new = getattr(one, entry.name), getattr(other, entry.name)
        if entry.name in ("tasks", "arms", "folds"):
            names = [*old, *(name for name in new if name not in old)]
            changed = [name for name in names if old.get(name) != new.get(name)]
            found += [f"{entry.name}.{name}" for name in changed]
        elif old != new:
            found.append(entry.name)
    return found


def _check(experiment: Experiment) -> None:
    """What one key alone does not show."""
    for kind in ("tasks", "arms"):
        names = getattr(experiment, kind)
        if not names:
            raise ConfigError(f"{kind}: expected at least one")
        for name in names:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{kind}: {name!r} becomes the name of a folder: expected letters, digits and "
                    "._+-, beginning with a letter or digit, at most 64"
                )
    _check_names(experiment)
    _check_folds(experiment)
    settings_of(experiment.overrides)
    for name, task in experiment.tasks.items():
        settings_of(task.overrides, f"tasks.{name}.overrides")
    for name, arm in experiment.arms.items():
        settings = settings_of(arm.overrides, f"arms.{name}.overrides")
        if arm.control and any(s.startswith("active.rounds_at=") for s in settings):
            raise ConfigError(
                f"arms.{name}: a control has no round; leave active.rounds_at or control out"
            )
    if experiment.sequential is not None:
        _check_sequential(experiment)


def _check_sequential(experiment: Experiment) -> None:
    if experiment.pairs is not None:
        raise ConfigError(
            "pairs: sequential says how many there are at most (group x looks); leave pairs out"
        )
    compared = {arm for pair in experiment.compared for arm in pair}
    for arm in experiment.arms:
        if arm not in compared:
            raise ConfigError(
                f"arms.{arm}: no comparison has it, and sequential runs an arm until its "
                "comparisons are decided; compare it or leave it out"
            )


def _check_folds(experiment: Experiment) -> None:
    of: dict[str, str] = {}
    for name, folds in experiment.folds.items():
        key = f"folds.{name}"
        if name in experiment.tasks:
            raise ConfigError(f"{key}: there is a task of that name; choose another")
        if len(folds) < 2:
            raise ConfigError(f"{key}: expected at least two tasks")
        for task in folds:
            _know(key, task, experiment.tasks)
            if task in of:
                raise ConfigError(f"{key}: {task} is a fold of {of[task]} already")
            of[task] = name
    if of and experiment.sequential is not None:
        raise ConfigError("folds: sequential looks at single tasks; plan a fixed number of pairs")


def _check_names(experiment: Experiment) -> None:
    tasks, arms = experiment.tasks, experiment.arms
    for name, task in tasks.items():
        if task.starts_from is not None:
            _know(f"tasks.{name}.starts_from", task.starts_from, tasks)
        for reference in task.references:
            _know(f"tasks.{name}.references", reference, [*tasks, *experiment.folds])
    for name, arm in arms.items():
        for task in arm.tasks or []:
            _know(f"arms.{name}.tasks", task, tasks)
    if (experiment.against is None) == (not experiment.compare):
        raise ConfigError(
            "expected one of against: ARM (all others are compared with it) and compare: "
            "[[ARM, ARM], ...]"
        )
    if experiment.against is not None:
        _know("against", experiment.against, arms)
    for arm in (arm for pair in experiment.compare for arm in pair):
        _know("compare", arm, arms)
    if len({frozenset(pair) for pair in experiment.compare}) < len(experiment.compare):
        raise ConfigError("compare: two arms are compared twice")
    if not experiment.compared and experiment.calibrate is None:
        raise ConfigError("arms: expected a second one to compare with")
    if experiment.calibrate is not None:
        _know("calibrate.arm", experiment.calibrate.arm, arms)


def _know(key: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ConfigError(f"{key}: unknown {name!r}: {nearest(name, known)}")


def _describe(error: Any) -> str:
    """A message for one entry of pydantic's list of errors."""
    location, kind = error["loc"], error["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        table = _TABLES.get((location[0], len(location) - 1), Experiment)
        known = [f.name for f in dataclasses.fields(table)]
        key = ".".join(map(str, location))
        return f"unknown key {key!r}: {nearest(str(location[-1]), known)}"
    key = ".".join(part for part in location if isinstance(part, str))
    if kind in ("missing", "missing_argument"):
        return f"the key {key!r} is missing"
    return f"{key}: expected {expected(error)}, got {in_yaml(error['input'])}"
