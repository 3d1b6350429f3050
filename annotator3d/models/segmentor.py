"""The segmentor: backbone, linear head, losses, and the rules for source and target batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from annotator3d._mmengine import BaseModel
from annotator3d.models.losses import negative_learning, segmentation_loss
from annotator3d.registry import BACKBONES, build

BN_RULES = ("target", "published")


def gives_features(backbone: object) -> bool:
    """Whether a head that is one layer on the features of each voxel follows the backbone (an
    instance or its class)."""
    return not (hasattr(backbone, "make_head") or hasattr(backbone, "at_points"))


class Segmentor(BaseModel):
    """Class scores of each voxel, and the loss of a batch.

    A backbone reads voxels, ``backbone(features [V, 4], cells [V, 3], splits [B + 1])``, or, if it
    has a ``projection_for`` that says how points are sorted into its cells (`data.projections`),
    ``backbone(batch)``. Both give features [V, out_channels]. With ``make_head(outputs)`` it brings
    its own head, ``head(features, cells)``; with ``at_points(logits [V, C], batch)`` it gives the
    points of one cell logits of their own when it predicts.

    Args:
        backbone: config of a registered backbone, e.g. ``dict(type='MinkUNet')``.
        num_classes: C.
        label_smoothing, lovasz: see `segmentation_loss`.
        bn: ``target``: source batches are normalised by their own statistics but leave the running
            ones alone, so that evaluation on the target uses the target's; ``published``: both
            domains go into the running statistics.
        ignored_output: the head has one output more, which no voxel has as its target and which
            takes part in the loss only (published; there it can also be predicted).
        negative, negative_threshold: weight and threshold of `negative_learning` where the target
            has no label; 0 leaves it out.

    Attributes:
        class_weights: [C] in the cross-entropy of the target; None: all count the same.
        before_loss: called in each training step with the target's batch and its voxel logits
            [V, C], before the loss; gives the targets [V] to use instead of the batch's.
        more_losses: called in each training step with the target's batch, its voxel outputs [V, C]
            (one more with an ignored output), with gradients, and its targets [V]; gives named
            losses that are added, and numbers to log, whose names do not contain "loss".
    """

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        label_smoothing: float = 0.1,
        lovasz: float = 1.0,
        bn: str = "target",
        ignored_output: bool = False,
        negative: float = 0.0,
        negative_threshold: float = 0.05,
    ) -> None:
        super().__init__()
        if bn not in BN_RULES:
            raise ValueError(f"bn: expected one of {', '.join(BN_RULES)}, got {bn!r}")
        self.backbone = build(BACKBONES, backbone)
        outputs = num_classes + ignored_output
        self.head = (
            self.backbone.make_head(outputs)
            if hasattr(self.backbone, "make_head")
            else nn.Linear(self.backbone.out_channels, outputs)
        )
        self.num_classes = num_classes
        self.label_smoothing, self.lovasz, self.bn = label_smoothing, lovasz, bn
        self.negative, self.negative_threshold = negative, negative_threshold
        self.class_weights: Tensor | None = None
        self.before_loss: Callable[[dict, Tensor], Tensor] | None = None
        self.more_losses: Callable[[dict, Tensor, Tensor], dict[str, Tensor]] | None = None

    def logits(self, batch: dict) -> Tensor:
        """Logits [V, C] of the voxels of a collated batch."""
        return self._outputs(batch)[:, : self.num_classes]

    def _outputs(self, batch: dict) -> Tensor:
        """Logits [V, C], or [V, C + 1] with an ignored output as the last one."""
        features = self._features(batch)
        if hasattr(self.backbone, "make_head"):
            return self.head(features, batch["cells"])
        return self.head(features)

    def _features(self, batch: dict) -> Tensor:
        if hasattr(self.backbone, "projection_for"):
            return self.backbone(batch)
        return self.backbone(batch["features"], batch["cells"], batch["splits"])

    def forward(
        self, batch: dict, source: dict | None = None, mode: str = "tensor"
    ) -> Tensor | dict[str, Tensor] | list[Tensor]:
        """``loss``: named losses; ``predict``: logits of the points, scan by scan; else voxels'."""
        if mode == "loss":
            return self._loss(batch, source)
        logits = self.logits(batch)
        if mode == "predict":
            return list(self.at_points(logits, batch).split(batch["num_points"].tolist()))
        return logits

    def _loss(self, batch: dict, source: dict | None) -> dict[str, Tensor]:
        outputs, target = self._outputs(batch), batch["target"]
        if self.before_loss is not None:
            target = self.before_loss(batch, outputs.detach()[:, : self.num_classes])
        rows, source_rows = (outputs, target, batch.get("weight")), None
        if source is not None:
            with frozen_statistics(self) if self.bn == "target" else nullcontext():
                source_rows = self._outputs(source), source["target"], source.get("weight")
        if "of_source" in batch:
            rows, source_rows = _by_domain(
                [(*rows, batch["of_source"])]
                + ([] if source is None else [(*source_rows, source["of_source"])])
            )
        losses = self._labelled_loss(*rows, self.class_weights)
        if self.negative:
            logits = rows[0][:, : self.num_classes]
            found = negative_learning(logits, rows[1], self.negative_threshold)
            losses["loss_negative"] = self.negative * found
        if self.more_losses is not None:
            losses |= self.more_losses(batch, outputs, target)
        if source_rows is not None:
            extra = self._labelled_loss(*source_rows)
            losses |= {f"source_{name}": value for name, value in extra.items()}
        return losses

    def _labelled_loss(
        self,
        outputs: Tensor,
        target: Tensor,
        weight: Tensor | None,
        class_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        return segmentation_loss(
            outputs, target, self.label_smoothing, self.lovasz, weight, class_weights
        )

    def point_logits(self, batch: dict) -> Tensor:
        """Logits [N, C] of every point of one scan: `at_points` of `voxel_logits`."""
        return self.at_points(self.voxel_logits(batch), batch)

    @property
    def tells_points_apart(self) -> bool:
        """Whether points of one voxel may have different logits."""
        return hasattr(self.backbone, "at_points")

    def at_points(self, logits: Tensor, batch: dict) -> Tensor:
        """Logits [N, C] of the points of a batch: those of their voxels [V, C], if the backbone has
        no better ones."""
        if self.tells_points_apart:
            return self.backbone.at_points(logits, batch)
        return logits[batch["point_to_voxel"]]

    @torch.no_grad()
    def voxel_logits(self, batch: dict) -> Tensor:
        """Logits [V, C] of the voxels of one scan, in eval mode; the mode is put back after."""
        assert len(batch["num_points"]) == 1, "one scan per forward: bits depend on the row count"
        with evaluating(self):
            return self(batch)

    @torch.no_grad()
    def voxel_logits_and_features(self, batch: dict) -> tuple[Tensor, Tensor]:
        """`voxel_logits`, and the features [V, D] from which the head makes them.

        Raises ValueError for a backbone whose head is no layer on the features of each voxel.
        """
        if not gives_features(self.backbone):
            raise ValueError(
                f"backbone {type(self.backbone).__name__} gives no features of voxels: choose a "
                "strategy that needs none, or MinkUNet or SPVCNN"
            )
        with evaluating(self):
            features = self._features(batch)
            return self.head(features)[:, : self.num_classes], features


def _by_domain(
    parts: list[tuple[Tensor, Tensor, Tensor | None, Tensor]],
) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    """Outputs, targets and weights of all rows of the target, then of the source, of mixed batches.

    The loss of each domain is the mean over its own rows: in a mix, source points by the ten
    thousands stand beside a few answered ones.

    Args:
        parts: outputs [V, C], targets [V], weights [V] (None: 1) and whether each row is of the
            source [V], by batch.
    """
    no_weights = all(weight is None for _, _, weight, _ in parts)

    def of_domain(domain: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        rows = [of == domain for *_, of in parts]
        weights = [torch.ones(len(t), device=t.device) if w is None else w for _, t, w, _ in parts]
        return (
            torch.cat([part[0][there] for part, there in zip(parts, rows, strict=True)]),
            torch.cat([part[1][there] for part, there in zip(parts, rows, strict=True)]),
            None
            if no_weights
            else torch.cat([w[there] for w, there in zip(weights, rows, strict=True)]),
        )

    return [of_domain(False), of_domain(True)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; the mode is put back after."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norms in train mode use the batch's statistics and do not record them."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
