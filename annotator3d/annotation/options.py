"""What a person may choose for a labelling session."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from annotator3d.annotation.effort import IDLE_LIMIT
from annotator3d.annotation.proposals import OFFERS, movable_classes
from annotator3d.annotation.second_opinions import OverlapOptions
from annotator3d.errors import ConfigError, nearest


@dataclass(frozen=True)
class SessionOptions:
    """Options of a session. Raises ConfigError for an unknown offer, or a share outside 0..1."""

    order: str = "scan"  # of `queue.ORDERS`
    offer: str = "uniform"  # of `proposals.OFFERS`
    blind: bool = False  # never show, offer or split by a prediction
    same_place: bool = True  # offer what was answered for the same place in other scans
    movable: Collection[str] | None = None  # classes never offered so; None: judged by their names
    lease_seconds: float = 600.0  # how long nobody else is asked what is shown here
    idle_limit: float = IDLE_LIMIT  # seconds of a pause that count
    overlap: float = 0.0  # share of each round that a second person is asked about
    repeat: float = 0.0  # share of this person's answers that they are asked for again

    def __post_init__(self) -> None:
        if self.offer not in OFFERS:
            raise ConfigError(f"unknown offer {self.offer!r}: {nearest(self.offer, OFFERS)}")
        OverlapOptions(self.overlap, self.repeat)  # checks the shares

    def movable_ids(self, class_names: Sequence[str]) -> frozenset[int]:
        """Train ids of the movable classes. Raises ConfigError for an unknown class."""
        if self.movable is None:
            return movable_classes(class_names)
        for name in self.movable:
            if name not in class_names:
                raise ConfigError(f"movable: unknown class {name!r}: {nearest(name, class_names)}")
        return frozenset(class_names.index(name) for name in self.movable)
