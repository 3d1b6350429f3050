"""What a checkpoint says of its network, so that no other one takes its weights in silence.

Weights fit any network of the same shape. Whether their outputs are the same classes, and whether
they were trained on voxels of the same size, no shape shows.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from annotator3d._mmengine import Hook
from annotator3d.data.files import atomic_write
from annotator3d.engine.config.schema import RunConfig
from annotator3d.engine.training.checkpoint_file import read_checkpoint, weights_in
from annotator3d.engine.training.known_classes import with_own_head
from annotator3d.engine.training.weights_file import SUFFIX
from annotator3d.errors import in_yaml, kind_in_words, some

NETWORK = "network"


def identity_of(config: RunConfig, classes: Sequence[str]) -> dict[str, Any]:
    """Of plain values, as a checkpoint keeps it."""
    model = config.model
    return {
        "classes": list(classes),
        "voxel_size": float(model.voxel_size),
        "features": model.features,
    }


class IdentityHook(Hook):
    """Writes into every checkpoint what network it is of."""

    def __init__(self, config: RunConfig, classes: Sequence[str]) -> None:
        self.identity = identity_of(config, classes)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[NETWORK] = self.identity


def rename_classes_in(path: Path, names: Sequence[str]) -> None:
    """Let a checkpoint say that its classes have these names now; a damaged one stays as it is."""
    try:
        content = read_checkpoint(path)
        known = identity_in(content, path)
    except ValueError:  # it is named when it is needed
        return
    if known is None or known["classes"] == list(names):
        return
    content[NETWORK] = {**known, "classes": list(names)}
    with atomic_write(path) as file:
        torch.save(content, file)


def read_weights_for(
    config: RunConfig, classes: Sequence[str], path: str | Path
) -> dict[str, Tensor]:
    """`weights_for` of a file; raises as `read_checkpoint`, too."""
    return weights_for(read_checkpoint(path), config, classes, path)


def weights_for(
    content: dict, config: RunConfig, classes: Sequence[str], path: str | Path
) -> dict[str, Tensor]:
    """The weights in a checkpoint of the network of `config`, which predicts `classes`.

    A file that does not say what it is of, such as one of an earlier version, is taken as it is.
    Voxels of another size, or other features, are warned about: one may want that.

    Raises:
        ValueError: it predicts other classes, or what it says of itself makes no sense.
    """
    if (known := identity_in(content, path)) is not None:
        check_classes(known["classes"], classes, path)
        warn_of_other_input(known, config, path)
    return weights_in(content, path)


def initial_weights(
    content: dict, config: RunConfig, model: nn.Module, classes: Sequence[str], path: str | Path
) -> tuple[dict[str, Tensor], str]:
    """The weights that `model` starts from, and a sentence where they are not all of the file's.

    A network to start from (a ``.safetensors`` file) may know other classes: see `with_own_head`.

    Raises ValueError as `weights_for`.
    """
    known = identity_in(content, path)
    if known is None or known["classes"] == list(classes) or Path(path).suffix != SUFFIX:
        return weights_for(content, config, classes, path), ""
    warn_of_other_input(known, config, path)
    try:
        weights, words = with_own_head(
            model, weights_in(content, path), known["classes"], list(classes)
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return weights, f"{path}: {words}"


def identity_in(content: dict, path: str | Path) -> dict[str, Any] | None:
    """What a checkpoint says of its network; None if it says nothing.

    Raises ValueError where what it says makes no sense.
    """
    known = content.get(NETWORK)
    if known is None:
        return None
    names = known.get("classes") if isinstance(known, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{path}: expected the classes of its network in it, a list of names, got "
            f"{kind_in_words(names)}"
        )
    return known


def check_classes(known: Sequence[str], classes: Sequence[str], path: str | Path) -> None:
    """Raise ValueError where a checkpoint predicts other classes, or in another order."""
    if list(known) == list(classes):
        return
    if sorted(known) == sorted(classes):
        raise ValueError(
            f"{path} is of a network with the same {len(known)} classes in another order: "
            f"{some(known)}; here: {some(classes)}. Its outputs would be taken for other classes"
        )
    raise ValueError(
        f"{path} is of a network with {len(known)} other classes: {some(known)}; here: "
        f"{len(classes)}, {some(classes)}. Take a checkpoint of these classes"
    )


def warn_of_other_input(known: dict[str, Any], config: RunConfig, path: str | Path) -> None:
    """Warn where the network was trained on other input than the config gives it."""
    for key in ("voxel_size", "features"):
        there, here = known.get(key), getattr(config.model, key)
        if there is not None and there != here:
            warnings.warn(
                f"{path} was trained with model.{key}={in_yaml(there)}, and the config says "
                f"{in_yaml(here)}: what it has learnt may not hold",
                RuntimeWarning,
                stacklevel=3,
            )
