"""Loading in the background what will be shown next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


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
        """Load everything again when it is next needed."""
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
