"""Whether a config may go on with what a work directory holds: its run, or more rounds of it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator3d.data.plain_yaml import read_yaml
from annotator3d.engine.config.load import make_plain_config
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.training.checkpoints import Place
from annotator3d.engine.workdir import WorkDir
from annotator3d.errors import count
from annotator3d.ledger.ledger import Round

# Keys that may change on the way: no result depends on them, or the data's digest is checked.
FREE = {
    "name",
    "device",
    "logs",
    "schedule.workers",
    "schedule.evaluate_at",
    "schedule.checkpoint_every",
    "schedule.keep_checkpoints",
    *(f"data.{name}.root" for name in ("train", "val", "source")),
}
# Keys that later rounds and epochs may have otherwise than those that are over.
BUDGET = {
    "active.queries_per_scan",
    "active.max_queries",
    "active.label_points",
    "active.budget_hours",
    "active.seconds_per_voxel",
}
LATER = {"schedule.epochs", "active.rounds_at", *BUDGET}
# Keys that no question depends on: they may be corrected until the first epoch has begun.
TRAINING = ("schedule.", "training.", "model.label_smoothing", "model.lovasz", "model.bn")
ADAPTATION = "training.adapt."  # round 1 is asked of the network that it gives
_SHOWN = 3
_LONGEST = 60  # characters of a value in a message


@dataclass(frozen=True)
class Change:
    """A key whose value is another one than that which a run was started with."""

    key: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.was)}, now {_short(self.now)}"


def check_start(
    work_dir: WorkDir,
    config: RunConfig,
    *,
    resume: bool,
    trained: Place | None = None,
    may_grow: bool = True,
) -> list[Change]:
    """Refuse to mix two runs.

    Args:
        trained: the checkpoint that training continues from; None: it starts.
        may_grow: take a config with more rounds, more epochs or other budgets, as long as it agrees
            with the rounds that the ledger holds and the epochs that are trained.

    Returns:
        what it has otherwise than the run was started with. As long as nothing is trained, that may
        be anything which no question depends on (`TRAINING`).

    Raises:
        ValueError: the folder holds a run and `resume` is False; or a run of another config.
    """
    path = work_dir.config_path
    held = [p for p in (path, work_dir.ledger_path, work_dir.checkpoints) if p.exists()]
    if not work_dir.has_ledger():  # or what a killed start has left of it
        held = [p for p in held if p != work_dir.ledger_path]
    if held and not resume:
        raise ValueError(
            f"{work_dir} already holds a run ({held[0].name}); pass --resume to continue "
            "it, or choose another --work-dir"
        )
    if not path.exists():
        return []
    before = dataclasses.asdict(make_plain_config(read_yaml(path)))
    changes = _differences(before, dataclasses.asdict(config))
    later = LATER if may_grow else set()
    if config.active.when == "online":  # its last round may still be asked about
        later = later - BUDGET
    if _is_untrained(work_dir, config, trained):
        keys = {change.key for change in changes if change.key.startswith(TRAINING)}
        later = later | {key for key in keys if not key.startswith(ADAPTATION)}
    if other := [change for change in changes if change.key not in later]:
        raise ValueError(_refusal(work_dir, other))
    if changes:
        _check_past(work_dir, config, trained or Place(0))
    return changes


def _is_untrained(work_dir: WorkDir, config: RunConfig, trained: Place | None) -> bool:
    """Whether nothing that was asked or written depends on a step of training."""
    if trained is not None or config.active.when == "online" or work_dir.adaptation.exists():
        return False
    return not (config.is_active and any(entry.epoch > 0 for entry in _rounds(work_dir)))


def _refusal(work_dir: WorkDir, changes: list[Change]) -> str:
    more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    words = (
        f"{work_dir} holds a run of another config "
        f"({'; '.join(map(str, changes[:_SHOWN]))}{more}). To continue it, "
    )
    options = " ".join(_option(change) for change in changes)
    kept = (
        f"the config that it has kept: annotator3d train {shlex.quote(str(work_dir.config_path))}"
    )
    kept += f" --work-dir {shlex.quote(str(work_dir))} --resume"
    if len(words) + len(options) + len(kept) < 450:
        return f"{words}give it {options}; or name {kept}"
    return f"{words}name {kept}"


def _option(change: Change) -> str:
    """The option that gives a key the value that it had."""
    plain = isinstance(change.was, str) and re.fullmatch(r"[a-z][a-z_]+", change.was)
    value = change.was if plain else json.dumps(change.was)
    return f"--set {shlex.quote(f'{change.key}={value}')}"


def _check_past(work_dir: WorkDir, config: RunConfig, trained: Place) -> None:
    """Refuse a schedule that does not begin as the one by which the run has been trained so far."""
    finished = trained.epoch + bool(trained.step)  # begun epochs count
    if config.schedule.epochs < finished:
        raise ValueError(
            f"schedule.epochs: {work_dir} has trained {count(finished, 'epoch')} already, now "
            f"{config.schedule.epochs} are asked for; give at least {finished}"
        )
    if not config.is_active:
        return
    rounds = _rounds(work_dir)
    at, begin = config.active.rounds_at, [entry.epoch for entry in rounds]
    for entry, now in zip(rounds, [*at, *[None] * len(rounds)], strict=False):
        if now != entry.epoch:
            raise ValueError(
                f"active.rounds_at: {work_dir.ledger_path} holds round {entry.number} before epoch "
                f"{entry.epoch}, the new schedule has {'none' if now is None else f'epoch {now}'} "
                f"there; rounds that were asked stay as they are: begin with {begin}"
            )
    for number, epoch in enumerate(at[len(rounds) :], start=len(rounds) + 1):
        if epoch < finished:
            raise ValueError(
                f"active.rounds_at: round {number} is new and before epoch {epoch}, but "
                f"{work_dir} has trained {count(finished, 'epoch')} without it; choose "
                f"epoch {finished} or "
                "later"
            )


def _rounds(work_dir: WorkDir) -> list[Round]:
    if not work_dir.has_ledger():
        return []
    with work_dir.ledger() as ledger:
        return ledger.rounds()


def _differences(before: dict, now: dict, where: str = "") -> list[Change]:
    """Keys whose values differ. Checkpoints are compared by the file they name."""
    found = []
    for name in sorted({*before, *now}):
        old, new, key = before.get(name), now.get(name), where + name
        if key in FREE:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{key}.")
        elif old != new and not (key == "init" and _same_file(old, new)):
            found.append(Change(key, old, new))
    return found


def _same_file(old: str | None, new: str | None) -> bool:
    return bool(old and new) and Path(old).resolve() == Path(new).resolve()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
