"""The base class of query strategies: from the utilities of voxels to the picks of a scan.

A prediction is one of: logits [N, C] of any float type; probabilities [N, C], if it is said that
they are; train ids [N] integer (VoxelConfusion); or a score for each point [N] float, computed
elsewhere (VoxelEntropy, VoxelMargin).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from annotator3d.active.evidence import NEEDS, NOTHING, PREVIOUS, Evidence, Given, Moment
from annotator3d.active.point_means import likeliest
from annotator3d.active.prediction_kinds import settle
from annotator3d.active.query_arguments import (
    as_tensor,
    cells_of,
    integer,
    num_classes_of,
    of_points,
    points_of,
)
from annotator3d.active.selector import (
    Array,
    PickRule,
    ScanSelection,
    Scores,
    select_by_scores,
    select_fused,
    strata_of_classes,
)
from annotator3d.kernels.grouping import voxelize
from annotator3d.kernels.labels import IGNORE
from annotator3d.kernels.selection import VoxelPick
from annotator3d.kernels.voxels import Voxels


class QueryStrategy:
    """Chooses the voxels of a scan to ask about. To add a strategy, write `utilities` and register
    the class; it must depend on its arguments alone. One that asks for more than the prediction
    says so in `needs` and writes `score` instead.

    Args:
        voxel_size: edge of a voxel in metres; cell = floor(xyz / voxel_size).
        max_range: pick only voxels whose centre lies within this many metres of the sensor,
            horizontally; None: all.
        min_points: pick only voxels of at least this many points.
    """

    name: ClassVar[str]
    """The word by which configs and the ledger know the strategy; default: that of its class."""
    needs_model: bool = True
    """Whether `utilities` reads a prediction. This and the next ones are read of an instance, so a
    strategy whose keywords decide them may set them in its constructor."""
    needs: tuple[str, ...] = ()
    """What `score` asks for besides: words of `evidence.NEEDS`. Only that is computed."""
    stratified: bool = False
    """Whether `score` gives strata, and `quotas` a part of the round to each."""
    fused: ClassVar[str | None] = None
    """Score of the kernels' `select_voxels` that equals `utilities` of logits; None: there is none.
    Not inherited by a subclass that writes its own `utilities`."""
    reduce: str = "max"
    only_classes: bool = False
    """Whether of logits the class with the highest one is all that `utilities` uses."""

    def __init__(
        self, voxel_size: float = 0.25, max_range: float | None = None, min_points: int = 1
    ) -> None:
        self.voxel_size, self.max_range, self.min_points = voxel_size, max_range, min_points

    def __init_subclass__(cls, **arguments) -> None:
        super().__init_subclass__(**arguments)
        if {"utilities", "score"} & vars(cls).keys() and "fused" not in vars(cls):
            cls.fused = None
        if not hasattr(cls, "name"):
            cls.name = cls.__name__
        if not isinstance(cls.needs, tuple) or not set(cls.needs) <= set(NEEDS):
            raise TypeError(
                f"strategy {cls.name!r}: needs must be a tuple of {', '.join(NEEDS)}, got "
                f"{cls.needs!r}"
            )

    @property
    def asks_for_more(self) -> bool:
        """Whether logits of one scan after the other are not enough."""
        return bool(self.needs) or self.stratified

    def utilities(self, voxels: Voxels, prediction: Tensor | None, num_classes: int) -> Tensor:
        """Utility of each voxel: [V] float64, finite; the highest is asked first.

        Args:
            voxels: the points of one scan, grouped by voxel.
            prediction: [N, num_classes] logits, or another prediction that the strategy takes, on
                the device of the voxels; None where none was given.

        Raises ValueError for a prediction that does not fit or is not finite.
        """
        raise NotImplementedError

    def score(self, evidence: Evidence) -> Tensor | Scores:
        """Utility of each voxel, [V] float64 as `utilities`; a stratified strategy also gives its
        strata. Raises ValueError for evidence that does not fit."""
        return self.utilities(evidence.voxels, evidence.prediction, evidence.num_classes)

    def observe(self, evidence: Evidence) -> Any:
        """What a scan adds to `conclude`, for a strategy that needs the pool: small, and of numpy
        or plain Python. The evidence has no `previous`, `neighbours` or `pool` yet."""
        raise NotImplementedError(f"strategy {self.name!r} needs the pool and observes nothing")

    def conclude(self, observed: Mapping[str, Any], moment: Moment) -> Any:
        """What `score` and `quotas` get as the pool.

        Args:
            observed: scan id -> what `observe` gave, in the order of the ids whatever the number of
                processes.
        """
        raise NotImplementedError(f"strategy {self.name!r} needs the pool and concludes nothing")

    def remark(self, pool: Any) -> str | None:
        """What the record of the round says of the pool, such as what was left out; None:
        nothing."""
        return None

    def quotas(
        self, pool: Any, frequencies: NDArray[np.int64], moment: Moment
    ) -> list[tuple[int, int]]:
        """(stratum, most queries of the round), in the order in which the strata choose; what they
        leave of the budget goes to the highest utilities.

        Args:
            frequencies: [C] predicted points of each class in the pool.
        """
        return []

    def query(
        self,
        xyz: Array,
        prediction: Array | None = None,
        *,
        batch_size: int = 1,
        exclude: Array | None = None,
        num_classes: int | None = None,
        random_state: int = 0,
        scan_id: str = "",
        return_utilities: bool = False,
        prediction_kind: str | None = None,
    ) -> list[VoxelPick] | tuple[list[VoxelPick], NDArray[np.float32]]:
        """Choose the voxels of a scan to ask about, best first.

        Equal utilities are ordered by a hash of (random_state, scan_id, cell). numpy arrays and
        torch tensors are taken alike; a CUDA prediction is scored on its device.

        Args:
            xyz: [N, 3] float32 metres, sensor frame, finite; as measured, not augmented.
            prediction: [N, C] float logits, before the softmax, where -inf is the logarithm of the
                probability 0; or [N, C] float probabilities, with `prediction_kind`; or [N] integer
                train ids, 255 for none (VoxelConfusion); or [N] float, a score of each point
                (VoxelEntropy, VoxelMargin). None for a strategy that needs none.
            batch_size: most voxels to pick; fewer come back when fewer are left.
            exclude: [Q, 3] integer cells that are not picked, such as those asked about before.
            num_classes: C; default: read from the prediction.
            random_state: seed of the order of equal utilities, an integer.
            scan_id: name of the scan, so that ties fall differently in each scan.
            return_utilities: also return the utility of each point's voxel, [N] float32.
            prediction_kind: 'logits', 'probabilities' or 'scores': what floats are; None: logits or
                scores, as their shape says.

        Raises:
            ValueError: wrong shape or type, a value that is not finite, or no prediction.
            ConfigError: no `prediction_kind`, and logits look like probabilities or scores like
                train ids.
        """
        if self.stratified:
            raise ValueError(
                f"strategy {self.name!r} gives each class its part of a round, which one scan is "
                "not: select a round with Run.select, `annotator3d select` or `annotator3d train`"
            )
        given = None if prediction is None else as_tensor(prediction)
        if given is not None:
            prediction = settle(given, prediction_kind, self.only_classes, num_classes or IGNORE)
        found = self.select(
            xyz,
            prediction,
            batch_size=integer("batch_size", batch_size, least=0),
            exclude=exclude,
            num_classes=num_classes,
            random_state=integer("random_state", random_state),
            scan_id=scan_id,
        )
        return (found.picks, found.point_utilities) if return_utilities else found.picks

    def select(
        self,
        xyz: Array,
        prediction: Array | None = None,
        rows: Array | None = None,
        *,
        batch_size: int = 1,
        exclude: Array | None = None,
        num_classes: int | None = None,
        random_state: int = 0,
        scan_id: str = "",
        given: Given = NOTHING,
        by_class: bool = False,
    ) -> ScanSelection:
        """`query` for the engine, whose prediction may belong to a network's voxels.

        Args:
            rows: [N] int64, the row of the prediction [M, C] or [M] of each point; default: M = N,
                point by point.
            given: what the strategy asks for in `needs`.
            by_class: also give the best voxels of each predicted class, as strata.
        """
        try:
            cells = cells_of(exclude)
            limits = (self.voxel_size, self.max_range, self.min_points)
            rule = PickRule(batch_size, cells, random_state, scan_id, *limits)
            prediction = None if prediction is None else as_tensor(prediction)
            if self.needs_model and prediction is None:
                raise ValueError(
                    f"strategy {self.name!r} needs a prediction, such as logits [N, C]; "
                    "'random' works without one"
                )
            if prediction is not None and prediction.dim() not in (1, 2):
                got = list(prediction.shape)
                raise ValueError(f"prediction: expected [N, C] or [N], got {got}")
            classes = num_classes_of(prediction) if num_classes is None else num_classes
            scan = (points_of(xyz), prediction, rows, classes)
            return self._select(*scan, rule, given, by_class)
        except ValueError as error:
            if not scan_id:
                raise
            raise ValueError(f"scan {scan_id}: {error}") from error

    def _select(
        self,
        points: Tensor,
        prediction: Tensor | None,
        rows: Array | None,
        num_classes: int,
        rule: PickRule,
        given: Given,
        by_class: bool,
    ) -> ScanSelection:
        """One pass of the kernels where they know the score, else step by step: equal picks."""
        if prediction is not None:
            points = points.to(prediction.device)
            rows = None if rows is None else as_tensor(rows).to(prediction.device)
        if self._fits_kernels(prediction) and not by_class:
            score, rows = self.fused, None if prediction is None else rows
            return select_fused(points, prediction, rows, num_classes, score, self.reduce, rule)
        for need in self.needs:  # a first round has no previous one
            if need != PREVIOUS and getattr(given, need) is None:
                raise ValueError(
                    f"strategy {self.name!r} needs {need} beside the prediction of a scan: select "
                    "a round with Run.select, `annotator3d select` or `annotator3d train`"
                )
        given = replace(given, moment=given.moment._replace(seed=rule.random_state))
        scan = (points, prediction, rows, num_classes, rule.scan_id, given, rule.exclude)
        evidence = self.evidence(*scan)
        scores = self._checked(self.score(evidence), len(evidence.voxels), points.device)
        if by_class:
            columns = _by_class(scores.utilities, evidence, self.name)
            scores = scores._replace(strata=columns)
        return select_by_scores(evidence.voxels, scores, rule)

    def evidence(
        self,
        xyz: Array,
        prediction: Tensor | None,
        rows: Tensor | None,
        num_classes: int,
        scan_id: str,
        given: Given,
        exclude: Array | None = None,
    ) -> Evidence:
        """What `score` and `observe` see of a scan; arguments as those of `select`."""
        points, features = points_of(xyz), given.features
        if prediction is not None:
            points = points.to(prediction.device)
        if prediction is not None and rows is not None:
            prediction = of_points(prediction, rows)
            features = None if features is None else features[rows]
        return Evidence(
            scan_id=scan_id,
            voxels=voxelize(points, self.voxel_size),
            voxel_size=self.voxel_size,
            num_classes=num_classes,
            xyz=points[:, :3],
            prediction=prediction,
            asked=cells_of(exclude),
            **{**vars(given), "features": features},
        )

    def _checked(self, found: Tensor | Scores, voxels: int, device: torch.device) -> Scores:
        scores = found if isinstance(found, Scores) else Scores(as_tensor(found).to(device))
        if scores.utilities.shape != (voxels,):
            raise ValueError(
                f"strategy {self.name!r} must give one utility for each voxel, [{voxels}], "
                f"but gave {list(scores.utilities.shape)}"
            )
        if scores.strata is not None and (scores.strata.dim() != 2 or len(scores.strata) != voxels):
            raise ValueError(
                f"strategy {self.name!r} must give a row of strata for each voxel, [{voxels}, G], "
                f"but gave {list(scores.strata.shape)}"
            )
        return scores

    def _fits_kernels(self, prediction: Tensor | None) -> bool:
        """Whether the kernels select from this prediction.

        Other predictions go step by step, so that the strategy can report what is wrong with them.
        """
        if self.fused is None or self.fused == "none" or prediction is None:
            return self.fused == "none"
        if prediction.is_floating_point():
            return prediction.dim() == 2
        return self.fused == "vcd"


def _by_class(utilities: Tensor, evidence: Evidence, name: str) -> Tensor:
    prediction = evidence.prediction
    if prediction is None or (prediction.dim() == 1 and prediction.is_floating_point()):
        raise ValueError(
            f"strategy {name!r}: quotas of predicted classes need logits [N, C] or train ids [N]"
        )
    classes = likeliest(prediction) if prediction.dim() == 2 else prediction
    return strata_of_classes(utilities, evidence.voxels, classes, evidence.num_classes)
