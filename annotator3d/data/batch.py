"""Scans as the network sees them: augmented, voxelised, collated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from annotator3d.data.augment import augment
from annotator3d.data.datasets.base import ScanDataset
from annotator3d.data.mixing.plan import MixPlan
from annotator3d.data.projections.projected import PointSet, Projection
from annotator3d.data.scan import IGNORE, Scan, VoxelLabels, rows_of_cells
from annotator3d.data.taught_labels import TaughtFile
from annotator3d.errors import in_yaml
from annotator3d.kernels import Voxels
from annotator3d.kernels.grouping import voxel_features, voxelize
from annotator3d.kernels.scores import voxel_class_histogram

TARGET_RULES = ("any", "first")
FEATURES = ("first", "mean")


@dataclass(frozen=True)
class InputRule:
    """How a scan becomes network input.

    Attributes:
        voxel_size: edge of a network voxel in metres.
        features: ``first`` (published): x, y, z, intensity of the voxel's first point; ``mean``:
            their mean over its points.
        target: ``any``: the majority of the voxel's labelled points (ties: lowest class), ignored
            if none is labelled; ``first`` (published): the label of its first point.
        num_classes: C.
        projection: the grid of a network that does not read cubes; `voxel_size` and `features` are
            not used then, and a "voxel" below is one of its cells (`data.projections`).
    """

    num_classes: int
    voxel_size: float = 0.05
    features: str = "first"
    target: str = "any"
    projection: Projection | None = None

    def __post_init__(self) -> None:
        for name, known in (("features", FEATURES), ("target", TARGET_RULES)):
            if (given := getattr(self, name)) not in known:
                raise ValueError(
                    f"{name}: expected one of {', '.join(known)}, got {in_yaml(given)}"
                )

    @property
    def target_by_first(self) -> bool:
        """Whether the target of a voxel is the label of the point that stands for it."""
        return self.target == "first" or (self.projection is not None and self.projection.by_first)


def answer_labels(scan: Scan, answers: Sequence[VoxelLabels], size: float) -> np.ndarray:
    """Labels [N] uint8 of a scan's points: those of the answered voxels, 255 elsewhere.

    Raises:
        ValueError: an answer has another number of labels than its voxel has points: the scan or
            the grid is not the one that was asked about.
    """
    labels = np.full(len(scan.xyz), IGNORE, np.uint8)
    found = rows_of_cells(scan.xyz, [voxel.cell for voxel in answers], size)
    for voxel, rows in zip(answers, found, strict=True):
        given = voxel.labels
        if len(rows) != len(given):
            given = _of_points_then(scan, rows, voxel)
        if len(rows) != len(given):
            raise ValueError(
                f"scan {scan.id}, voxel {tuple(int(c) for c in voxel.cell)}: the ledger holds "
                f"{len(voxel.labels)} labels but the voxel has {len(rows)} points; this is not the "
                "scan that was asked about"
            )
        labels[rows] = given
    return labels


def answered_points(scan: Scan, answers: Sequence[VoxelLabels], size: float) -> NDArray[np.bool_]:
    """[N] which points of a scan lie in answered voxels, also those whose answer is "ignore"."""
    found = np.zeros(len(scan.xyz), bool)
    for rows in rows_of_cells(scan.xyz, [voxel.cell for voxel in answers], size):
        found[rows] = True
    return found


def _has_class(voxel: VoxelLabels) -> bool:
    """Whether an answer gives any point a class."""
    return bool((voxel.labels != IGNORE).any())


def _of_points_then(scan: Scan, rows: np.ndarray, voxel: VoxelLabels) -> np.ndarray:
    """The labels of the points at `rows`, of a voxel that had others in earlier versions.

    They took beams without a return for points of the sensor's own voxel, so that there are labels
    of these too, and left out points without an intensity, which have no label then.
    """
    raw = scan.rows[rows]
    if tuple(voxel.cell) == (0, 0, 0):
        asked = np.sort(np.concatenate([raw, scan.no_return]))
        if len(asked) == len(voxel.labels):
            return voxel.labels[np.isin(asked, raw)]
    there = ~np.isin(raw, scan.no_intensity)
    if there.sum() != len(voxel.labels):
        return voxel.labels
    given = np.full(len(rows), IGNORE, np.uint8)
    given[there] = voxel.labels
    return given


def voxel_targets(labels: torch.Tensor, voxels: Voxels, rule: InputRule) -> torch.Tensor:
    """Target [V] int64 of each network voxel under ``rule.target``; labels [N] uint8."""
    if rule.target_by_first:
        return labels[voxels.first].long()
    histogram = voxel_class_histogram(labels, voxels, rule.num_classes)
    return torch.where(histogram.sum(1) > 0, histogram.argmax(1), IGNORE)


def weighted_targets(
    labels: torch.Tensor,
    taught: torch.Tensor,
    weights: torch.Tensor,
    voxels: Voxels,
    rule: InputRule,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets [V] of `voxel_targets`, and of taught labels where there is none; their weights [V].

    An answer weighs 1. A taught target has the highest weight among the taught points of its class
    in the voxel.

    Args:
        labels: [N] uint8 of answers. taught: [N] uint8. weights: [N] float32 of the taught labels.
    """
    target, other = (voxel_targets(given, voxels, rule) for given in (labels, taught))
    own = (target != IGNORE) | (other == IGNORE)
    point_to_voxel = voxels.point_to_voxel.long()
    counts = taught.long() == other[point_to_voxel]
    highest = torch.zeros(len(other)).scatter_reduce(
        0, point_to_voxel, torch.where(counts, weights, 0.0), "amax"
    )
    return torch.where(own, target, other), torch.where(own, 1.0, highest)


