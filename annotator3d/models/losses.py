"""Cross-entropy with label smoothing plus Lovasz-softmax, defined without any labelled voxel."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy

from annotator3d.kernels import IGNORE, lovasz_softmax


def segmentation_loss(
    logits: Tensor, target: Tensor, label_smoothing: float = 0.1, lovasz: float = 1.0
) -> dict[str, Tensor]:
    """The published loss over the labelled rows.

    With several processes, whose gradients are averaged, the cross-entropy is the mean over the
    labelled rows of all of them, as if their batches were one; Lovasz is that of each process.

    Args:
        logits: [V, C] float. target: [V] int64, 0..C-1 or 255 (ignored).
        label_smoothing: of the cross-entropy. lovasz: weight of the Lovasz term; 0 leaves it out.

    Returns:
        ``loss_ce`` and, unless left out, ``loss_lovasz``: scalars, 0 with a gradient of 0 when no
        row is labelled.
    """
    labelled = target != IGNORE
    logits, target = logits[labelled].float(), target[labelled]
    share = _share_of_rows(target)  # of all processes, those without a labelled row too
    if len(target) == 0:
        losses = {"loss_ce": logits.sum() * 0.0}
    else:
        losses = {"loss_ce": share * cross_entropy(logits, target, label_smoothing=label_smoothing)}
    if lovasz:
        losses["loss_lovasz"] = lovasz * lovasz_softmax(logits.softmax(1), target)
    return losses


def _share_of_rows(target: Tensor) -> Tensor | float:
    """Labelled rows of this process as a multiple of the processes' mean; 1 for a single one."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1.0
    rows = torch.tensor(len(target), dtype=torch.float64, device=target.device)
    total = rows.clone()
    dist.all_reduce(total)
    return (rows * dist.get_world_size() / total.clamp(min=1)).float()
