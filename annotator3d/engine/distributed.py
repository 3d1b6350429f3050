"""The processes of a run: who they are, what they tell each other, and how an error ends them all.

Rank 0 alone opens the ledger and writes to the work directory; the others learn from it. Between
ranks, on one machine or several, objects travel by pickle: they are one program of one user.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist

from annotator3d.errors import ConfigError

T = TypeVar("T")

# Longest time that a process waits for the others: while they score their scans, or rank 0 answers
# a round from the ground truth. A process that dies does not take so long: its launcher ends all.
TIMEOUT = timedelta(hours=1)
# Longest time from the first process that has started to the last one.
START_TIMEOUT = timedelta(minutes=10)

# Groups that runs have left. torch ends a group's threads when its last owner goes. If that is DDP,
# it does so while it holds Python's lock, and waits for ever for a thread that wants the lock to
# free its last message. The owner here goes when the process ends.
_left: list[dist.ProcessGroup] = []


@dataclass(frozen=True)
class World:
    """The processes of a run as one of them sees them.

    Every method but `share` must be called by all ranks, in the same order.
    """

    rank: int = 0
    size: int = 1
    local: int = 0  # rank among those of the same machine

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's part of `items`: every item is in exactly one part."""
        return items[self.rank :: self.size]

    def gather(self, mine: T) -> list[T]:
        """What every rank gives, in the order of the ranks."""
        if self.size == 1:
            return [mine]
        everything: list = [None] * self.size
        dist.all_gather_object(everything, mine)
        return everything

    def on_all_ranks(self, work: Callable[[], T]) -> T:
        """Run `work` on every rank; each gets its own result.

        An exception of one rank is raised on all of them, that of the lowest rank if there are
        several, so that nobody waits for a rank that has given up.
        """
        if self.size == 1:
            return work()
        result, error = None, None
        try:
            result = work()
        except Exception as raised:
            error = _portable(raised)
        for failed in self.gather(error):
            if failed is not None:
                raise _known_to_all(failed)
        return result

    def map_ranks(self, work: Callable[[], T]) -> list[T]:
        """As `on_all_ranks`, but every rank gets the results of all, in the order of the ranks."""
        return self.gather(self.on_all_ranks(work))

    def on_rank_zero(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 alone; every rank gets its result, or its exception."""
        result = [self.on_all_ranks(work if self.is_first else _nothing)]
        if self.size > 1:
            dist.broadcast_object_list(result, src=0)
        return result[0]

    def total(self, counts: np.ndarray) -> np.ndarray:
        """Exact sum of integer arrays of one shape."""
        if self.size == 1:
            return counts
        summed = torch.from_numpy(counts.astype(np.int64))
        dist.all_reduce(summed)
        return summed.numpy()

    def highest(self, value: int) -> int:
        """The highest of the ranks' values."""
        if self.size == 1:
            return value
        shared = torch.tensor(value)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared)

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Put the ranks' mean of each float tensor in its place."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, parts, strict=True):
            tensor.copy_(mean.view_as(tensor))

    def check_same(self, what: str, named: Mapping[str, str], advice: str) -> None:
        """Refuse ranks that do not hold the same.

        Args:
            what: what differs and between what, for the message.
            named: name -> digest.

        Raises:
            ValueError: on every rank; it gives the names that differ.
        """
        everything = self.gather(dict(named))
        first = everything[0]
        for rank, other in enumerate(everything):
            names = sorted(n for n in {*first, *other} if first.get(n) != other.get(n))
            if names:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                raise _known_to_all(
                    ValueError(
                        f"{what} of process {rank} are not those of process 0: "
                        f"{', '.join(names[:5])}{more}; {advice}"
                    )
                )


ALONE = World()


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun or SLURM started for this run, joined for its length.

    Args:
        device: where the run trains; each process of a machine takes another CUDA device.

    Raises:
        ConfigError: the environment does not say who and where the processes are, or a machine has
            fewer CUDA devices than processes.
        RuntimeError: the processes do not find each other.
    """
    size = _number("WORLD_SIZE", "1")
    if size == 1:
        yield ALONE
        return
    rank, local = _number("RANK"), _number("LOCAL_RANK", "0")
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} of this machine has no CUDA device of its own: torch finds "
                f"{torch.cuda.device_count()}; start as many processes a machine, or "
                "--set device=cpu"
            )
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store = _meet(rank, size)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    _left.append(dist.group.WORLD)
    try:
        yield World(rank, size, local)
    finally:
        dist.destroy_process_group()


def _meet(rank: int, size: int) -> dist.Store:
    """The store through which the processes of a run find each other."""
    place = f"{os.environ.get('MASTER_ADDR')}:{_number('MASTER_PORT')}"
    try:
        return next(dist.rendezvous("env://", rank, size, timeout=START_TIMEOUT))[0]
    except dist.DistError as error:
        what = str(error).splitlines()[0]
        raise RuntimeError(
            f"process {rank} of {size} did not meet the others at {place}: {what} Check that "
            "MASTER_ADDR is the machine of process 0, that MASTER_PORT is free there and reached "
            f"from the others, and that all {size} processes were started"
        ) from error


def _number(name: str, default: str | None = None) -> int:
    value = os.environ.get(name, default)
    if value is None or not value.isdigit():
        raise ConfigError(
            f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, but {name} is {value!r}; start several "
            "processes with torchrun, tools/dist_train.sh or tools/slurm_train.sh, which set both"
        )
    return int(value)


def tell_launcher(error: BaseException) -> None:
    """Let torchrun name the error that ended this process in its summary."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


def is_of_lost_process(error: Exception) -> bool:
    """Whether `error` only says that the connection to another process broke, because it ended."""
    return any(what in str(error) for what in ("closed by peer", "reset by peer"))


def _known_to_all(error: Exception) -> Exception:
    """Mark an error that every rank raises: the words of rank 0 are enough."""
    error.known_to_all = True
    return error


def _nothing() -> None:
    """What the ranks do for which rank 0 works."""


def _portable(error: Exception) -> Exception:
    """`error`, or its words where the exception itself cannot travel."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
