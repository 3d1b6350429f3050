"""The one reader of checkpoints: the sums are compared, no code runs, every weight is a number."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from annotator3d.engine.training.weights_file import SUFFIX, read_weights_file
from annotator3d.errors import in_yaml, kind_in_words
from annotator3d.system_errors import is_refusal

STATE = "state_dict"
_NEEDED = {STATE: dict, "meta": dict, "optimizer": dict, "param_schedulers": list}  # to go on
_COUNTS = ("epoch", "iter", "processes")  # of "meta"


def damage(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint, in words; None if it is whole.

    A checkpoint is a zip archive: every part of it has a checksum, and its index is at the end.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if len({part.filename for part in parts}) < len(parts):
                return "is damaged (it holds two parts of one name)"
            broken = archive.testzip()
    except Exception as error:  # zipfile raises many kinds on bytes that make no sense
        if is_refusal(error):
            raise
        return f"is damaged ({type(error).__name__}: {error})"
    return None if broken is None else f"is damaged (wrong checksum of {broken})"


def read_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> dict:
    """Read a checkpoint of tensors and plain Python, or weights alone in a ``.safetensors`` file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, holds something else, which could run code, or holds weights that
            are no finite numbers. The message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    if path.suffix == SUFFIX:
        weights, told = read_weights_file(path, device)
        _check_weights(weights, path)
        return {**told, STATE: weights}
    if fault := damage(path):
        raise ValueError(
            f"{path} {fault}; expected a file that torch.save wrote: take another checkpoint, or "
            "copy this one again"
        )
    try:
        with warnings.catch_warnings():  # of pickles in other versions, which speak to developers
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        if is_refusal(error):
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is not a checkpoint of tensors and plain Python only, and is not read: "
            f"{words[:200]}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a checkpoint (a dict), got {kind_in_words(content)}")
    for key, value in content.items():
        if isinstance(key, str) and key.endswith(STATE) and isinstance(value, dict):
            _check_weights(value, path)
    return content


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, or of a file that holds nothing else, by their names.

    Raises as `read_checkpoint`.
    """
    return weights_in(read_checkpoint(path), path)


def weights_in(content: dict, path: str | Path) -> dict[str, Tensor]:
    """The weights in what `read_checkpoint` has read; raises as that."""
    weights = content.get(STATE, content)
    if not isinstance(weights, dict):
        raise ValueError(f"{path}: expected weights by name, got {kind_in_words(weights)}")
    _check_weights(weights, Path(path))
    return weights


def check_resumable(content: dict, path: str | Path) -> None:
    """Raise ValueError if a checkpoint lacks what a run needs to continue from it."""
    for key, kind in _NEEDED.items():
        if not isinstance(content.get(key), kind):
            raise ValueError(
                f"{path} cannot be continued from: expected {key!r} in it, a {kind.__name__}, got "
                f"{_named(content, key)}; weights alone go to --init"
            )
    for key in _COUNTS:
        count = content["meta"].get(key)
        if not isinstance(count, int) or count < 0:
            raise ValueError(
                f"{path} cannot be continued from: expected the count meta[{key!r}], got "
                f"{in_yaml(count)}"
            )


def load_weights(model: torch.nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    """Load `weights` into `model`, all of them.

    Raises:
        ValueError: names, shapes or types differ: the checkpoint is of another network.
    """
    for name, own in model.state_dict().items():
        given = weights.get(name)
        if given is not None and given.is_floating_point() != own.is_floating_point():
            raise ValueError(
                f"{path}: weight {name!r} is {_dtype(given)}, the network has {_dtype(own)} there; "
                "expected weights that were trained, not rounded or packed ones"
            )
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path}: these weights do not fit the network of the config: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error


def _check_weights(weights: dict, path: Path) -> None:
    """Raise ValueError for the first entry that is no tensor of finite numbers."""
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{path}: expected weights by name, got {name!r}: {type(value).__name__}"
            )
        is_plain = value.layout is torch.strided and not (value.is_meta or value.is_quantized)
        if value.is_complex() or not is_plain:
            kind = _dtype(value) if is_plain else f"a tensor of layout {value.layout}"
            raise ValueError(f"{path}: weight {name!r} is {kind}; expected real numbers")
        if value.is_floating_point():
            wrong = ~torch.isfinite(value.detach().float())  # the network computes in float32
            if wrong.any():
                raise ValueError(
                    f"{path}: weight {name!r} has {int(wrong.sum()):,} of {value.numel():,} values "
                    "that are not finite (NaN or infinite): such a network predicts nothing; take "
                    "an earlier checkpoint"
                )


def _named(content: dict, key: str) -> str:
    return type(content[key]).__name__ if key in content else "nothing"


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
