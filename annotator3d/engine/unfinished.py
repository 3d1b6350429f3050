"""A change of the class list that was killed on the way, between the ledger and all else.

A note lies in the work directory from before the ledger is changed until all else is. With a
ledger that has the class list of the note, it says that the rest is still to be done.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from annotator3d.data.files import atomic_write

_NOTE = "migration.json"


def kept_classes(work_dir: Path, version: int) -> Path:
    """Where the class list of that version is kept."""
    return work_dir / f"taxonomy-{version}.yaml"


def note_migration(work_dir: Path, version: int, settings: Sequence[str]) -> None:
    """Say that the class list is about to become that of `version`.

    Args:
        settings: for the config of the run, as ``--set`` takes them.
    """
    with atomic_write(work_dir / _NOTE) as file:
        file.write(json.dumps({"version": version, "settings": list(settings)}).encode())


def forget_migration(work_dir: Path) -> None:
    (work_dir / _NOTE).unlink(missing_ok=True)


def is_unfinished(work_dir: Path, version: int) -> bool:
    """Whether the ledger came to class list `version`, its newest, and the rest did not."""
    return _note(work_dir).get("version") == version


def refuse_unfinished(work_dir: Path, version: int) -> None:
    """Raise ValueError with the command that ends the migration, if there is one to be ended."""
    if not is_unfinished(work_dir, version):
        return
    settings = [part for each in _note(work_dir)["settings"] for part in ("--set", each)]
    classes = str(kept_classes(work_dir, version))
    command = ["annotator3d", "taxonomy", "migrate", str(work_dir), classes, "--apply", *settings]
    raise ValueError(
        f"{work_dir} is on its way to another class list: `taxonomy migrate` was begun and did "
        "not come to its end. No answer is lost. Run the same command again, or: "
        + shlex.join(command)
    )


def _note(work_dir: Path) -> dict:
    path = work_dir / _NOTE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
