"""Writing files so that a crash never leaves half of one, and naming their contents."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_BLOCK = 1 << 20


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the block ends well.

    The bytes go to a temporary file in the same folder, which is flushed, fsynced and renamed; the
    folder is fsynced too. After an exception in the block, or a crash at any moment, ``path`` holds
    what it held before. Symbolic links are followed and the permissions of an old file are kept.

    Raises FileNotFoundError when the folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            if target.exists():
                os.chmod(temporary, target.stat().st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(target.parent)


def part_file(path: Path) -> Path:
    """The name beside `path` of what this process writes there, until it is whole.

    What processes of this host that were killed have left under such names is removed.
    """
    start = f".{path.name}.{socket.gethostname()}."
    left = re.compile(re.escape(start) + r"(\d+)\.part(-journal)?")
    for other in path.parent.iterdir():
        match = left.fullmatch(other.name)
        if match and (int(match[1]) == os.getpid() or not is_alive(int(match[1]))):
            other.unlink(missing_ok=True)
    return path.with_name(f"{start}{os.getpid()}.part")


def is_alive(pid: int) -> bool:
    """Whether a process of this host is running, as far as can be told."""
    if os.name == "nt":
        return True  # signal 0 is Ctrl-C there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def fingerprint(path: str | os.PathLike[str]) -> str:
    """``"blake2b:<hex>"`` (128 bits) of the bytes of a file."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"blake2b:{digest.hexdigest()}"


def fsync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows has no such call for folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
