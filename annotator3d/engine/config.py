"""What a run may be told: every key, its default and its check. Configs say only what differs."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from annotator3d.registry import nearest


class ConfigError(ValueError):
    """What the user asked for is not a run: the command line or a config is wrong."""


SETTINGS = ("al", "asfda", "ada", "source_only", "target_only")


@dataclass
class DataConfig:
    """Where scans come from.

    `train` (the target's pool), `val` and `source` are configs of registered datasets. Their
    ``root`` may be left to ``--data-root`` (target and validation).
    """

    train: dict | None = None
    val: dict | None = None
    source: dict | None = None


@dataclass
class ModelConfig:
    """The network and how a scan becomes its input (`data.batch.InputRule`)."""

    voxel_size: float = 0.05
    features: str = "first"
    target_rule: str = "any"
    backbone: dict = field(default_factory=lambda: {"type": "MinkUNet"})
    label_smoothing: float = 0.1
    lovasz: float = 1.0
    bn: str = "target"
    adapt_bn: bool = True  # re-estimate statistics on the pool before round 1 (ASFDA, ADA)


@dataclass
class ScheduleConfig:
    """Published: SGD, linear warm-up over one epoch, then cosine by iteration, 50 epochs."""

    epochs: int = 50
    batch_size: int = 16
    source_batch_size: int | None = None  # None: as batch_size
    augmentation: dict | None = field(default_factory=dict)  # keywords of `augment`; None: none
    workers: int = 0  # processes that read scans
    optimizer: dict = field(
        default_factory=lambda: {"type": "SGD", "lr": 0.16, "momentum": 0.9, "weight_decay": 1e-4}
    )
    warmup_epochs: float = 1.0
    min_factor: float = 1e-3
    clip_norm: float | None = 10.0
    source_until: int = 30  # ADA: epochs with a source loss
    evaluate_at: list[int] | None = None  # finished epochs, besides the last; None: each round
    checkpoint_every: int = 1
    keep_checkpoints: int = 2


@dataclass
class ActiveConfig:
    """Which voxels are asked about, when, and by whom they are answered."""

    strategy: str = "vcd"
    rounds_at: list[int] = field(default_factory=lambda: [0, 3, 6, 9, 12])  # before these epochs
    budget: int = 1  # voxels of each scan and round
    max_queries: int | None = None  # voxels of a round over all scans
    first_round: str = "random"  # AL only: or 'self', the strategy on the untrained network
    oracle: str = "truth"
    voxel_size: float = 0.25
    max_range: float | None = None
    min_points: int = 1
    stride: int = 1  # ask about every n-th scan of the pool


@dataclass
class RunConfig:
    setting: str = "al"
    name: str = ""
    seed: int = 0
    init: str | None = None  # source checkpoint: needed by asfda and ada
    device: str = "auto"  # auto, cpu or cuda
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    active: ActiveConfig = field(default_factory=ActiveConfig)

    @property
    def is_active(self) -> bool:
        return self.setting in ("al", "asfda", "ada")


def _has_type(value: Any, annotation: Any) -> bool:
    options = typing.get_args(annotation) if "|" in str(annotation) else (annotation,)
    for option in options:
        kind = typing.get_origin(option) or option
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return True
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return True
    return False


def _build(cls: type, values: dict, where: str) -> Any:
    known = typing.get_type_hints(cls)
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown key {where + key!r}: {nearest(key, known)}")
        kind = known[key]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, dict):
                raise ConfigError(f"{where + key}: expected a table of keys, got {value!r}")
            values = {**values, key: _build(kind, value, f"{where}{key}.")}
        elif not _has_type(value, kind):
            words = getattr(kind, "__name__", str(kind))
            raise ConfigError(f"{where + key}: expected {words}, got {value!r}")
        elif isinstance(value, tuple):
            values = {**values, key: list(value)}
    return cls(**values)


def _check(config: RunConfig) -> None:
    active, schedule = config.active, config.schedule
    if config.setting not in SETTINGS:
        raise ConfigError(
            f"unknown setting {config.setting!r}: {nearest(config.setting, SETTINGS)}"
        )
    if active.first_round not in ("random", "self"):
        raise ConfigError(
            f"active.first_round: expected random or self, got {active.first_round!r}"
        )
    if config.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: expected auto, cpu or cuda, got {config.device!r}")
    at = active.rounds_at
    if any(b <= a for a, b in zip(at, at[1:], strict=False)) or any(e < 0 for e in at):
        raise ConfigError(f"active.rounds_at: expected increasing epochs from 0, got {at}")
    if config.is_active and at and at[-1] >= schedule.epochs:
        raise ConfigError(
            f"active.rounds_at: round {len(at)} is before epoch {at[-1]}, but training has only "
            f"{schedule.epochs} epochs"
        )
    for name, value in (
        ("schedule.epochs", schedule.epochs),
        ("schedule.checkpoint_every", schedule.checkpoint_every),
        ("schedule.keep_checkpoints", schedule.keep_checkpoints),
        ("schedule.batch_size", schedule.batch_size),
        ("active.budget", active.budget),
        ("active.stride", active.stride),
        ("active.min_points", active.min_points),
    ):
        if value < 1:
            raise ConfigError(f"{name}: expected at least 1, got {value}")
    for name, size in (("model", config.model), ("active", active)):
        if not size.voxel_size > 0:
            raise ConfigError(f"{name}.voxel_size: expected metres above 0, got {size.voxel_size}")


def make_config(values: dict) -> RunConfig:
    """Check a nested dict against the keys above and fill in the defaults.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a value of a wrong type or range.
    """
    config = _build(RunConfig, values, "")
    _check(config)
    return config


def find_config(name: str) -> Path:
    """A config file by path, or by its name under the configs that come with the package.

    Raises:
        ConfigError: there is none (with the nearest names).
    """
    if Path(name).is_file():
        return Path(name)
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    folders = [checkout / "configs"] if (checkout / "pyproject.toml").is_file() else []
    folders.append(package / "configs")  # in an editable install a copy, perhaps an old one
    known = {
        str(path.relative_to(folder).with_suffix("")): path
        for folder in reversed(folders)
        for path in sorted(folder.rglob("*.py"))
        if "_base_" not in path.parts
    }
    wanted = name.removesuffix(".py").removeprefix("configs/")
    if wanted not in known:
        raise ConfigError(f"no config file {name}: {nearest(wanted, known)}")
    return known[wanted]


def load_config(path: str | Path, settings: typing.Sequence[str] = ()) -> RunConfig:
    """Read a config file (mmengine's language: Python, YAML or JSON with ``_base_``).

    Args:
        path: the file.
        settings: ``key.path=value`` strings that override it; values are YAML.
    """
    from annotator3d.mm import Config

    try:
        values = Config.fromfile(str(path)).to_dict()
    except (SyntaxError, TypeError, KeyError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as a config: {error}") from error
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    for text in settings:
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"--set {text}: expected key=value, for example active.strategy=vcd")
        node = values
        *parents, last = key.strip().split(".")
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[last] = yaml.safe_load(value)
    return make_config(values)


def dump_config(config: RunConfig) -> str:
    """The effective config, defaults included, as YAML that `load_config` reads back."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
