"""Point clouds in the formats of other tools. The libraries behind them are the extra `formats`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from annotator3d.data.formats.arrays import read_bin, read_npy, read_npz
from annotator3d.data.formats.cloud import Cloud, CloudError
from annotator3d.data.formats.las import read_las, write_las
from annotator3d.data.formats.pcd import read_pcd
from annotator3d.data.formats.ply import read_ply, write_ply

__all__ = ["FORMATS", "Cloud", "read_cloud", "require", "write_las", "write_ply"]

FORMATS: dict[str, Callable[..., Cloud]] = {
    "bin": read_bin,
    "pcd": read_pcd,
    "ply": read_ply,
    "las": read_las,
    "laz": read_las,
    "npy": read_npy,
    "npz": read_npz,
}
_NEEDS = {"ply": "plyfile", "pcd": "pypcd4", "las": "laspy", "laz": "lazrs"}


def require(format: str) -> None:
    """Raise ImportError that names the extra if the library behind a format is missing."""
    library = _NEEDS.get(format)
    if library is None:
        return
    try:
        __import__(library)
    except ImportError as error:
        raise ImportError(
            f"{format.upper()} files need {library}: pip install 'annotator3d[formats]' ({error})"
        ) from error


def read_cloud(
    path: str | os.PathLike[str], format: str, columns: Sequence[str] | None = None
) -> Cloud:
    """Read one file.

    Args:
        format: a key of `FORMATS`.
        columns: names of the columns of plain arrays (bin, npy, npz); ``_`` is not used.

    Raises:
        FileNotFoundError, ImportError: no such file; the library is missing.
        ValueError: the file is damaged or of another format; it is named.
    """
    require(format)
    try:
        return FORMATS[format](path, columns)
    except (FileNotFoundError, MemoryError):
        raise
    except CloudError as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # these libraries raise whatever comes on a damaged file
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} is damaged, truncated or no {format.upper()} file: {words}"
        ) from error
