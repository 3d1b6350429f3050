"""Predictions of a network from elsewhere, as files that `annotator3d select` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from annotator3d.data.formats.kitti import read_label
from annotator3d.data.scan import Scan
from annotator3d.data.taxonomy import Taxonomy


class PredictionFiles:
    """A `Scorer` that reads what another network predicts, one file for each scan.

    Args:
        folder: holds, for scan ``SS/FFFFFF``, ``SS/FFFFFF.label`` (raw ids, as SemanticKITTI) or
            ``SS/FFFFFF.npy`` (floats, [N, C] logits or [N] scores of the strategy); or the same
            below ``sequences/SS/predictions/``.
        taxonomy: maps raw ids to train ids.

    Raises FileNotFoundError for no such folder.
    """

    def __init__(self, folder: Path, taxonomy: Taxonomy) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"--predictions: no folder {folder}")
        self.folder, self.taxonomy = folder, taxonomy

    def __call__(self, scan: Scan) -> dict[str, torch.Tensor]:
        """``prediction`` of the points of `scan`: uint8 [N] train ids, float32 [N, C] or [N].

        Raises FileNotFoundError if the scan has none, ValueError for another shape or type.
        """
        path = self._find(scan.id)
        if path.suffix == ".label":
            raw = read_label(path, scan.num_raw)
            labels = self.taxonomy.to_train(raw, path)[scan.rows]
            return {"prediction": torch.from_numpy(labels)}
        values = np.load(path, allow_pickle=False)
        shapes = ((scan.num_raw,), (scan.num_raw, self.taxonomy.num_classes))
        if values.shape not in shapes or values.dtype.kind != "f":
            raise ValueError(
                f"{path}: expected floats of shape {shapes[0]} or {shapes[1]} for scan {scan.id}, "
                f"got {values.dtype} {values.shape}"
            )
        return {"prediction": torch.from_numpy(values.astype(np.float32)[scan.rows])}

    def _find(self, scan_id: str) -> Path:
        sequence, frame = scan_id.split("/")
        folders = (self.folder / sequence, self.folder / "sequences" / sequence / "predictions")
        for folder in folders:
            for suffix in (".label", ".npy"):
                if (folder / (frame + suffix)).is_file():
                    return folder / (frame + suffix)
        raise FileNotFoundError(
            f"--predictions: no prediction of scan {scan_id}; looked for "
            f"{folders[0] / frame}.label and .npy, and the same in {folders[1]}"
        )
