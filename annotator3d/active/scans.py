"""Scans as a labelling session sees them: who provides them, and reading ahead."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from annotator3d.data.scan import Scan

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the sensor was."""

    world: str  # poses of one world may be compared; a sequence, for example
    matrix: NDArray[np.float64]  # [4, 4] sensor frame -> world, metres


class ScanSource(Protocol):
    """What a session asks about scans; a dataset, a package or a simulator stands behind it.

    `scan` and `fingerprint` are called from two threads of the session's, the others from the
    session's own. A scan that is gone or unreadable is an OSError or ValueError naming the file.
    """

    def scan(self, scan_id: str) -> Scan:
        """The points; labels are not looked at."""
        ...

    def fingerprint(self, scan_id: str) -> str:
        """Fingerprint of the scan's file as the ledger registered it (`data.files.fingerprint`)."""
        ...

    def pose(self, scan_id: str) -> Pose | None:
        """Where the scan was taken; None if that is not known."""
        ...

    def neighbours(self, scan_id: str, back: int, forth: int) -> list[str]:
        """Ids of up to `back` scans before and `forth` after it in the same drive, in order."""
        ...

    def image(self, scan_id: str, centre: NDArray[np.float64]) -> NDArray[np.uint8] | None:
        """Camera image [H, W, 3] RGB around a point [3] (sensor frame, metres); None without."""
        ...


class Prefetcher(Generic[Key, Value]):
    """Loads in one thread of its own what will be asked for next, and keeps what was used last.

    Args:
        load: from a key, the value; what it raises is raised again by `get`, and not kept.
        keep: number of values that stay in memory.
    """

    def __init__(self, load: Callable[[Key], Value], keep: int = 16) -> None:
        self._load, self.keep = load, keep
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scans")
        self._futures: OrderedDict[Key, Future[Value]] = OrderedDict()

    def get(self, key: Key) -> Value:
        """The value, at once if it was prefetched."""
        future = self._start(key)
        try:
            return future.result()
        except BaseException:
            self._futures.pop(key, None)
            raise

    def prefetch(self, keys: Iterable[Key]) -> None:
        """Begin to load, without waiting."""
        for key in keys:
            self._start(key)

    def forget(self) -> None:
        """Load everything anew when it is asked for again."""
        self._futures.clear()

    def close(self) -> None:
        """End the thread, without waiting for what it loads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: Key) -> Future[Value]:
        future = self._futures.get(key)
        if future is None:
            future = self._futures[key] = self._pool.submit(self._load, key)
        self._futures.move_to_end(key)
        while len(self._futures) > self.keep:
            _, old = self._futures.popitem(last=False)
            old.cancel()
        return future
