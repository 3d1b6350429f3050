"""Rules that need more than one key, or that need to know what is registered or installed.

The rules of single keys are beside them, in `schema`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

from annotator3d.engine.config.schema import ActiveConfig, RunConfig
from annotator3d.errors import ConfigError, nearest
from annotator3d.registry import BACKBONES, DATASETS, ORACLES, STRATEGIES, check, lookup


def check_values(config: RunConfig) -> None:
    """Refuse values that do not go together, and names that nothing is registered under.

    Raises:
        ConfigError: with the key and what is expected there.
    """
    _check_hours(config.active)
    _check_device(config)
    _check_epochs(config)
    _check_plugins(config)
    _check_online(config)
    check_optimizer(config.schedule.optimizer)
    _check_augmentation(config.schedule.augmentation or {})


def _check_hours(active: ActiveConfig) -> None:
    hours, seconds = active.budget_hours, active.seconds_per_voxel
    if hours is not None and 3600 * hours < seconds:
        enough = math.ceil(seconds / 3.6) / 1000  # rounded up, in few digits
        raise ConfigError(
            f"active.budget_hours: nothing fits into {hours:g} h: until answers are timed, one "
            f"voxel counts as active.seconds_per_voxel={seconds:g} s; give at least {enough:g}"
        )


def _check_device(config: RunConfig) -> None:
    precision = config.schedule.precision
    if precision != "fp32" and config.device == "cpu":
        raise ConfigError(
            f"schedule.precision: {precision} needs a CUDA device, and device is cpu; choose fp32"
        )


def _check_epochs(config: RunConfig) -> None:
    at, epochs = config.active.rounds_at, config.schedule.epochs
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
    limits = {"max_queries": active.max_queries, "budget_hours": active.budget_hours}
    for key in (key for key, limit in limits.items() if limit is not None):
        raise ConfigError(
            f"active.{key}: online selection sees one scan after the other and cannot choose the "
            "best of a whole round; leave the key out, or choose active.when=round"
        )


def _check_plugins(config: RunConfig) -> None:
    try:
        lookup(STRATEGIES, config.active.strategy)
    except ConfigError as error:
        raise ConfigError(f"active.strategy: {error}") from error
    _check_oracle(config.active.oracle)
    check(BACKBONES, config.model.backbone, "model.backbone")
    for key in ("train", "val", "source"):
        if (dataset := getattr(config.data, key)) is not None:
            check(DATASETS, dataset, f"data.{key}")


def _check_oracle(oracle: str | dict) -> None:
    key, table = "active.oracle", {"type": oracle} if isinstance(oracle, str) else oracle
    if isinstance(oracle, str):
        try:
            lookup(ORACLES, oracle)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error
    check(ORACLES, table, key)
    if "class_names" in table:
        raise ConfigError(f"{key}: class_names: they come from the data; leave the key out")
    check_config = getattr(lookup(ORACLES, table["type"]), "check_config", None)
    if check_config is not None:
        try:
            check_config({name: value for name, value in table.items() if name != "type"})
        except ConfigError as error:
            raise ConfigError(f"{key}.{error}") from error


def check_optimizer(optimizer: dict) -> None:
    """Refuse an optimizer that torch does not have, or keywords that it does not take.

    Raises:
        ConfigError: with the key and the nearest known name.
    """
    import torch.optim

    where, name = "schedule.optimizer", optimizer["type"]
    kinds = {n: c for n, c in vars(torch.optim).items() if inspect.isclass(c) and n != "Optimizer"}
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(f"{where}.type: unknown {name!r}: {nearest(str(name), kinds)}")
    known = [key for key in inspect.signature(kinds[name]).parameters if key != "params"]
    for key, value in optimizer.items():
        if key != "type" and key not in known:
            raise ConfigError(
                f"{where}.{key}: {name} takes no such key: {nearest(str(key), known)}"
            )
        _check_finite(f"{where}.{key}", value)


def _check_augmentation(augmentation: dict) -> None:
    from annotator3d.data.augment import augment

    parameters = inspect.signature(augment).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for key, value in augmentation.items():
        where = f"schedule.augmentation.{key}"
        if key not in known:
            raise ConfigError(f"unknown key {where!r}: {nearest(str(key), known)}")
        _check_finite(where, value)


def _check_finite(key: str, value: Any) -> None:
    for entry in value if isinstance(value, Iterable) and not isinstance(value, str) else [value]:
        if isinstance(entry, float) and not math.isfinite(entry):
            raise ConfigError(f"{key}: expected a finite number, got {value!r}")
