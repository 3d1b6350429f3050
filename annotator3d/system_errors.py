"""What the system says of files (``[Errno 30] ...``), in words that a user can act on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator3d.errors import shortened

_WRITING = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # only writing ends so
_NAME = 200  # characters of a path in a message

_REASONS = {
    errno.EROFS: "its disk is read-only; choose another place, or mount the disk for writing",
    errno.ENOSPC: "the disk is full; free some space, then run this again",
    errno.EDQUOT: "your share of the disk is used up; free some space, then run this again",
    errno.EFBIG: "files may not become so large there (`ulimit -f`, or a limit of its disk)",
    errno.EIO: "the disk failed; check it, or the connection to it",
    errno.EISDIR: "it is a folder, expected a file",
    errno.EMFILE: "too many files are open; raise the limit (`ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.ENOTEMPTY: "the folder is not empty; choose another place",
    errno.EBUSY: "it is in use; end what uses it, then run this again",
}


@contextmanager
def naming(path: str | os.PathLike[str], tried: str, part: Path | None = None) -> Iterator[None]:
    """Let an error of the system in the block speak of `path`, and of what was tried.

    Args:
        tried: such as ``"cannot be written"``.
        part: the file that the block works on for `path`; errors of any other file stay as they
            are, and so do those that name none, unless only writing ends so.
    """
    try:
        yield
    except OSError as error:
        of_this = error.filename in (str(part or path), part or path)
        if of_this or (error.filename is None and error.errno in _WRITING):
            error.filename, error.filename2 = str(path), None
            error.tried = tried  # type: ignore[attr-defined]
        raise


def is_refusal(error: BaseException) -> bool:
    """Whether the system refused a file: it says nothing about what the file holds.

    An argument that makes no sense (EINVAL) comes of bytes that make none, as places in a file.
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def in_words(error: BaseException) -> str:
    """What an error says; of one of the system, the file, what was tried, why not, what to do."""
    loop = error.__context__  # that pathlib, before Python 3.13, makes a RuntimeError of
    if isinstance(error, RuntimeError) and isinstance(loop, OSError) and loop.errno == errno.ELOOP:
        error = loop
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    if error.strerror != os.strerror(error.errno):  # somebody's own words
        return str(error)
    named = error.filename2 or error.filename
    if not isinstance(named, (str, os.PathLike)):
        reason = _REASONS.get(error.errno, f"{error.strerror[:1].lower()}{error.strerror[1:]}")
        return f"a file cannot be {'written' if error.errno in _WRITING else 'used'}: {reason}"
    path = Path(named)
    tried = getattr(error, "tried", None) or _tried(error.errno, path)
    return f"{_short(path)} {tried}: {_reason(error, path)}"


def _tried(code: int, path: Path) -> str:
    """What probably was tried."""
    if code in _WRITING:
        return "cannot be written"
    if code in (errno.EACCES, errno.EPERM):
        return (
            "cannot be written" if _is_readable(path) or not _is_there(path) else "cannot be read"
        )
    return "cannot be made" if code == errno.EEXIST else "cannot be opened"


def _reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ELOOP or (error.errno == errno.EEXIST and _is_loop(path)):
        links = [place for place in (path, *path.parents) if _is_loop(place)]
        link = "it" if links[-1:] in ([], [path]) else _short(links[-1])
        return f"{link} is a symbolic link that leads in a circle; remove or repair it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return _denied(path)
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        files = [place for place in (path, *path.parents) if os.path.isfile(place)]
        file = "it" if files[-1:] == [path] else _short(files[-1]) if files else "a part of it"
        return f"{file} is a file, expected a folder; choose another place"
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long; a name has at most 255 bytes, with its folders 4,095"
    if error.errno == errno.ENOENT:
        gone = [place for place in path.parents if not _is_there(place)]
        return (
            f"there is no folder {_short(gone[-1])}" if gone else "there is no such file or folder"
        )
    words = error.strerror or ""
    return _REASONS.get(error.errno or 0, f"{words[:1].lower()}{words[1:]}")


def _denied(path: Path) -> str:
    if _is_there(path):
        may = "write to" if _is_readable(path) else "read"
        return f"you may not {may} it; change its permissions, or choose another place"
    there = next((place for place in path.parents if _is_there(place)), path)
    advice = "change its permissions, or choose another place"
    return f"you may not write to the folder {_short(there)}; {advice}"


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK)


def _is_loop(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _short(path: Path) -> str:
    return shortened(str(path), _NAME)
