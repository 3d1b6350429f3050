"""From what a user names to a ledger."""

from __future__ import annotations

from pathlib import Path

from annotator3d.errors import ConfigError


def ledger_path(text: str) -> Path:
    """The ledger file of a work directory, or the file itself.

    Raises FileNotFoundError if there is none.
    """
    path = Path(text)
    path = path / "ledger.sqlite" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no ledger {path}; name a work directory or a ledger")
    return path


def require_work_dir(text: str) -> Path:
    """Raises ConfigError for a work package, which looks like a ledger but is not the run's."""
    from annotator3d.ledger.database import is_package

    if is_package(Path(text)):
        raise ConfigError(f"{text} is a work package; name the work directory of a run")
    return Path(text)
