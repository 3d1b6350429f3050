"""Batches of training scans: each process its share of every epoch, from any step of it on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader

from annotator3d._mmengine import DefaultSampler
from annotator3d.data.balance import draw, scan_weights
from annotator3d.data.batch import SampleRequest, TrainingScans, collate
from annotator3d.engine.training.signals import serve_the_run


class RequestSampler(DefaultSampler):
    """Requests for this process's share of the scans, shuffled by (seed, epoch).

    The processes' batches of one step are together the batch that a single process with as many
    scans a step would have. Where the scans cannot be dealt out evenly, the first ones of the epoch
    are drawn once more at its end, so that all processes take the same number of steps.

    With `TrainingScans.balance` an epoch has as many scans, but those with rare classes in their
    answers are drawn more often (`data.balance`), others perhaps not at all.
    """

    def __init__(self, scans: TrainingScans, seed: int) -> None:
        super().__init__(scans, shuffle=True, seed=seed)
        self.skipped = 0  # scans of this process, at the start of the epoch

    def __iter__(self) -> Iterator[SampleRequest]:
        # One by one: a request is made with the answers of the moment when it is sent.
        if self.dataset.balance and self.dataset.answers:
            for index, repeat in self._balanced()[self.skipped :]:
                yield self.dataset.request(index, repeat)
            return
        for index in list(super().__iter__())[self.skipped :]:
            yield self.dataset.request(index)

    def _balanced(self) -> list[tuple[int, int]]:
        """This process's scans of the epoch, each with how often it has been drawn before."""
        scans = self.dataset
        weights = scan_weights(scans.base.ids, scans.answers, scans.balance)
        random = np.random.default_rng([self.seed, self.epoch])
        before: Counter[int] = Counter()
        found = []
        for index in draw(weights, self.total_size, random):
            found.append((index, before[index]))
            before[index] += 1
        return found[self.rank : self.total_size : self.world_size]


def training_loader(
    scans: TrainingScans, batch_size: int, seed: int, workers: int, device: torch.device
) -> DataLoader:
    """Batches of `batch_size` scans of this process; `RequestSampler` says which.

    Args:
        workers: processes that read scans, kept from epoch to epoch; 0: this process reads.

    Raises:
        ValueError: there is no scan.
    """
    if len(scans) == 0:
        raise ValueError("there is nothing to train on: the dataset holds no scan")
    return DataLoader(
        scans,
        batch_size,
        sampler=RequestSampler(scans, seed),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=serve_the_run,
        collate_fn=collate,
        # The seeds of the workers, which nothing uses, must not draw on the run's random numbers.
        generator=torch.Generator().manual_seed(seed),
    )


def end_workers(loader: DataLoader | None) -> None:
    """Let the processes that read scans end.

    They ignore the signal by which Python ends such processes at its own exit, where it would wait
    for them for ever.
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None:
        iterator._shutdown_workers()


def batches(loader: DataLoader, epoch: int, step: int = 0) -> Iterator[dict]:
    """The batches of an epoch from `step` on."""
    loader.dataset.epoch = epoch
    loader.sampler.set_epoch(epoch)
    loader.sampler.skipped = step * loader.batch_size
    return iter(loader)


def endless_batches(loader: DataLoader, epoch: int, step: int = 0) -> Iterator[dict]:
    """As `batches`; when they run out, the same epoch again from its start."""
    step %= len(loader)
    while True:
        yield from batches(loader, epoch, step)
        step = 0
