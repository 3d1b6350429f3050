"""Which scans are trained on and which are kept for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator3d.data.files import atomic_write
from annotator3d.data.importing.convert import Converted
from annotator3d.errors import ConfigError, nearest


@dataclass(frozen=True)
class Split:
    """Scan ids of both parts, and how they were chosen, in words."""

    train: list[str]
    val: list[str]
    words: str


def split_scans(
    scans: Sequence[Converted], val: Sequence[str] | None, share: float, seed: int
) -> Split:
    """Divide the scans; only labelled ones can validate.

    Args:
        val: names of the sequences to validate on; None: by `share`.
        share: of the labelled scans, drawn by `seed` (see `_drawn`). With several labelled
            sequences, whole ones are drawn: the scans of one are alike, so a share of them would
            say little about new places.

    Raises:
        ConfigError: a sequence without labels, or nothing left to train on.
    """
    labelled = sorted(scan.id for scan in scans if scan.classes is not None)
    sequences = sorted({scan.id.split("/")[0] for scan in scans})
    with_labels = sorted({id_.split("/")[0] for id_ in labelled})
    if val is not None:
        if bare := sorted(set(val) - set(with_labels)):
            raise ConfigError(f"--val {bare[0]}: validation needs labels, but it has none")
        chosen, words = set(val), f"sequence {', '.join(sorted(val))} for validation"
        picked = {id_ for id_ in labelled if id_.split("/")[0] in chosen}
    elif not labelled or share == 0 or len(scans) == 1:
        picked, words = set(), "no validation"
    else:
        picked, words = _draw(labelled, with_labels, sequences, share, seed)
    train = [s.id for s in scans if s.id not in picked]
    train = [id_ for id_ in train if val is None or id_.split("/")[0] not in val]
    if not train:
        raise ConfigError("all scans would be used for validation; leave some for training")
    return Split(sorted(train), sorted(picked), words)


def check_sequences(val: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raise ConfigError for an unknown sequence, before any work."""
    for name in val or ():
        if name not in known:
            raise ConfigError(f"--val {name}: no such sequence; {nearest(name, known)}")


def _draw(
    labelled: list[str], with_labels: list[str], sequences: list[str], share: float, seed: int
) -> tuple[set[str], str]:
    if len(with_labels) > 1:
        count = min(max(1, round(share * len(with_labels))), len(sequences) - 1)
        names = sorted(_drawn(with_labels, count, seed))
        picked = {id_ for id_ in labelled if id_.split("/")[0] in names}
        return picked, (
            f"sequence {', '.join(names)} for validation (share {share:g} of the sequences, seed "
            f"{seed})"
        )
    count = max(1, round(share * len(labelled)))
    words = f"{count} of {len(labelled)} labelled scans for validation"
    return set(_drawn(labelled, count, seed)), f"{words} (share {share:g}, seed {seed})"


def _drawn(names: Sequence[str], count: int, seed: int) -> list[str]:
    """The first in the order of BLAKE2b (16 bytes) of ``"seed/name"``: the same everywhere."""

    def digest(name: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()

    return sorted(names, key=digest)[:count]


def write_splits(out: Path, split: Split) -> None:
    """``splits/train.txt`` and ``splits/val.txt``: one id per line; edit them as you like."""
    folder = out / "splits"
    folder.mkdir(exist_ok=True)
    for name, ids in (("train", split.train), ("val", split.val)):
        with atomic_write(folder / f"{name}.txt") as file:
            file.write(f"# {split.words}\n".encode())
            file.write("".join(f"{scan_id}\n" for scan_id in ids).encode())
