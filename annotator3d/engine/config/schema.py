"""Every key of a config: its default and, beside it, its type, range or choices.

Configs say only what differs. Rules that need more than one key are in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

_MOST = 1_000_000_000
RENAMED = {"active.budget": "active.queries_per_scan"}  # old key -> key; both are read


def rule(words: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """A rule for a value; `words` say what is expected, for the message."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _name_or_table(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise ValueError("a name, or a table of keys with a 'type'")
    return value


def _all_one_or_number(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not (is_number and 1 <= value <= _MOST) and value not in ("all", "one"):
        raise ValueError(f"all, one, or a number of points from 1 to {_MOST:,}")
    return value


def _increase_from_0(epochs: list[int]) -> bool:
    return all(a < b for a, b in zip([-1, *epochs], epochs, strict=False))


def _are_factors(given: list[float]) -> bool:
    return len(given) == 2 and 0.001 <= given[0] <= given[1] <= 1000


Integer = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # an integer is one, too
# Limits that no run needs to pass; beyond them integers and floats of the parts below overflow.
Count = Annotated[Integer, Field(ge=1, le=_MOST)]
CountOrZero = Annotated[Integer, Field(ge=0, le=_MOST)]
Seed = Annotated[Integer, Field(ge=0, le=2**32 - 2)]  # numpy takes 32 bits; the source has seed + 1
Processes = Annotated[Integer, Field(ge=0, le=512)]
Share = Annotated[Number, Field(ge=0, le=1)]
FirstFactor = Annotated[
    Number, rule("a factor above 0, at most 1", lambda factor: 1e-12 <= factor <= 1)
]  # warm-up multiplies it up to 1
NotNegative = Annotated[Number, Field(ge=0, le=1_000_000)]
Weight = Annotated[Number, Field(ge=0, le=1_000)]
Positive = Annotated[
    Number, rule("a number above 0, at most 1e9", lambda number: 0 < number <= 1e9)
]
Metres = Annotated[Number, rule("metres above 0, at most 1e6", lambda metres: 0 < metres <= 1e6)]
Edge = Annotated[
    Number, rule("metres above 0, from 0.001 to 1000", lambda metres: 0.001 <= metres <= 1000)
]
Hours = Annotated[Number, rule("hours above 0, at most 1e6", lambda hours: 0 < hours <= 1e6)]
Seconds = Annotated[Number, rule("seconds above 0, at most 1e6", lambda s: 0 < s <= 1e6)]
Decay = Annotated[Number, rule("a decay between 0 and 1", lambda decay: 0 < decay < 1)]
Epochs = Annotated[list[CountOrZero], rule("increasing epochs from 0", _increase_from_0)]
Factors = Annotated[
    list[Number], rule("two factors from 0.001 to 1000, the smaller one first", _are_factors)
]
LabelPoints = Annotated[StrictStr | Count, BeforeValidator(_all_one_or_number)]
NameOrTable = Annotated[StrictStr | dict, BeforeValidator(_name_or_table)]
"""The name of a plug-in, or {type: name} with the keywords of that plug-in."""


def name_of(given: str | dict) -> str:
    """The name of a plug-in that a `NameOrTable` gives."""
    return given if isinstance(given, str) else str(given.get("type"))


def table_over(default: dict) -> Any:
    """The type of a table that takes what it lacks from `default`, unless it names its type."""
    return Annotated[
        dict, AfterValidator(lambda given: given if "type" in given else {**default, **given})
    ]


_BACKBONE = {"type": "MinkUNet"}
_OPTIMIZER = {"type": "SGD", "lr": 0.16, "momentum": 0.9, "weight_decay": 1e-4}
_KEYS = ConfigDict(extra="forbid")


@dataclass(config=_KEYS)
class CustomImports:
    """Python files or modules to import before the names of a config are looked up."""

    imports: list[StrictStr] = field(default_factory=list)  # 'mine.py' or 'package.module'
    folder: StrictStr | None = None  # where they are; None: the folder of the config file
    allow_failed_imports: Annotated[  # mmengine's key
        StrictBool, rule("false: a run needs what its config names", lambda allowed: not allowed)
    ] = False


@dataclass(config=_KEYS)
class DataConfig:
    """Where scans come from.

    `train` (the target's pool), `val` and `source` are configs of registered datasets. Their
    ``root`` may be left to ``--data-root`` (target and validation). If `val` is None, nothing is
    evaluated.
    """

    train: dict | None = None
    val: dict | None = None
    source: dict | None = None
    quarantine: StrictBool = False  # leave scans with errors out instead of refusing the dataset


@dataclass(config=_KEYS)
class ModelConfig:
    """The network and how a scan becomes its input (`data.batch.InputRule`)."""

    voxel_size: Edge = 0.05
    features: Literal["first", "mean"] = "first"
    target_rule: Literal["any", "first"] = "any"
    backbone: table_over(_BACKBONE) = field(default_factory=lambda: dict(_BACKBONE))
    label_smoothing: Share = 0.1
    lovasz: Weight = 1.0
    ignored_output: StrictBool = False  # one more output, of no class: published
    bn: Literal["target", "published"] = "target"
    adapt_bn: StrictBool = True  # re-estimate statistics on the pool before round 1 (ASFDA, ADA)


class Augmentation(TypedDict, total=False):
    """The keywords of `data.augment.augment`."""

    __pydantic_config__ = _KEYS

    rotate: StrictBool
    scale: Factors
    flip: StrictBool
    translate: Weight  # metres


@dataclass(config=_KEYS)
class ScheduleConfig:
    """Published: SGD, linear warm-up over one epoch, then cosine by iteration, 50 epochs."""

    epochs: Count = 50
    batch_size: Count = 16
    source_batch_size: Count | None = None  # None: as batch_size
    augmentation: Augmentation | None = field(default_factory=dict)  # None: none
    workers: Processes = 0  # processes that read scans
    optimizer: table_over(_OPTIMIZER) = field(default_factory=lambda: dict(_OPTIMIZER))
    warmup_epochs: NotNegative = 1.0
    min_factor: FirstFactor = 1e-3
    cosine: Literal["full", "published"] = "full"  # published: ends above `min_factor`
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"  # fp16 and bf16 need CUDA
    accumulate: Count = 1  # batches of each process whose gradients make one update
    reference_batch: Count | None = None  # scans an update that `lr` is for; None: batch_size
    ema: Decay | None = None  # of the averaged weights, per update; None: no average
    clip_norm: Positive | None = 10.0  # of the gradient; None: no clipping
    source_until: CountOrZero = 30  # ADA: epochs with a source loss
    evaluate_at: list[Integer] | None = None  # finished epochs, besides the last; None: each round
    checkpoint_every: Count = 1
    keep_checkpoints: Count = 2


@dataclass(config=_KEYS)
class ActiveConfig:
    """Which voxels are asked about, when, and by whom they are answered."""

    strategy: NameOrTable = "vcd"
    when: Literal["round", "online"] = "round"  # before the epoch, or in each of its steps
    rounds_at: Epochs = field(default_factory=lambda: [0, 3, 6, 9, 12])
    queries_per_scan: Count = 1  # voxels of each scan and round
    max_queries: Count | None = None  # voxels of a round over all scans
    budget_hours: Hours | None = None  # a person's hours for a round, as far as it can be predicted
    label_points: LabelPoints = "all"  # of a voxel that an answer labels: all, one, or a number
    seconds_per_voxel: Seconds = 20.0  # for budget_hours, before enough answers were timed
    first_round: NameOrTable = "random"  # AL; a strategy, or self: `strategy`, untrained network
    oracle: NameOrTable = "truth"
    voxel_size: Edge = 0.25
    max_range: Metres | None = None
    min_points: Count = 1
    stride: Count = 1  # ask about every n-th scan of the pool
    spacing: Metres | None = None  # between the voxels of all rounds, in the world where poses are
    class_quota: Share = 0.0  # of a round, spread equally over the predicted classes
    queries_per_hour: Count | None = None  # of a stream
    scans_per_hour: Count = 36_000  # of a stream: 10 Hz
    candidates: Count = 100  # voxels of each scan (and class) that spacing and quotas choose among

    @property
    def strategy_name(self) -> str:
        return name_of(self.strategy)

    @property
    def first_name(self) -> str:
        """The strategy of AL's first round."""
        return self.strategy_name if self.first_round == "self" else name_of(self.first_round)

    def strategy_called(self, name: str) -> str | dict:
        """The config of the strategy of this name, of the two that a run may use."""
        known = [given for given in (self.strategy, self.first_round) if name_of(given) == name]
        return known[0] if known else name

    @property
    def num_label_points(self) -> int | None:
        """Most points of a voxel that an answer labels; None: all."""
        words = {"all": None, "one": 1}
        return words.get(self.label_points, self.label_points)

    @property
    def oracle_name(self) -> str:
        return name_of(self.oracle)


@dataclass(config=_KEYS)
class TeacherConfig:
    """A moving average of the network that labels what nobody has answered. Off by default: both
    weights are 0."""

    pseudo_labels: Weight = 0.0  # of the loss on the labels that it gives
    consistency: Weight = 0.0  # of the difference between its probabilities and the network's
    decay: Decay = 0.99  # of its weights, per update
    view: Literal["raw", "same"] = "raw"  # of a scan: as recorded, or augmented as the network's
    floor: Share = 0.3  # the lowest confidence of a pseudo-label
    threshold_decay: Decay = 0.99  # of the moving mean confidence of a class, per batch
    from_epoch: CountOrZero = 0

    @property
    def is_on(self) -> bool:
        return self.pseudo_labels > 0 or self.consistency > 0


def _on_or_off(value: Any) -> Any:
    """``true`` is a table of defaults, ``false`` none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


PartOfLoss = Annotated[Number, rule("a weight above 0, at most 1", lambda weight: 0 < weight <= 1)]
Angle = Annotated[Number, rule("degrees above 0, at most 90", lambda degrees: 0 < degrees <= 90)]
Reach = Annotated[Integer, Field(ge=1, le=1000)]


@dataclass(config=_KEYS)
class PropagateConfig:
    """From an answer to points of other scans at the same place of the world."""

    scans: Reach = 10  # of the sequence, before and after
    metres: Metres = 20.0  # between the two sensors
    cell: Edge = 0.1
    occlusion: Metres | None = 0.5  # a scan that sees so far behind a place sees through; None: any
    weight: PartOfLoss = 0.5
    classes: list[StrictStr] | None = None  # None: all that do not move


@dataclass(config=_KEYS)
class SurfaceConfig:
    """From an answer to points of its own scan on the same surface."""

    metres: Metres = 0.3
    degrees: Angle = 15.0  # between two normals
    weight: PartOfLoss = 0.5


@dataclass(config=_KEYS)
class AgreementConfig:
    """From predictions that scans agree on to points that no answer reaches."""

    scans: Reach = 10  # of the sequence, before and after
    metres: Metres = 20.0  # between the two sensors
    cell: Edge = 0.25
    others: Reach = 2  # scans that predict the same there, at least
    weight: PartOfLoss = 0.5
    classes: list[StrictStr] | None = None  # None: all that do not move


OPTIONAL = {  # key -> the table it may be
    "propagate": PropagateConfig,
    "surface": SurfaceConfig,
    "agreement": AgreementConfig,
}


@dataclass(config=_KEYS)
class BalanceConfig:
    """What rare classes among the answers count: powers of their rarity, 0 (nothing) to 1."""

    scans: Share = 0.0  # how much more often scans with a rare class are drawn
    classes: Share = 0.0  # how much more a rare class counts in the cross-entropy

    @property
    def is_on(self) -> bool:
        return self.scans > 0 or self.classes > 0


@dataclass(config=_KEYS)
class AdaptConfig:
    """Training without labels before round 1 of ASFDA and ADA, by the teacher's keys."""

    epochs: CountOrZero = 0  # at most, of the pool; they are not those of the schedule
    mix: StrictBool = False  # ADA: patches of the source in the target's scans, and the reverse
    lr_factor: Positive = 0.1  # learning rate, as a share of the schedule's
    stop: Literal["entropy", "none"] = "entropy"  # by which the best epoch is known
    patience: Count = 2  # epochs without a better one after which the phase ends
    agreement: Share = 0.8  # least part that a better one predicts as before the phase


@dataclass(config=_KEYS)
class TrainingConfig:
    """What training makes of the answers beyond the labels that they give: one key a lever, off by
    default."""

    propagate: Annotated[PropagateConfig | None, BeforeValidator(_on_or_off)] = None
    surface: Annotated[SurfaceConfig | None, BeforeValidator(_on_or_off)] = None
    agreement: Annotated[AgreementConfig | None, BeforeValidator(_on_or_off)] = None
    mix: NameOrTable | None = None  # a recipe that makes one training scan of two; None: none
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    negative: Weight = 0.0  # of negative learning where nobody has answered; 0: off
    negative_threshold: Share = 0.05  # a class is unlikely where its probability is below
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)

    def levers(self) -> list[str]:
        """The keys of the levers that are pulled."""
        on = {
            "propagate": self.propagate is not None,
            "surface": self.surface is not None,
            "agreement": self.agreement is not None,
            "mix": self.mix,
            "balance": self.balance.is_on,
            "negative": self.negative,
            "teacher": self.teacher.is_on,
        }
        return [key for key, is_on in on.items() if is_on]


@dataclass(config=_KEYS)
class RunConfig:
    """All keys of a run."""

    setting: Literal["al", "asfda", "ada", "source_only", "target_only"] = "al"
    name: StrictStr = ""
    seed: Seed = 0
    init: StrictStr | None = None  # source checkpoint: needed by asfda and ada
    device: Literal["auto", "cpu", "cuda"] = "auto"
    logs: list[Literal["json", "csv", "tensorboard"]] = field(
        default_factory=lambda: ["json", "csv"]
    )
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    active: ActiveConfig = field(default_factory=ActiveConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    custom_imports: CustomImports = field(default_factory=CustomImports)

    @property
    def is_active(self) -> bool:
        return self.setting in ("al", "asfda", "ada")
