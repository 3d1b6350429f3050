"""Spending a budget per hour over a stream of scans, each of which is seen once.

A voxel is asked about if its score is among the best of what was offered lately: above the quantile
of a sliding window that leaves as large a share as the budget of the hour has left. So the
threshold follows the scores as the network or the street changes, and the budget lasts to the end
of the hour. It is never exceeded.

Source of the setting: Cacciarelli and Kulahci, Active learning for data streams: a survey, Machine
Learning 113, 2024 (arXiv 2302.08893). Quantile of a window: the incremental quantile filter of
Kottke, Krempl and Spiliopoulou, Probabilistic active learning in datastreams, IDA 2015.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence

Offer = tuple[float, float]
"""(score, a number in 0..1 drawn for the voxel): equal scores are asked about by chance."""

WINDOW = 1000  # scans
WARM_UP = 20  # scans that are only looked at, at the begin of a stream


class Pacer:
    """Decides scan by scan; what it decides depends on the offers so far alone.

    Args:
        per_hour: most voxels in an hour. scans_per_hour: scans that make an hour (10 Hz: 36,000).
        per_scan: most voxels of one scan.
    """

    def __init__(self, per_hour: int, scans_per_hour: int, per_scan: int) -> None:
        self.per_hour, self.scans_per_hour, self.per_scan = per_hour, scans_per_hour, per_scan
        self.scans = self.asked = 0  # of this hour
        self._window: deque[tuple[Offer, ...]] = deque()
        self._known: list[Offer] = []  # those of the window, ascending

    @property
    def hour_is_over(self) -> bool:
        return self.scans == self.scans_per_hour

    def begin_hour(self) -> None:
        """A new budget; what is left of the old one is gone."""
        self.scans = self.asked = 0

    def decide(self, offers: Sequence[Offer]) -> int:
        """How many of a scan's best voxels (best first) are asked about.

        The first `WARM_UP` scans of a stream are asked nothing, unless the hour is as short.
        """
        assert not self.hour_is_over
        offers = offers[: self.per_scan]
        left, to_come = self.per_hour - self.asked, self.scans_per_hour - self.scans
        number = 0
        if len(self._window) >= min(WARM_UP, self.scans_per_hour // 2):
            share = min(left / (to_come * self.per_scan), 1.0)
            number = min(sum(self._is_among_best(offer, share) for offer in offers), left)
        self._note(offers, number)
        return number

    def replay(self, offers: Iterable[Offer], asked: int) -> None:
        """A scan that was decided about before the process was stopped."""
        self._note(tuple(tuple(offer) for offer in offers)[: self.per_scan], asked)

    def _note(self, offers: Sequence[Offer], asked: int) -> None:
        if len(self._window) == WINDOW:
            for offer in self._window.popleft():
                del self._known[bisect_left(self._known, offer)]
        self._window.append(tuple(offers))
        for offer in offers:
            insort(self._known, offer)
        self.scans += 1
        self.asked += asked

    def _is_among_best(self, offer: Offer, share: float) -> bool:
        """Whether an offer is as good as the best ones of the window, this share of the voxels.

        Their number is rounded by chance, so that a budget of less than one voxel in a window is
        spent over the whole hour, too.
        """
        places = len(self._window) * self.per_scan  # scans with fewer voxels offered nothing there
        wanted = share * places
        another_draw = offer[1] * 2**20 % 1  # the bits that decide about equal scores are the upper
        number = math.floor(wanted) + (another_draw < wanted % 1)
        if number >= len(self._known):
            return True
        return number > 0 and offer >= self._known[-number]
