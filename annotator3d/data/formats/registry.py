"""The readers of point clouds by the ending of their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from annotator3d.data.files import require_file
from annotator3d.data.formats.arrays import read_bin, read_npy, read_npz
from annotator3d.data.formats.cloud import Cloud, CloudError
from annotator3d.data.formats.las import read_las
from annotator3d.data.formats.pcd import read_pcd
from annotator3d.data.formats.ply import read_ply
from annotator3d.system_errors import is_refusal

_LONGEST = 200  # characters of a library's own words


class Format(NamedTuple):
    """How files of one ending are read."""

    read: Callable[..., Cloud]
    """(path, columns); raises whatever it likes on a damaged file."""
    library: str | None = None
    """Imported by the reader; of the extra ``formats``."""


FORMATS = {
    "bin": Format(read_bin),
    "pcd": Format(read_pcd, "pypcd4"),
    "ply": Format(read_ply, "plyfile"),
    "las": Format(read_las, "laspy"),
    "laz": Format(read_las, "lazrs"),
    "npy": Format(read_npy),
    "npz": Format(read_npz),
}

AUTO = "auto"  # in place of a format: each file is read as its ending says


def require(format: str) -> None:
    """Raise ImportError that names the extra if the library behind a format is missing."""
    if format not in FORMATS or FORMATS[format].library is None:  # others need nothing
        return
    library = FORMATS[format].library
    try:
        import_module(library)
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
    require_file(path)
    try:
        return FORMATS[format].read(path, columns)
    except (FileNotFoundError, MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except CloudError as error:
        raise ValueError(f"{path} {error}") from None
    except BaseException as error:  # libraries raise whatever comes; a Rust panic is no Exception
        if is_refusal(error):
            raise
        words = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise ValueError(
            f"{path} is damaged, truncated or no {format.upper()} file: {words}"
        ) from error
