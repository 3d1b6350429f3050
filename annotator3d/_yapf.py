"""The way to yapf, which mmengine imports: one process after the other."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from annotator3d.account import cache_folder


def load_yapf() -> None:
    """Import yapf while no other process of ours does.

    At the first start after it was installed, it writes its grammar into the user's cache, in
    place: another process that starts at the same time reads one half of it and fails with
    "EOFError: Ran out of input".
    """
    with _alone():
        import yapf  # noqa: F401


@contextmanager
def _alone() -> Iterator[None]:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "yapf.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a cache that cannot be written to: yapf keeps no grammar, either
        yield
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a disk without locks
            pass
        yield
    finally:
        os.close(lock)
