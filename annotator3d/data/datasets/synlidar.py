"""SynLiDAR: simulated sequences with a random split that everybody can draw again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from annotator3d.data.datasets.base import Intensity, Labels, PathLike
from annotator3d.data.datasets.sequences import SequenceDataset
from annotator3d.errors import in_yaml
from annotator3d.registry import DATASETS

SYNLIDAR_SEQUENCES = tuple(f"{number:02d}" for number in range(13))


@DATASETS.register_module()
class SynLiDAR(SequenceDataset):
    """SynLiDAR (the whole set or its subset). Source: https://github.com/xiaoaoran/SynLiDAR

    The benchmark splits it at random, nine to one within each sequence; the split of the paper was
    not published. Ours is a pure function of `split_seed` and the names of the scans: of the frames
    of a sequence, ordered by the BLAKE2b digest of ``"seed/sequence/frame"``, the first
    ``int(val_share * n)`` are 'val', the others 'train'.

    Args:
        root: the folder that holds ``00`` to ``12``, or ``sequences`` with these in it.
        sequences: names of the sequences.
        split: 'train', 'val', or None for all scans.
        split_seed: of the draw.
        val_share: part of each sequence that is 'val'.
        taxonomy, stride, scans, labels, intensity: see `SequenceDataset`.

    Raises FileNotFoundError or ValueError naming the folder or id that is missing or given twice.
    """

    TAXONOMY = "synlidar19"
    FOLDERS = ("", "sequences")

    def __init__(
        self,
        root: PathLike,
        sequences: Sequence[str] = SYNLIDAR_SEQUENCES,
        split: str | None = "train",
        split_seed: int = 0,
        val_share: float = 0.1,
        taxonomy: PathLike | None = None,
        stride: int = 1,
        scans: Sequence[str] | PathLike | None = None,
        labels: Labels = "required",
        intensity: Intensity = "unit",
    ) -> None:
        if split not in ("train", "val", None):
            raise ValueError(f"split must be 'train', 'val' or none, got {in_yaml(split)}")
        if not 0 < val_share < 1:
            raise ValueError(f"val_share must be between 0 and 1, got {val_share}")
        self._draw = (split, split_seed, val_share)
        if split is not None:
            self.drawn = (
                f"SynLiDAR split={split} split_seed={split_seed} val_share={val_share}: of each "
                "sequence's frames, by BLAKE2b (16 bytes) of 'seed/sequence/frame', the first "
                "int(val_share * n) are val"
            )
        super().__init__(root, sequences, taxonomy, stride, scans, labels, None, intensity)

    def _frames(self, sequence: str, frames: list[str]) -> list[str]:
        split, seed, share = self._draw
        if split is None:
            return frames

        def digest(frame: str) -> bytes:
            return hashlib.blake2b(f"{seed}/{sequence}/{frame}".encode(), digest_size=16).digest()

        val = set(sorted(frames, key=digest)[: int(share * len(frames))])
        return [frame for frame in frames if (frame in val) == (split == "val")]
