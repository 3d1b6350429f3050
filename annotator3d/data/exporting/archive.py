"""The zip archive that SemanticKITTI's test server takes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from annotator3d.data.files import atomic_write

_WHEN = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same predictions


def write_archive(path: Path, out: Path, files: Sequence[Path], description: Path | None) -> None:
    """Pack files below `out` under their names there, with an entry for every folder above them.

    semantic-kitti-api's validate_submission.py looks for the entries of the folders too.

    Args:
        description: becomes ``description.txt``.
    """
    names = {file: PurePosixPath(file.relative_to(out)) for file in files}
    folders = {parent for name in names.values() for parent in name.parents} - {PurePosixPath(".")}
    with atomic_write(path) as target, zipfile.ZipFile(target, "w") as archive:
        for folder in sorted(folders):
            archive.writestr(zipfile.ZipInfo(f"{folder}/", _WHEN), b"")
        entries = {str(names[file]): file for file in sorted(files)}
        if description is not None:
            entries["description.txt"] = description
        for name, file in entries.items():
            info = zipfile.ZipInfo(name, _WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, file.read_bytes())
