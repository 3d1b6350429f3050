"""Cross-entropy with label smoothing plus Lovasz-softmax, defined without any labelled voxel."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy, softmax

from annotator3d.kernels import IGNORE, lovasz_softmax


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    label_smoothing: float = 0.1,
    lovasz: float = 1.0,
    weight: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """The published loss over the labelled rows.

    With several processes, whose gradients are averaged, the cross-entropy is the mean over the
    labelled rows of all of them, as if their batches were one; Lovasz is that of each process.

    Args:
        logits: [V, C] float. target: [V] int64, 0..C-1 or 255 (ignored).
        label_smoothing: of the cross-entropy. lovasz: weight of the Lovasz term; 0 leaves it out.
        weight: [V] above 0, of the rows; None: all count the same. The cross-entropy is then the
            weighted mean, and Lovasz that of sets in which a row counts as its weight.
        class_weights: [C] above 0, of the targets in the cross-entropy, times `weight`; None: all
            classes count the same. Lovasz is a mean over the classes anyway.

    Returns:
        ``loss_ce`` and, unless left out, ``loss_lovasz``: scalars, 0 with a gradient of 0 when no
        row is labelled.
    """
    labelled = target != IGNORE
    logits, target = logits[labelled].float(), target[labelled]
    in_sets = None if weight is None else weight[labelled].float()
    in_mean = in_sets
    if class_weights is not None:
        in_mean = class_weights[target] * (1.0 if in_sets is None else in_sets)
    losses = {"loss_ce": _mean_cross_entropy(logits, target, label_smoothing, in_mean)}
    if lovasz:
        probabilities = logits.softmax(1)
        losses["loss_lovasz"] = lovasz * (
            lovasz_softmax(probabilities, target)
            if in_sets is None
            else weighted_lovasz(probabilities, target, in_sets)
        )
    return losses


def _mean_cross_entropy(
    logits: Tensor, target: Tensor, label_smoothing: float, weight: Tensor | None
) -> Tensor:
    """Over the rows of all processes, those without a labelled row too."""
    share = _share_of_rows(target) if weight is None else _share_of(weight.sum())
    if len(target) == 0:
        return logits.sum() * 0.0
    if weight is None:
        return share * cross_entropy(logits, target, label_smoothing=label_smoothing)
    each = cross_entropy(logits, target, label_smoothing=label_smoothing, reduction="none")
    return share * ((weight * each).sum() / weight.sum())


def weighted_lovasz(probabilities: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """`lovasz_softmax` of rows [P] that count as their weights [P] in the sets whose Jaccard index
    it extends: a row of weight 2 is as two equal rows.

    Args: probabilities [P, C], target [P] int64, weight [P] above 0. Returns a scalar, 0 for P = 0.
    """
    present = target.unique()
    if not len(present):
        return probabilities.sum() * 0.0
    truth = (target == present[:, None]).to(probabilities.dtype)  # [K, P]
    errors, order = (
        (truth - probabilities.T[present]).abs().sort(dim=1, descending=True, stable=True)
    )
    counts = weight[order]
    hits, misses = truth.gather(1, order) * counts, (1 - truth.gather(1, order)) * counts
    total = hits.sum(1, keepdim=True)
    jaccard = 1 - (total - hits.cumsum(1)) / (total + misses.cumsum(1))
    slope = torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], 1)
    return (errors * slope.detach()).sum(1).mean()


def negative_learning(logits: Tensor, target: Tensor, threshold: float = 0.05) -> Tensor:
    """The mean of -log(1 - p) over the classes that the rows without a label hardly have.

    With several processes the mean is over those of all of them, as in `segmentation_loss`.

    Args:
        logits: [V, C] float. target: [V] int64, 255 where there is no label.
        threshold: a class counts in a row whose softmax gives it a probability below.

    Returns:
        a scalar, 0 with a gradient of 0 when no class of any row counts.

    Source: RIPU (Xie et al., CVPR 2022, arXiv 2111.12940), which has no exception for labelled
    pixels.
    """
    probability = softmax(logits[target == IGNORE].float(), 1)
    unlikely = probability[probability < threshold]
    share = _share_of_rows(unlikely)
    return share * -torch.log1p(-unlikely).sum() / max(len(unlikely), 1)


def consistency_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """The mean over the rows of the squared difference between class probabilities.

    With several processes the mean is over the rows of all of them, as in `segmentation_loss`.

    Args:
        logits: [V, C] float. wanted: [V, C] probabilities, which get no gradient.

    Returns:
        a scalar in 0..2, 0 with a gradient of 0 without rows.

    Source: Tarvainen and Valpola, NIPS 2017 (arXiv 1703.01780).
    """
    difference = softmax(logits.float(), 1) - wanted.detach()
    return _share_of_rows(logits) * difference.square().sum() / max(len(logits), 1)


def _share_of_rows(rows: Tensor) -> Tensor | float:
    """Rows of this process as a multiple of the processes' mean; 1 for a single one."""
    return _share_of(torch.tensor(len(rows), device=rows.device))


def _share_of(amount: Tensor) -> Tensor | float:
    """An amount of this process as a multiple of the processes' mean; 1 for a single one."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1.0
    own = amount.detach().double()
    total = own.clone()
    dist.all_reduce(total)
    return (own * dist.get_world_size() / total.clamp(min=1e-12)).float()
