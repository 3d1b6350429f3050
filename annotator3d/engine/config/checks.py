"""What `config.make_config` refuses: every mistake is named before any work begins."""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from annotator3d.errors import ConfigError, nearest
from annotator3d.registry import BACKBONES, DATASETS, ORACLES, STRATEGIES, check, lookup

if TYPE_CHECKING:
    from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.config.schema import SETTINGS


def from_values(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """A config dataclass from a nested dict; `where` is the dotted path of `cls`, for messages.

    A table whose default has a ``type`` is merged over that default, unless it names its own.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a value of a wrong type.
    """
    known, given = typing.get_type_hints(cls), {}
    defaults = {f.name: f.default_factory for f in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown key {where + str(key)!r}: {nearest(str(key), known)}")
        kind = known[key]
        value = list(value) if isinstance(value, tuple) else value
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, dict):
                raise ConfigError(f"{where + key}: expected a table of keys, got {value!r}")
            value = from_values(kind, value, f"{where}{key}.")
        elif not _has_type(value, kind):
            words = str(kind) if typing.get_args(kind) else kind.__name__
            raise ConfigError(f"{where + key}: expected {words}, got {value!r}")
        elif kind is dict and "type" not in value:
            value = {**defaults[key](), **value}
        given[key] = value
    return cls(**given)


def _has_type(value: Any, annotation: Any) -> bool:
    options = typing.get_args(annotation) if "|" in str(annotation) else (annotation,)
    for option in options:
        kind = typing.get_origin(option) or option
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return True
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            inside = typing.get_args(option) if kind is list else ()
            return all(_has_type(entry, inside[0]) for entry in value) if inside else True
    return False


def check_values(config: RunConfig) -> None:
    """Refuse values that no run can have, and names that nothing is registered under.

    Raises:
        ConfigError: with the key and what it may be.
    """
    _check_choices(config)
    _check_ranges(config)
    _check_epochs(config)
    _check_names(config)
    _check_online(config)


def _check_choices(config: RunConfig) -> None:
    from annotator3d.data.batch import FEATURES, TARGET_RULES
    from annotator3d.engine.training.optim import COSINES, PRECISIONS
    from annotator3d.models.segmentor import BN_RULES

    if config.setting not in SETTINGS:
        raise ConfigError(
            f"unknown setting {config.setting!r}: {nearest(config.setting, SETTINGS)}"
        )
    for key, value, known in (
        ("device", config.device, ("auto", "cpu", "cuda")),
        *(("logs", name, ("json", "csv", "tensorboard")) for name in config.logs),
        ("model.features", config.model.features, FEATURES),
        ("model.target_rule", config.model.target_rule, TARGET_RULES),
        ("model.bn", config.model.bn, BN_RULES),
        ("schedule.cosine", config.schedule.cosine, COSINES),
        ("schedule.precision", config.schedule.precision, PRECISIONS),
        ("active.when", config.active.when, ("round", "online")),
        ("active.first_round", config.active.first_round, ("random", "self")),
    ):
        if value not in known:
            words = f"{', '.join(known[:-1])} or {known[-1]}"
            raise ConfigError(f"{key}: expected {words}, got {value!r}")


def _check_ranges(config: RunConfig) -> None:
    active, schedule = config.active, config.schedule
    for key, value, least in (
        ("seed", config.seed, 0),
        ("schedule.epochs", schedule.epochs, 1),
        ("schedule.batch_size", schedule.batch_size, 1),
        ("schedule.source_batch_size", schedule.source_batch_size, 1),
        ("schedule.workers", schedule.workers, 0),
        ("schedule.accumulate", schedule.accumulate, 1),
        ("schedule.reference_batch", schedule.reference_batch, 1),
        ("schedule.warmup_epochs", schedule.warmup_epochs, 0),
        ("schedule.source_until", schedule.source_until, 0),
        ("schedule.checkpoint_every", schedule.checkpoint_every, 1),
        ("schedule.keep_checkpoints", schedule.keep_checkpoints, 1),
        ("active.queries_per_scan", active.queries_per_scan, 1),
        ("active.max_queries", active.max_queries, 1),
        ("active.stride", active.stride, 1),
        ("active.min_points", active.min_points, 1),
    ):
        if value is not None and not value >= least:
            raise ConfigError(f"{key}: expected at least {least}, got {value}")
    if schedule.ema is not None and not 0 < schedule.ema < 1:
        raise ConfigError(f"schedule.ema: expected a decay between 0 and 1, got {schedule.ema}")
    for key, amount, unit in (
        ("active.budget_hours", active.budget_hours, "hours"),
        ("active.seconds_per_voxel", active.seconds_per_voxel, "seconds"),
    ):
        if amount is not None and not 0 < amount < math.inf:
            raise ConfigError(f"{key}: expected {unit} above 0, got {amount}")
    if active.budget_hours is not None and 3600 * active.budget_hours < active.seconds_per_voxel:
        raise ConfigError(
            f"active.budget_hours: nothing fits into {active.budget_hours:g} h: one voxel counts "
            f"as active.seconds_per_voxel={active.seconds_per_voxel:g} s until answers were timed; "
            f"give at least {_hours(active.seconds_per_voxel)}"
        )
    if schedule.precision != "fp32" and config.device == "cpu":
        raise ConfigError(
            f"schedule.precision: {schedule.precision} needs a CUDA device, and device is cpu; "
            "choose fp32"
        )
    for key, metres in (
        ("model.voxel_size", config.model.voxel_size),
        ("active.voxel_size", active.voxel_size),
        ("active.max_range", active.max_range),
    ):
        if metres is not None and not metres > 0:
            raise ConfigError(f"{key}: expected metres above 0, got {metres}")


def _hours(seconds: float) -> str:
    """Hours that are not less than this, in few digits."""
    return f"{math.ceil(seconds / 3.6) / 1000:g}"


def _check_epochs(config: RunConfig) -> None:
    at, epochs = config.active.rounds_at, config.schedule.epochs
    if any(b <= a for a, b in zip(at, at[1:], strict=False)) or any(e < 0 for e in at):
        raise ConfigError(f"active.rounds_at: expected increasing epochs from 0, got {at}")
    if config.is_active and at and at[-1] >= epochs:
        raise ConfigError(
            f"active.rounds_at: round {len(at)} is before epoch {at[-1]}, but training has only "
            f"{epochs} epochs"
        )
    for epoch in config.schedule.evaluate_at or ():
        if not 1 <= epoch <= epochs:
            raise ConfigError(
                f"schedule.evaluate_at: expected finished epochs, 1 to {epochs}, got {epoch}"
            )


def _check_online(config: RunConfig) -> None:
    """Online selection asks about a scan when its batch comes: what cannot go along."""
    active = config.active
    if active.when != "online" or not config.is_active:
        return
    if active.oracle_name != "truth":
        raise ConfigError(
            f"active.when: online selection is answered within the training step, so only the "
            f"oracle 'truth' can answer, not {active.oracle_name!r}; choose active.when=round"
        )
    limited = {"max_queries": active.max_queries, "budget_hours": active.budget_hours}
    for key in (key for key, value in limited.items() if value is not None):
        raise ConfigError(
            f"active.{key}: online selection meets the scans one after the other and cannot "
            "choose the best of a whole round; leave the key out, or choose active.when=round"
        )


def _check_names(config: RunConfig) -> None:
    from annotator3d.data.augment import augment
    from annotator3d.engine.training.optim import optimiser

    try:
        lookup(STRATEGIES, config.active.strategy)
    except ConfigError as error:
        raise ConfigError(f"active.strategy: {error}") from error
    _check_oracle(config.active.oracle)
    check(BACKBONES, config.model.backbone, "model.backbone")
    for key, dataset in vars(config.data).items():
        if isinstance(dataset, dict):
            check(DATASETS, dataset, f"data.{key}")
    optimiser(config.schedule)
    parameters = inspect.signature(augment).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    _refuse_unknown(config.schedule.augmentation or {}, known, "schedule.augmentation")


def _check_oracle(oracle: str | dict) -> None:
    from annotator3d.active.oracle import get_oracle

    try:
        if isinstance(oracle, str):
            lookup(ORACLES, oracle)
            return
        if "class_names" in oracle:
            raise ConfigError("class_names: they are those of the data, not a key")
    except ConfigError as error:
        raise ConfigError(f"active.oracle: {error}") from error
    check(ORACLES, oracle, "active.oracle")
    if oracle["type"] == "noisy":  # those of the user's own may be costly to make
        try:
            get_oracle(oracle)
        except ConfigError as error:
            raise ConfigError(f"active.oracle.{error}") from error


def _refuse_unknown(given: Iterable[str], known: list[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown key {f'{where}.{key}'!r}: {nearest(str(key), known)}")
