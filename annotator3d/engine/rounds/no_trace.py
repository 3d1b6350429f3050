"""A refused command leaves its folder as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator3d.engine.workdir import WorkDir


@contextmanager
def locked_without_trace(work_dir: WorkDir) -> Iterator[None]:
    """`WorkDir.lock`, for a block that writes a round or fails.

    If it fails before the ledger holds a new round, what it has made is removed: the stored
    predictions, and of a new work directory the ledger, the config and the folders too.
    """
    made = [path for path in (work_dir.path, *work_dir.path.parents) if not path.exists()]
    before = None if made else set(work_dir.path.iterdir())
    rounds = _count(work_dir)
    with work_dir.lock():
        try:
            yield
        except BaseException:
            if rounds is not None and _count(work_dir) == rounds:
                _clear(work_dir, rounds, before)
                for folder in made:  # the innermost first
                    _remove_empty(folder)
            raise


def _count(work_dir: WorkDir) -> int | None:
    """Rounds in the ledger, 0 where there is none; None if it cannot be read."""
    if not work_dir.has_ledger():
        return 0
    try:
        with work_dir.ledger() as ledger:
            return len(ledger.rounds())
    except (OSError, ValueError):
        return None


def _clear(work_dir: WorkDir, rounds: int, before: set[Path] | None) -> None:
    shutil.rmtree(work_dir.rounds / str(rounds + 1), ignore_errors=True)
    for path in work_dir.path.iterdir():
        if before is not None and path in before:
            continue
        if path.is_file():
            path.unlink()
        else:
            _remove_empty(path)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # somebody has put something there