def make_sample(
    scan: Scan,
    rule: InputRule,
    labels: np.ndarray | None = None,
    xyz: np.ndarray | None = None,
    taught: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict:
    """One scan as tensors: cells, features, target (if `labels`), point_to_voxel, id.

    With `taught`, labels [N] uint8 and their weights [N] float32 (`taught_points`), also
    ``weight`` [V] of the targets, of which some are of taught labels.
    With a projection, ``points`` [N, F] is there in place of ``features``. ``first`` [V] is the row
    of the point that stands for a voxel. `xyz` are augmented coordinates instead of the scan's own.

    Raises:
        ValueError: the scan does not fit the grid of ``rule.projection``.
    """
    xyz = scan.xyz if xyz is None else xyz
    if rule.projection is None:
        points = torch.from_numpy(np.column_stack([xyz, scan.intensity]).astype(np.float32))
        voxels = voxelize(points, rule.voxel_size)
        told = {"features": voxel_features(points, voxels, rule.features)}
    else:
        found = rule.projection.project(PointSet(scan.id, xyz, scan.intensity, scan.ring))
        voxels, told = found.cells, {"points": found.points}
    sample = {
        "id": scan.id,
        "cells": voxels.cells,
        **told,
        "point_to_voxel": voxels.point_to_voxel,
        "first": voxels.first,
    }
    if labels is not None and taught is not None:
        sample["target"], sample["weight"] = weighted_targets(
            *map(torch.from_numpy, (labels, *taught)), voxels, rule
        )
    elif labels is not None:
        sample["target"] = voxel_targets(torch.from_numpy(labels), voxels, rule)
    return sample


def taught_points(file: TaughtFile | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N] uint8 that the points of a scan were taught, 255 elsewhere, and their weights.

    Raises ValueError for a file that is not the one that is meant.
    """
    labels, weights = np.full(count, IGNORE, np.uint8), np.zeros(count, np.float32)
    if file is not None:
        found, of_found = file.read()
        labels[found.rows], weights[found.rows] = found.labels, of_found
    return labels, weights


def collate(samples: Sequence[dict]) -> dict:
    """Samples of `make_sample` as one batch: rows of scan b are ``splits[b]:splits[b + 1]``."""
    counts = torch.tensor([0, *(len(s["cells"]) for s in samples)])
    splits = counts.cumsum(0)
    num_points = torch.tensor([len(s["point_to_voxel"]) for s in samples])
    before = num_points.cumsum(0) - num_points
    batch = {
        "ids": [s["id"] for s in samples],
        "splits": splits,
        "num_points": num_points,
        "point_to_voxel": _numbered(samples, "point_to_voxel", splits),
        "first": _numbered(samples, "first", before),
    }
    for key in ("cells", "features", "points", "target", "answered", "of_source"):
        if key in samples[0]:
            batch[key] = torch.cat([s[key] for s in samples])
    if "raw" in samples[0]:
        batch["raw"] = collate([s["raw"] for s in samples])
    if "scan" in samples[0]:
        batch["scans"] = [s["scan"] for s in samples]
        batch["labels"] = [s["labels"] for s in samples]
    if any("weight" in sample for sample in samples):
        weights = [s["weight"] if "weight" in s else torch.ones(len(s["cells"])) for s in samples]
        batch["weight"] = torch.cat(weights)
    return batch


def _numbered(samples: Sequence[dict], key: str, starts: torch.Tensor) -> torch.Tensor:
    """Rows of each scan as rows of the batch."""
    return torch.cat([s[key] + n for s, n in zip(samples, starts.tolist(), strict=False)])


class SampleRequest(NamedTuple):
    """A request for one training scan, with all that changes from epoch to epoch.

    The labels travel with the index to the process that reads the scan, so that one that lives
    through many epochs never works with the labels of an earlier one.
    """

    index: int
    epoch: int
    answers: Sequence[VoxelLabels] | None  # of this scan; None: all its labels are used
    whole: bool = False  # the sample carries the scan as recorded, with its labels
    partner: SampleRequest | None = None  # of the scan that it is mixed with; None: of none
    taught: TaughtFile | None = None  # labels for points that nobody was asked about
    repeat: int = 0  # how often the scan has been drawn in this epoch before


@dataclass
class TrainingScans(Dataset):
    """Augmented scans with all labels (`answers` None) or with those that the oracle gave.

    An index is read as the `request` of this moment.

    Attributes:
        base: the scans.
        augmentation: keywords of `augment`; None: none at all.
        answers: scan id -> answers on the query grid of `query_size` metres.
        taught: scan id -> what answers teach its other points.
        for_teacher: the samples say which voxels are answered, ``answered`` [V] bool.
        with_raw: they carry the scan as recorded, ``raw``, a sample with the same points.
        mixing: with which scans they are mixed; None: with none.
        balance: power by which scans with rare classes in their answers are drawn more often
            (`balance.scan_weights`); 0: each is drawn once an epoch.
    """

    base: ScanDataset
    rule: InputRule
    seed: int
    augmentation: Mapping | None = field(default_factory=dict)
    query_size: float = 0.25
    answers: Mapping[str, Sequence[VoxelLabels]] | None = None
    epoch: int = 0
    whole: bool = False  # for selection within the training step
    for_teacher: bool = False
    with_raw: bool = False
    mixing: MixPlan | None = None
    taught: Mapping[str, TaughtFile] = field(default_factory=dict)
    balance: float = 0.0
    _labelled: tuple = ()  # `answers` and what `labelled` found in them

    def __len__(self) -> int:
        return len(self.base)

    def labelled(self) -> NDArray[np.int64]:
        """Indices of the scans that training knows a class in, ascending; all if there is none."""
        if not self._labelled or self._labelled[0] is not self.answers:
            self._labelled = self.answers, self._find_labelled()
        return self._labelled[1]

    def _find_labelled(self) -> NDArray[np.int64]:
        everything = np.arange(len(self))
        if self.answers is None:
            return everything
        known = {scan for scan, voxels in self.answers.items() if any(map(_has_class, voxels))}
        found = [index for index, scan in enumerate(self.base.ids) if scan in known]
        return np.array(found) if found else everything

    def request(self, index: int, repeat: int = 0) -> SampleRequest:
        """The request for a scan in this epoch, with the answers that are known now.

        Args:
            repeat: how often it has been drawn in this epoch.
        """
        request = self._request_of(index, self.epoch)
        request = request._replace(whole=self.whole, repeat=repeat)
        if self.mixing is None:
            return request
        partner = self.mixing.partner(index, self.epoch, self._draw(request))
        others = self.mixing.others
        if partner is None:
            return request
        return request._replace(partner=others._request_of(partner, self.epoch))

    def _draw(self, request: SampleRequest) -> int:
        """A number for what is drawn for a sample, another one for each repeat of a scan."""
        return request.index + request.repeat * len(self)

    def _request_of(self, index: int, epoch: int) -> SampleRequest:
        """That of one scan, without the one that it is mixed with."""
        scan_id = self.base.ids[index]
        answers = None if self.answers is None else self.answers.get(scan_id, ())
        return SampleRequest(index, epoch, answers, taught=self.taught.get(scan_id))

    def __getitem__(self, request: SampleRequest | int) -> dict:
        if not isinstance(request, SampleRequest):
            request = self.request(request)
        epoch, whole = request.epoch, request.whole
        scan, labels = self._read(request)
        facts = {"answered": self._answered(scan, request)} if self.for_teacher else {}
        if request.taught or (request.partner and request.partner.taught):
            facts["taught"], facts["weight"] = taught_points(request.taught, len(scan))
        if self.mixing is not None:
            scan, facts = self._mixed(replace(scan, labels=labels), facts, request)
            labels = scan.labels
        xyz = None
        if self.augmentation is not None:
            xyz = augment(scan.xyz, self.seed, epoch, self._draw(request), **self.augmentation)
        taught = (facts["taught"], facts["weight"]) if "taught" in facts else None
        sample = make_sample(scan, self.rule, labels, xyz, taught)
        if "of_source" in facts:
            sample["of_source"] = torch.from_numpy(facts["of_source"])[sample["first"]]
        if "answered" in facts:
            answered = torch.zeros(len(sample["cells"]), dtype=torch.bool)
            answered[sample["point_to_voxel"][torch.from_numpy(facts["answered"])]] = True
            sample["answered"] = answered
        if self.with_raw:
            sample["raw"] = make_sample(scan, self.rule)
        return {**sample, "scan": scan, "labels": labels} if whole else sample

    def _read(self, request: SampleRequest) -> tuple[Scan, NDArray[np.uint8]]:
        """A scan as recorded, and the labels of its points that training knows."""
        answers = request.answers
        scan = self.base.read(request.index, labels=answers is None or request.whole)
        if answers is not None:
            return scan, answer_labels(scan, answers, self.query_size)
        if scan.labels is None:
            raise ValueError(f"scan {scan.id} has no labels, and this training needs them all")
        return scan, scan.labels

    def _answered(self, scan: Scan, request: SampleRequest) -> NDArray[np.bool_]:
        """[N] which points are in answered voxels; all, where all labels are used."""
        if request.answers is None:
            return np.ones(len(scan), bool)
        return answered_points(scan, request.answers, self.query_size)

    def _mixed(
        self, scan: Scan, facts: dict[str, NDArray], request: SampleRequest
    ) -> tuple[Scan, dict[str, NDArray]]:
        """The scan mixed with its partner, if it has one, and what is known of each of its points.

        Where both domains take part, this includes ``of_source`` [N].
        """
        plan, others = self.mixing, self.mixing.others
        if plan.source is not None and plan.is_active(request.epoch):
            facts = {**facts, "of_source": np.full(len(scan), plan.source)}
        if request.partner is None:
            return scan, facts
        other, labels = others._read(request.partner)
        mix = plan.mix(scan, replace(other, labels=labels), request.epoch, self._draw(request))
        theirs = {"of_source": np.full(len(other), not plan.source)}
        if "answered" in facts:
            theirs["answered"] = others._answered(other, request.partner)
        if "taught" in facts:
            found = taught_points(request.partner.taught, len(other))
            theirs["taught"], theirs["weight"] = found
        return mix.scan, {name: mix.gather(own, theirs[name]) for name, own in facts.items()}


@dataclass
class RawScans(Dataset):
    """Scans as recorded, not augmented, without labels."""

    base: ScanDataset
    rule: InputRule

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> dict:
        return make_sample(self.base.read(index, labels=False), self.rule)
