"""The processes of a run as threads of one process: what they tell each other is pickled."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from annotator3d.engine.distributed import World


@dataclass(frozen=True)
class ThreadWorld(World):
    """A rank that meets the others at a barrier."""

    slots: list[bytes] = field(default_factory=list)
    barrier: threading.Barrier | None = None

    def gather(self, mine: Any) -> list[Any]:
        self.slots[self.rank] = pickle.dumps(mine)
        self.barrier.wait(60)
        found = [pickle.loads(slot) for slot in self.slots]
        self.barrier.wait(60)
        return found

    def on_rank_zero(self, work: Callable[[], Any]) -> Any:
        return self.gather(self.on_all_ranks(work if self.is_first else lambda: None))[0]


def run_ranks(size: int, work: Callable[[ThreadWorld], Any]) -> Any:
    """Call `work` once for each rank; rank 0 works in this thread, and its result is given."""
    slots, barrier = [b""] * size, threading.Barrier(size)
    worlds = [ThreadWorld(rank, size, rank, slots, barrier) for rank in range(size)]
    others = [threading.Thread(target=work, args=(world,)) for world in worlds[1:]]
    for thread in others:
        thread.start()
    try:
        return work(worlds[0])
    finally:
        barrier.abort()  # after the last meeting of all nobody waits; after an error, nobody may
        for thread in others:
            thread.join()
