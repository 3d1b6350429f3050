"""Rules that need more than one key, or that need to know what is registered or installed.

The rules of single keys are beside them, in `schema`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

from annotator3d.active.evidence import FEATURES, PROTOTYPES
from annotator3d.active.strategies import get_strategy
from annotator3d.engine.config.keywords import check_keywords, check_named
from annotator3d.engine.config.schema import ActiveConfig, ModelConfig, RunConfig
from annotator3d.engine.config.training_checks import check_training
from annotator3d.errors import ConfigError, count, in_yaml, nearest
from annotator3d.models.segmentor import gives_features
from annotator3d.registry import BACKBONES, DATASETS, ORACLES, STRATEGIES, check, lookup

# Of keywords of optimisers; torch takes any number here, or any from 0 on.
_MOST = {"lr": 1000, "momentum": 1, "dampening": 1, "weight_decay": 1000, "eps": 1}


def check_values(config: RunConfig) -> None:
    """Refuse values that do not go together, and names that nothing is registered under.

    Raises:
        ConfigError: with the key and what is expected there.
    """
    _check_hours(config.active)
    _check_device(config)
    _check_epochs(config)
    _check_plugins(config)
    _check_features(config)
    _check_online(config)
    check_training(config)
    check_optimizer(config.schedule.optimizer)


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
            f"{count(epochs, 'epoch')}"
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
    limits = ("max_queries", "budget_hours", "spacing", "class_quota")
    for key in (key for key in limits if getattr(active, key)):
        raise ConfigError(
            f"active.{key}: online selection sees one scan after the other and cannot choose the "
            "best of a whole round; leave the key out, or choose active.when=round"
        )
    for key, given in (("strategy", active.strategy), ("first_round", active.first_round)):
        if given != "self" and (strategy := get_strategy(given)).asks_for_more:
            raise ConfigError(
                f"active.{key}: {strategy.name} needs more than the logits of a scan, and online "
                "selection has no more; choose another one, or active.when=round"
            )


def _check_plugins(config: RunConfig) -> None:
    _check_strategies(config.active)
    _check_oracle(config.active.oracle)
    check(BACKBONES, config.model.backbone, "model.backbone")
    check_keywords(BACKBONES, config.model.backbone, "model.backbone")
    _check_grid(config.model)
    for key in ("train", "val", "source"):
        if (dataset := getattr(config.data, key)) is not None:
            check(DATASETS, dataset, f"data.{key}")
            check_keywords(DATASETS, dataset, f"data.{key}")


def _check_strategies(active: ActiveConfig) -> None:
    """Names and keywords; the constructors judge the ranges."""
    given = {"active.strategy": active.strategy}
    if active.first_round != "self":
        given["active.first_round"] = active.first_round
    for key, config in given.items():
        table = {"type": config} if isinstance(config, str) else config
        check_named(STRATEGIES, config, key)
        check(STRATEGIES, table, key)
        if limits := table.keys() & {"voxel_size", "max_range", "min_points"}:
            name = min(limits)
            raise ConfigError(f"{key}.{name}: say it once, as active.{name}")
        check_keywords(STRATEGIES, table, key)
        try:
            strategy = get_strategy(config)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from error
        if active.class_quota > 0 and strategy.stratified:
            raise ConfigError(
                f"active.class_quota: {strategy.name} has quotas of its own, so this would change "
                "nothing; leave the key out"
            )


def _check_features(config: RunConfig) -> None:
    """Refuse a strategy that needs features, or the source's, before a network is trained that
    gives none."""
    active, name = config.active, config.model.backbone["type"]
    if not config.is_active:
        return
    known = gives_features(lookup(BACKBONES, name))
    for key, given in (("strategy", active.strategy), ("first_round", active.first_round)):
        strategy = get_strategy(active.strategy if given == "self" else given)
        if PROTOTYPES in strategy.needs and config.setting == "al":
            raise ConfigError(
                f"active.{key}: {strategy.name} compares with a source, and al has none; choose "
                "another one, or setting=asfda or ada"
            )
        if FEATURES in strategy.needs and not known:
            raise ConfigError(
                f"active.{key}: {strategy.name} needs features of voxels, which {name} does not "
                "give; choose another one, or MinkUNet or SPVCNN as model.backbone"
            )


def _check_grid(model: ModelConfig) -> None:
    """Refuse how cubes are made where the network reads none: it would change nothing."""
    name = model.backbone["type"]
    if not hasattr(lookup(BACKBONES, name), "projection_for"):
        return
    for key in ("voxel_size", "features"):
        if getattr(model, key) != getattr(ModelConfig(), key):
            raise ConfigError(
                f"model.{key}: {name} reads no cubes of points, so this would change nothing; "
                "leave the key out. Its grid is in the keys of model.backbone (docs/settings.md)"
            )


def _check_oracle(oracle: str | dict) -> None:
    key, table = "active.oracle", {"type": oracle} if isinstance(oracle, str) else oracle
    check_named(ORACLES, oracle, key)
    check(ORACLES, table, key)
    if "class_names" in table:
        raise ConfigError(f"{key}: class_names: they come from the data; leave the key out")
    check_config = getattr(lookup(ORACLES, table["type"]), "check_config", None)
    if check_config is not None:
        try:
            check_config({name: value for name, value in table.items() if name != "type"})
        except ConfigError as error:
            raise ConfigError(f"{key}.{error}") from error
    check_keywords(ORACLES, table, key)


def check_optimizer(optimizer: dict) -> None:
    """Refuse an optimizer that torch does not have, or keywords and values that it does not take.

    It is tried on two small parameters, as those of a network are: with a gradient, on the CPU.

    Raises:
        ConfigError: with the key and the nearest known name.
    """
    import torch.optim

    where, name = "schedule.optimizer", optimizer["type"]
    kinds = {n: c for n, c in vars(torch.optim).items() if inspect.isclass(c) and n != "Optimizer"}
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(f"{where}.type: unknown {name!r}: {nearest(str(name), kinds)}")
    known = {k: p for k, p in inspect.signature(kinds[name]).parameters.items() if k != "params"}
    for key, value in optimizer.items():
        if key != "type" and key not in known:
            raise ConfigError(
                f"{where}.{key}: {name} takes no such key: {nearest(str(key), known)}"
            )
        if key != "type":
            _check_number(f"{where}.{key}", value, known[key])
    _try_optimizer(kinds[name], {key: value for key, value in optimizer.items() if key != "type"})


def _try_optimizer(kind: Any, keywords: dict) -> None:
    import torch

    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,))]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    if keywords.get("capturable") and not torch.cuda.is_available():
        raise ConfigError(
            "schedule.optimizer.capturable: needs a CUDA device, and torch finds none; leave it out"
        )
    needs_device = keywords.get("capturable") or keywords.get("fused")
    try:
        optimizer = kind(parameters, **keywords)
        if not needs_device:
            optimizer.step()
    except Exception as error:  # each optimizer has words of its own
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"schedule.optimizer: {kind.__name__} cannot train with {keywords}: {words[-1]}"
        ) from error
    if not all(bool(parameter.isfinite().all()) for parameter in parameters):
        raise ConfigError(
            f"schedule.optimizer: one step of {kind.__name__} with {keywords} makes weights that "
            "are not finite; lower lr"
        )


def _check_number(key: str, value: Any, parameter: inspect.Parameter) -> None:
    """Refuse a value that is not of the kind of the parameter's default."""
    default, kind = parameter.default, str(parameter.annotation)
    if isinstance(default, bool) or (default is None and "bool" in kind and value is not None):
        if not isinstance(value, bool):
            raise ConfigError(f"{key}: expected true or false, got {in_yaml(value)}")
    elif isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{key}: expected a number, got {in_yaml(value)}")
    elif isinstance(default, tuple):
        entries = value if isinstance(value, list | tuple) else []
        if len(entries) != len(default) or not all(_is_number(entry) for entry in entries):
            raise ConfigError(f"{key}: expected {len(default)} numbers, got {in_yaml(value)}")
    _check_finite(key, value)
    most = _MOST.get(parameter.name)
    if most is not None and _is_number(value) and not 0 <= value <= most:
        raise ConfigError(f"{key}: expected a number from 0 to {most}, got {in_yaml(value)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_finite(key: str, value: Any) -> None:
    for entry in value if isinstance(value, Iterable) and not isinstance(value, str) else [value]:
        if isinstance(entry, float) and not math.isfinite(entry):
            raise ConfigError(f"{key}: expected a finite number, got {in_yaml(value)}")
