"""Which dataset lies in a folder, for commands that are told the folder alone."""

from __future__ import annotations

import os
from pathlib import Path

from annotator3d.data.datasets.imported import ImportedScans
from annotator3d.data.datasets.listing import contents
from annotator3d.data.datasets.nuscenes import NuScenes
from annotator3d.data.datasets.sequences import ScanDataset, SemanticKITTI
from annotator3d.data.importing.card import CARD


def open_folder(root: Path, taxonomy: str | None) -> list[ScanDataset]:
    """Every dataset that lies in `root`; their labels may be missing.

    What `annotator3d import` wrote, SemanticKITTI's layout with whatever sequences there are, or
    each version and split of nuScenes that is there.

    Args:
        taxonomy: name or path of a class map; None: the dataset's own.

    Raises:
        FileNotFoundError, ValueError: it is none of these, or not as it should be.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    if (root / CARD).is_file():
        return [ImportedScans(root, "all", taxonomy=taxonomy, labels="optional")]
    if (root / "sequences").is_dir():
        folders = sorted(os.scandir(root / "sequences"), key=lambda entry: entry.name)
        names = [e.name for e in folders if (Path(e.path) / "velodyne").is_dir()]
        return [SemanticKITTI(root, names, taxonomy, labels="optional")]
    versions = [version for version in NuScenes.LISTS if (root / version).is_dir()]
    if versions:
        return [
            NuScenes(root, split, version, taxonomy, labels="optional")
            for version in versions
            for split in NuScenes.LISTS[version]
        ]
    raise FileNotFoundError(
        f"{root} holds {contents(root)}: neither {CARD} (annotator3d import) nor sequences nor "
        "v1.0-...; name its config with --config"
    )
