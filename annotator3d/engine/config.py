"""What a run may be told: every key, its default and its check. Configs say only what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from annotator3d.active.packages import is_package
from annotator3d.engine.checks import SETTINGS, check_values, from_values
from annotator3d.engine.custom import CustomImports, import_custom, resolve_folder
from annotator3d.engine.overrides import overlay, override, with_exponents
from annotator3d.errors import ConfigError
from annotator3d.registry import nearest

__all__ = [
    "SETTINGS",
    "ActiveConfig",
    "ConfigError",
    "CustomImports",
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "ScheduleConfig",
    "dump_config",
    "find_config",
    "load_config",
    "make_config",
]


@dataclass
class DataConfig:
    """Where scans come from.

    `train` (the target's pool), `val` and `source` are configs of registered datasets. Their
    ``root`` may be left to ``--data-root`` (target and validation). Where a person answers, `val`
    may be none: nothing is evaluated then.
    """

    train: dict | None = None
    val: dict | None = None
    source: dict | None = None
    quarantine: bool = False  # leave scans with errors out instead of refusing the dataset


@dataclass
class ModelConfig:
    """The network and how a scan becomes its input (`data.batch.InputRule`)."""

    voxel_size: float = 0.05
    features: str = "first"
    target_rule: str = "any"
    backbone: dict = field(default_factory=lambda: {"type": "MinkUNet"})
    label_smoothing: float = 0.1
    lovasz: float = 1.0
    ignored_output: bool = False  # one output more, of no class: published
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
    cosine: str = "full"  # or 'published': ends above `min_factor`
    precision: str = "fp32"  # or 'fp16', 'bf16' (CUDA)
    accumulate: int = 1  # batches of each process whose gradients make one update
    reference_batch: int | None = None  # scans an update that `lr` is for; None: batch_size
    ema: float | None = None  # decay of the averaged weights, per update; None: no average
    clip_norm: float | None = 10.0
    source_until: int = 30  # ADA: epochs with a source loss
    evaluate_at: list[int] | None = None  # finished epochs, besides the last; None: each round
    checkpoint_every: int = 1
    keep_checkpoints: int = 2


@dataclass
class ActiveConfig:
    """Which voxels are asked about, when, and by whom they are answered."""

    strategy: str = "vcd"
    when: str = "round"  # before the epoch; or 'online': during it, in each training step
    rounds_at: list[int] = field(default_factory=lambda: [0, 3, 6, 9, 12])  # epochs, from 0
    budget: int = 1  # voxels of each scan and round
    max_queries: int | None = None  # voxels of a round over all scans
    budget_hours: float | None = None  # a person's hours for a round, as far as can be told
    seconds_per_voxel: float = 20.0  # for budget_hours, before enough answers were timed
    first_round: str = "random"  # AL only: or 'self', the strategy on the untrained network
    oracle: str | dict = "truth"  # a name, or {type: name} with the keywords of that oracle
    voxel_size: float = 0.25
    max_range: float | None = None
    min_points: int = 1
    stride: int = 1  # ask about every n-th scan of the pool

    @property
    def oracle_name(self) -> str:
        return self.oracle if isinstance(self.oracle, str) else self.oracle["type"]


@dataclass
class RunConfig:
    setting: str = "al"
    name: str = ""
    seed: int = 0
    init: str | None = None  # source checkpoint: needed by asfda and ada
    device: str = "auto"  # auto, cpu or cuda
    logs: list[str] = field(default_factory=lambda: ["json", "csv"])  # and 'tensorboard'
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    active: ActiveConfig = field(default_factory=ActiveConfig)
    custom_imports: CustomImports = field(default_factory=CustomImports)

    @property
    def is_active(self) -> bool:
        return self.setting in ("al", "asfda", "ada")


def make_config(values: dict) -> RunConfig:
    """Check a nested dict against the keys above and fill in the defaults.

    Raises:
        ConfigError: an unknown key or name (with the nearest known one), a value of a wrong type or
            range.
    """
    config = from_values(RunConfig, values)
    import_custom(config.custom_imports)
    check_values(config)
    if config.active.oracle == {"type": config.active.oracle_name}:
        config.active.oracle = config.active.oracle_name  # one way to write it: runs are compared
    return config


def find_config(name: str) -> Path:
    """A config file by path, or by its name under the configs that come with the package.

    Raises:
        ConfigError: there is none (with the nearest names).
    """
    if Path(name).is_file():
        return Path(name)
    known = {
        str(path.relative_to(folder).with_suffix("")): path
        for folder in _config_folders()
        for path in sorted(folder.rglob("*.py"))
        if "_base_" not in path.parts
    }
    wanted = name.removesuffix(".py").removeprefix("configs/")
    if wanted not in known:
        raise ConfigError(f"no config file {name}: {nearest(wanted, known)}")
    return known[wanted]


def _config_folders() -> list[Path]:
    """Where configs lie, the one that counts last."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    folders = [package / "configs"]  # in an editable install a copy, perhaps an old one
    return folders + [checkout / "configs"] * (checkout / "pyproject.toml").is_file()


def load_config(path: str | Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read a config file (mmengine's language: Python, YAML or JSON with ``_base_``).

    A key ``variant`` names a file of ``configs/_base_/variants`` whose keys go over the config's.
    The key itself is not kept: the effective config has the keys that it stands for.

    Args:
        path: the file.
        settings: ``key.path=value`` strings that override it; values are YAML.

    Raises:
        ConfigError: the file cannot be read, or `make_config` refuses what it says.
    """
    values = _with_settings(_read(path), settings)
    if (variant := values.pop("variant", None)) is not None:
        known = {p.stem: p for f in _config_folders() for p in f.glob("_base_/variants/*.py")}
        if str(variant) not in known:
            raise ConfigError(f"variant: unknown {variant!r}: {nearest(str(variant), known)}")
        values = _with_settings(overlay(values, _read(known[variant])), settings)
        values.pop("variant", None)
    resolve_folder(values, Path(path))
    return make_config(values)


def _with_settings(values: dict, settings: Sequence[str]) -> dict:
    for setting in settings:
        override(values, setting)
    return values


def _read(path: str | Path) -> dict:
    """What a config file says, its bases included.

    Raises:
        ConfigError: it cannot be read.
    """
    from annotator3d.mm import Config

    if is_package(Path(path)):
        raise ConfigError(
            f"{path} is a work package, not a config: `annotator3d label` opens it, and "
            "`annotator3d package merge WORK_DIR` brings its answers to where it is trained"
        )
    try:
        values = Config.fromfile(str(path), import_custom_modules=False).to_dict()
    except Exception as error:  # a config in Python is a program: it can fail in any way
        words = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path}: cannot be read as a config: {words}") from error
    values = {key: value for key, value in values.items() if not str(key).startswith("_")}
    for table in values.keys() & {"model", "schedule", "active"}:  # data: a scan may be named 1e3
        values[table] = with_exponents(values[table])
    return values


def dump_config(config: RunConfig) -> str:
    """The effective config, defaults included, as YAML that `load_config` reads back."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
