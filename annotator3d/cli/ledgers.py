"""From what a user names to a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from annotator3d.errors import ConfigError

if TYPE_CHECKING:
    from annotator3d.engine.workdir import WorkDir


def ledger_path(text: str) -> Path:
    """The ledger file of a work directory, or the file itself.

    Raises FileNotFoundError if there is none.
    """
    from annotator3d.engine.workdir import WorkDir

    path = Path(text)
    path = WorkDir(path).ledger_path if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}; name a work directory or a ledger")
    return path


def require_work_dir(text: str) -> WorkDir:
    """Raises ConfigError for a work package, which looks like a ledger but is not the run's."""
    from annotator3d.engine.workdir import WorkDir
    from annotator3d.ledger.database import is_package

    if is_package(Path(text)):
        raise ConfigError(f"{text} is a work package; name the work directory of a run")
    return WorkDir(text)
