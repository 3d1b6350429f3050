"""Which data set a folder holds, for commands that get only the folder."""

from __future__ import annotations

from pathlib import Path

from annotator3d.data.datasets.base import PathLike, ScanDataset
from annotator3d.data.datasets.listing import contents
from annotator3d.data.files import require_folder
from annotator3d.registry import DATASETS, fill


def open_folder(root: Path, taxonomy: PathLike | None) -> list[ScanDataset]:
    """Every part of the data set in `root`; labels may be missing.

    Each registered data set that can recognise its folders (`ScanDataset.matches`) is asked.

    Args:
        taxonomy: name or path of a class map; None: the data set's own.

    Raises:
        FileNotFoundError: there is no such folder, or no data set matches it.
        ValueError: several data sets match it, or the data set is not valid.
    """
    require_folder(root)
    known = _recognisable()
    found = [cls for cls in known if cls.matches(root)]
    found = [cls for cls in found if not cls.GENERIC] or found
    if not found:
        marks = ", ".join(cls.KNOWN_BY for cls in known)
        raise FileNotFoundError(
            f"{root} holds {contents(root)}, which is not a known data set; expected one of "
            f"{marks}; or name its config with --config"
        )
    if len(found) > 1:
        names = ", ".join(cls.__name__ for cls in found)
        raise ValueError(f"{root} may be any of {names}; name its config with --config")
    return found[0].open_parts(root, taxonomy)


def _recognisable() -> list[type[ScanDataset]]:
    """The data sets that can recognise their folders."""
    fill(DATASETS)
    return [cls for cls in DATASETS.module_dict.values() if "matches" in vars(cls)]
