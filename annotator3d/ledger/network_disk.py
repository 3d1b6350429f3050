"""Ledgers on network file systems: which ones are, and one host at a time."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

from annotator3d.data.files import is_alive

_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "gluster")
_NETWORK += ("virtiofs", "vboxsf", "ocfs2", "gfs2", "pvfs", "orangefs", "sshfs", "rclone", "s3fs")
_count = itertools.count()  # a process may open one ledger twice


def file_system(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """Type of the file system that holds `path` ("ext4", "nfs4"); "" if unknown."""
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
