"""Writing files so that a crash never leaves half of one, and naming their contents."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from annotator3d.system_errors import in_words, naming

_BLOCK = 1 << 20


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the block ends well.

    The bytes go to a temporary file in the same folder (`part_of`), which is flushed, fsynced and
    renamed; the folder is fsynced too. After an exception in the block, or a crash at any moment,
    ``path`` holds what it held before. Symbolic links are followed and the permissions of an old
    file are kept.

    Raises FileNotFoundError when the folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}")
    with written_whole(target) as part, open(part, "xb") as file:
        yield file


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file beside `path`, to be made in the block, that gets its name when the block ends well.

    It gets the permissions of an old file and is fsynced first, the folder after. After an
    exception it is removed.
    """
    part = part_of(path)
    with naming(path, "cannot be written", part):
        try:
            yield part
            with open(part, "r+b") as file:
                if path.exists():
                    os.chmod(part, path.stat().st_mode & 0o7777)
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):  # what happened first counts
                part.unlink(missing_ok=True)
            raise
    fsync_folder(path.parent)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises OSError (`system_errors.in_words` says it in words) where that cannot be.
    """
    with naming(path, "cannot be made"):
        Path(path).mkdir(parents=True, exist_ok=True)


def part_of(path: Path) -> Path:
    """Where to write what shall have the name `path` when it is whole; no two calls agree.

    It says which process of which host is at work, for `clear_parts`.
    """
    writer = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.{writer}.part")


def clear_parts(folder: Path) -> None:
    """Remove what killed processes of this host have left of `part_of` in a folder.

    What a living process writes stays, and so does what another host of a shared disk wrote, since
    nobody here can tell whether it lives.
    """
    host = re.escape(socket.gethostname())
    pattern = re.compile(rf"\..+\.{host}\.(\d+)\.[0-9a-f]{{8}}\.part(-journal|-wal|-shm)?")
    for path in folder.iterdir():
        found = pattern.fullmatch(path.name)
        if found is None or is_alive(int(found[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether this host has a process of this number."""
    if os.name == "nt":
        return True  # unknown: signal 0 is Ctrl-C there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise unless `path` is a file: reading a FIFO may never end.

    Raises:
        FileNotFoundError: there is no such file, or the link leads to none.
        ValueError: it is a FIFO, a device, a socket or a folder.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            raise FileNotFoundError(
                f"{path} is a link to {os.readlink(path)}, which is not there"
            ) from None
        raise FileNotFoundError(f"{path}: there is no such file") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is a {kind_of(mode)}, expected a file")


def require_folder(path: str | os.PathLike[str], name: str = "") -> None:
    """Raise unless `path` is a folder, or a link to one.

    Args:
        name: of the option that it was given with.

    Raises:
        FileNotFoundError: there is none, or it is a file or a link that leads nowhere.
    """
    if os.path.isdir(path):
        return
    start = f"{name}: " if name else ""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        words = f"there is no folder {path}"
        if os.path.islink(path):
            words = f"{path} is a link to {os.readlink(path)}, which is not there"
        raise FileNotFoundError(f"{start}{words}") from None
    except OSError as error:
        raise FileNotFoundError(f"{start}{in_words(error)}") from None
    raise FileNotFoundError(f"{start}{path} is a {kind_of(mode)}, expected a folder")


def is_there(path: Path) -> bool:
    """Whether anything but a folder has this name, also what `require_file` refuses."""
    return os.path.lexists(path) and not path.is_dir()


def kind_of(mode: int) -> str:
    """The kind of file that a `st_mode` stands for: file, folder, FIFO, socket or device."""
    kinds = {
        stat.S_ISREG: "file",
        stat.S_ISDIR: "folder",
        stat.S_ISFIFO: "FIFO",
        stat.S_ISSOCK: "socket",
    }
    return next((name for test, name in kinds.items() if test(mode)), "device")


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


def in_utf8(text: bytes) -> bytes:
    """The same text in UTF-8 without a mark at its start, where that mark says what it is."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return text.decode("utf-16").encode()
    return text.removeprefix(codecs.BOM_UTF8)
