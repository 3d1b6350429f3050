"""Start from a network of other classes: what it knows of those that have the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from annotator3d.errors import count, some

_HEAD = ("head.weight", "head.bias")  # of a head that is one layer, one row a class


def with_own_head(
    model: nn.Module, weights: Mapping[str, Tensor], known: Sequence[str], classes: Sequence[str]
) -> tuple[dict[str, Tensor], str]:
    """The weights, their head fitted to `classes`; and what has become of it, in words.

    Rows of the head belong to classes. Those of a class of the same name are taken; all others keep
    the random rows of `model`.

    Args:
        model: whose head predicts `classes`.
        known: of the weights' head, by row.

    Raises:
        ValueError: the head is not one layer on the features of a voxel.
    """
    own = model.state_dict()
    if not all(name in weights and name in own for name in _HEAD):
        raise ValueError(
            "its head is not one layer on the features of a voxel, so it cannot be fitted to other "
            "classes"
        )
    if any(weights[name].shape[1:] != own[name].shape[1:] for name in _HEAD):
        raise ValueError("its head reads other features than that of the config's network")
    fitted = dict(weights)
    for name in _HEAD:
        fitted[name] = rows_by_name(weights[name], known, own[name].detach().clone(), classes)
    shared = [name for name in classes if name in known]
    new = [name for name in classes if name not in known]
    words = f"it knows {count(len(shared), 'class', 'classes')} of {len(classes)} by name"
    words += f" ({some(shared)})" if shared else ""
    return fitted, words + (f"; new, and random at first: {some(new)}" if new else "")


def rows_by_name(rows: Tensor, known: Sequence[str], own: Tensor, classes: Sequence[str]) -> Tensor:
    """`own` [C, ...] of `classes`, changed: with the `rows` of `known` classes of the same name."""
    for row, name in enumerate(classes):
        if name in known:
            own[row] = rows[list(known).index(name)]
    return own
