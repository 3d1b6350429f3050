"""What a run may be told: every key, its default and its check. Configs say only what differs."""

from __future__ import annotations

from dataclasses import dataclass, field

SETTINGS = ("al", "asfda", "ada", "source_only", "target_only")
RENAMED = {"active.budget": "active.queries_per_scan"}  # old key -> key; both are read


@dataclass
class CustomImports:
    """Python files or modules to import before the names of a config are looked up."""

    imports: list[str] = field(default_factory=list)  # 'mine.py' or 'package.module'
    folder: str | None = None  # where they are; None: the folder of the config file
    allow_failed_imports: bool = False  # mmengine's key; only False


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
    queries_per_scan: int = 1  # voxels of each scan and round
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
