"""Weights in one file that holds no code: safetensors, with a card that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from annotator3d.data.files import atomic_write
from annotator3d.data.plain_json import parse_json
from annotator3d.errors import kind_in_words

SUFFIX = ".safetensors"
CARD = "card"
_ENTRY = "annotator3d"  # of the file's own header
_MORE = "more/"  # before the names of tensors that are no weights


def write_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    told: Mapping[str, Any],
    more: Mapping[str, Tensor] | None = None,
) -> None:
    """Write weights and what is told of them; the same content gives the same bytes.

    Args:
        told: plain values, for the header.
        more: tensors that are no weights, such as prototypes.
    """
    from safetensors.torch import save

    named = {**weights, **{_MORE + name: value for name, value in (more or {}).items()}}
    plain = {name: value.detach().cpu().contiguous() for name, value in sorted(named.items())}
    header = {_ENTRY: json.dumps(dict(told), sort_keys=True, allow_nan=False)}
    with atomic_write(path) as file:
        file.write(save(plain, header))


def read_weights_file(
    path: Path, device: str | torch.device = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name, and what is told of them, with the tensors that are no weights.

    Of a file that another tool wrote nothing is told.

    Raises:
        ValueError: it is damaged, or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}); expected a file of safetensors: copy it again"
        ) from None
    try:
        told = parse_json(header.get(_ENTRY, "{}"))
    except ValueError as error:
        raise ValueError(f"{path}: what its header tells is damaged ({error})") from None
    if not isinstance(told, dict):
        raise ValueError(f"{path}: expected a table in its header, got {kind_in_words(told)}")
    more = [name for name in weights if name.startswith(_MORE)]
    told |= {name.removeprefix(_MORE): weights.pop(name) for name in more}
    return weights, told


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """``blake2b:<hex>`` of the names and bytes of what a network's predictions depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(weights.items()):
        if name.endswith("num_batches_tracked"):  # counts steps; no prediction depends on it
            continue
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"blake2b:{digest.hexdigest()}"
