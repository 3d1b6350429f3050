"""A class-list migration that was begun in a run folder: its note, and what ends it.

The ledger goes over to a new class list in one transaction; the other files of the folder follow.
The note tells a kill in between from a folder that is ready.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from annotator3d.data.files import atomic_write
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.workdir import WorkDir


def kept_classes(work_dir: WorkDir, version: int) -> Path:
    """Where the class list of that version is kept."""
    return work_dir.path / f"taxonomy-{version}.yaml"


def note_migration(work_dir: WorkDir, version: int, settings: Sequence[str]) -> None:
    """Note that the class list is about to become that of `version`.

    Args:
        settings: for the config of the run, as ``--set`` takes them.
    """
    with atomic_write(_note_path(work_dir)) as file:
        file.write(json.dumps({"version": version, "settings": list(settings)}).encode())


def forget_migration(work_dir: WorkDir) -> None:
    _note_path(work_dir).unlink(missing_ok=True)


def is_interrupted(work_dir: WorkDir, version: int) -> bool:
    """Whether the ledger has class list `version`, its newest, and the other files have not."""
    return _note(work_dir).get("version") == version


def refuse_interrupted(work_dir: WorkDir, version: int) -> None:
    """Raise ValueError with the command that completes the migration, if it was interrupted."""
    if not is_interrupted(work_dir, version):
        return
    settings = [part for each in _note(work_dir)["settings"] for part in ("--set", each)]
    classes = str(kept_classes(work_dir, version))
    command = ["annotator3d", "taxonomy", "migrate", str(work_dir), classes, "--apply", *settings]
    raise ValueError(
        f"a migration of {work_dir} to another class list was started but did not finish. No "
        f"answer is lost. Run the same `taxonomy migrate` again, or: {shlex.join(command)}"
    )


def _note_path(work_dir: WorkDir) -> Path:
    return work_dir.path / "migration.json"


def _note(work_dir: WorkDir) -> dict:
    path = _note_path(work_dir)
    return parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
