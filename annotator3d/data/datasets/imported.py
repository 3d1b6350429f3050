"""Imported scans: what `annotator3d import` has written, as a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotator3d.data.datasets.base import Intensity, Labels, PathLike, ScanDataset, check_choice
from annotator3d.data.datasets.listing import listed_scans
from annotator3d.data.datasets.sequences import SequenceDataset
from annotator3d.data.importing.card import (
    CARD,
    TAXONOMY,
    Origin,
    is_unfinished,
    read_card,
    read_origins,
)
from annotator3d.registry import DATASETS

SPLITS = ("train", "val", "all")


@DATASETS.register_module("OwnScans")
class ImportedScans(SequenceDataset):
    """Scans of any sensor with classes of your own, in the layout of `annotator3d import`.

    SemanticKITTI's layout, with ``dataset.yaml``, ``taxonomy.yaml`` and ``splits/*.txt`` beside it.

    Args:
        root: the folder that was imported into.
        split: ``train`` or ``val``: the ids in ``splits/``; ``all``: every scan. Not needed with
            `sequences` or `scans`.
        taxonomy: name or path of a class map; None: the dataset's own.
        sequences, stride, scans, labels, intensity: see `SequenceDataset`.

    Raises FileNotFoundError or ValueError naming what is missing.
    """

    SPLITS = {name: () for name in SPLITS}
    KNOWN_BY = f"{CARD} (annotator3d import)"

    def __init__(
        self,
        root: PathLike,
        split: str | None = None,
        sequences: Sequence[str] | None = None,
        taxonomy: PathLike | None = None,
        stride: int = 1,
        scans: Sequence[str] | PathLike | None = None,
        labels: Labels = "required",
        intensity: Intensity = "unit",
    ) -> None:
        root = Path(root)
        card = read_card(root)
        self._scales = card.intensity_max
        self.source = Path(card.source)
        self.notices = card.notices
        self.records_stated = card.records_stated
        if split in ("train", "val") and scans is None:
            scans = self._listed(root, split)
            self.drawn = card.split
        super().__init__(
            root,
            sequences,
            root / TAXONOMY if taxonomy is None else taxonomy,
            stride,
            scans,
            labels,
            "all" if split is None and sequences is None else split,
            intensity,
        )
        self._origins: dict[str, Origin] | None = None

    @classmethod
    def taxonomy_for(cls, keywords: Mapping[str, Any]) -> PathLike:
        """The dataset's own ``taxonomy.yaml``, unless the keywords name another class map."""
        return keywords.get("taxonomy") or Path(keywords["root"]) / TAXONOMY

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / CARD).is_file() or is_unfinished(root)

    @classmethod
    def open_parts(cls, root: Path, taxonomy: PathLike | None) -> list[ScanDataset]:
        return [cls(root, "all", taxonomy=taxonomy, labels="optional")]

    def intensity_max(self, i: int) -> float:
        if not isinstance(self._scales, dict):
            return self._scales
        name = self.ids[i].split("/")[0]
        if name not in self._scales:
            raise ValueError(
                f"{self.root / CARD} has no intensity.max of sequence {name!r}; add it"
            )
        return self._scales[name]

    def origin(self, i: int) -> Origin:
        """Where scan ``i`` came from.

        Raises FileNotFoundError or ValueError where ``scans.csv`` does not say it.
        """
        if self._origins is None:
            self._origins = read_origins(self.root)
        if self.ids[i] not in self._origins:
            raise ValueError(
                f"{self.root / 'scans.csv'} has no line of scan {self.ids[i]}, which says what was "
                "subtracted from it; put back a copy of the file, or import the scans again"
            )
        return self._origins[self.ids[i]]

    def _sequences(self, sequences: Sequence[str] | None, split: str | None) -> list[str]:
        if sequences is not None:
            return super()._sequences(sequences, split)
        check_choice("split", split, SPLITS)
        folder = self.root / "sequences"
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    @staticmethod
    def _listed(root: Path, split: str) -> Path:
        path = root / "splits" / f"{split}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"split {split!r}: there is no list of its scans, {path}")
        if not listed_scans(path):
            without = "; to train without evaluating: --set data.val=null" if split == "val" else ""
            raise ValueError(f"{path} names no scan; write the ids of some there{without}")
        return path
