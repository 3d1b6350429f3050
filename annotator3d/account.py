"""The account that runs us: its name and its folders, also where the machine does not know it.

A container that runs as some number (``docker run -u 1234``) has neither a line in the list of
users nor a home.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path


def user_name() -> str:
    """The name of the user, or ``user-1234`` for a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user-{os.getuid()}"


def cache_folder() -> Path:
    """``$ANNOTATOR3D_CACHE``, else ``~/.cache/annotator3d``: what can be made again."""
    given = os.environ.get("ANNOTATOR3D_CACHE")
    return Path(given) if given else _own_folder(".cache", "XDG_CACHE_HOME")


def settings_folder() -> Path:
    """``$ANNOTATOR3D_CONFIG``, else ``~/.config/annotator3d``: what the user has decided."""
    given = os.environ.get("ANNOTATOR3D_CONFIG")
    return Path(given) if given else _own_folder(".config", "XDG_CONFIG_HOME")


def ensure_home() -> None:
    """Set ``HOME`` to a folder for temporary files where there is none that can be written to.

    Libraries look for it while they are imported, and fail without.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    # Containers that run as some number often say "/".
    if home is None or (home == Path("/") and not os.access(home, os.W_OK)):
        home = Path(tempfile.gettempdir()) / f"annotator3d-{user_name()}"
        home.mkdir(mode=0o700, exist_ok=True)
        if home.lstat().st_uid != os.getuid():  # somebody else made it, to read or to write ours
            home = Path(tempfile.mkdtemp(prefix="annotator3d-"))
        os.environ["HOME"] = str(home)


def _own_folder(name: str, variable: str) -> Path:
    """A folder of ours in the user's home."""
    if given := os.environ.get(variable):
        return Path(given) / "annotator3d"
    ensure_home()
    return Path.home() / name / "annotator3d"
