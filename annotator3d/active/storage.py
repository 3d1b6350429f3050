"""Where the ledger file lies: local disk or network, and who else has it open there.

WAL needs memory shared by all processes that have the file open, which a network file system
cannot give (https://sqlite.org/wal.html). There, a rollback journal is used, and as file locks
between hosts cannot be relied upon either, a second host is turned away.
"""

from __future__ import annotations

import itertools
import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

from annotator3d.data.files import clear_parts, is_alive, written_whole

_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "gluster")
_NETWORK += ("virtiofs", "vboxsf", "ocfs2", "gfs2", "pvfs", "orangefs", "sshfs", "rclone", "s3fs")
_count = itertools.count()  # a process may open one ledger twice


def file_system(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """Type of the file system that holds `path` ("ext4", "nfs4"); "" where it cannot be told."""
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""  # not Linux
    place, best, found = path.resolve(), -1, ""
    for line in lines:
        _, mount, kind, *_ = line.split(" ")
        folder = Path(mount.encode().decode("unicode_escape"))  # a space is written \040
        # the later of two mounts on one folder is the one that is seen
        if place.is_relative_to(folder) and len(folder.parts) >= best:
            best, found = len(folder.parts), kind
    return found


def on_network(path: Path) -> bool:
    """Whether `path` lies on a network file system (Linux; elsewhere: False)."""
    return file_system(path).removeprefix("fuse.").startswith(_NETWORK)


def back_up(path: Path, copy: Path, check: Callable[[Path], None] | None = None) -> None:
    """Copy a database file as it stands on disk, journal included, whole or not at all.

    `check` looks at the copy, under a name of its own, before it gets its place.
    """
    clear_parts(copy.parent)
    with written_whole(copy) as part:
        _copy(path, part)
        if check is not None:
            check(part)


def _copy(path: Path, part: Path) -> None:
    source, target = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True), None
    try:
        target = sqlite3.connect(part)
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    finally:
        source.close()
        if target is not None:
            target.close()


class HostLock:
    """A note beside the ledger saying that a process of this host has it open for writing.

    Each writer leaves its own note and then looks for others, so of two hosts that come at the
    same time at least one sees the other.

    Raises:
        ValueError: another host holds the ledger.
    """

    def __init__(self, path: Path) -> None:
        self._host = socket.gethostname()
        mine = f"{self._host}.{os.getpid()}.{next(_count)}"
        self._note = path.with_name(f"{path.name}.{mine}.open")
        self._note.touch()
        for note in sorted(path.parent.glob(f"{path.name}.*.open")):
            host, pid, _ = note.name[len(path.name) + 1 :].removesuffix(".open").rsplit(".", 2)
            if host == self._host:
                if not is_alive(int(pid)):
                    note.unlink(missing_ok=True)
                continue
            self.release()
            raise ValueError(
                f"{path} lies on a network file system and host {host} has it open (this is "
                f"{self._host}); work on one host at a time, or delete {note} if nothing runs there"
            )

    def release(self) -> None:
        self._note.unlink(missing_ok=True)
