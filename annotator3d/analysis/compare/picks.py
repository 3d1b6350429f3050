"""What a run asked and got, one line for each voxel, as it is kept with the results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotator3d.active.noisy_oracle import NoisyOracle
from annotator3d.data.plain_json import parse_json
from annotator3d.engine.workdir import WorkDir
from annotator3d.ledger.effort import effort_by_query
from annotator3d.ledger.ledger import Ledger
from annotator3d.ledger.records import UNASSIGNED, Cell

COSTS_STATED = (
    "Clicks and seconds are those that the ledger holds. Where an automatic oracle has recorded "
    "none, they are expected ones: 1 click for a voxel of one class, else one for each class and "
    f"one to split it; {NoisyOracle.base_seconds:g} s for a voxel, "
    f"{NoisyOracle.class_seconds:g} s for each class in it and {NoisyOracle.click_seconds:g} s for "
    "each click after the first (the median of the simulated person)."
)


PICKS = "picks.jsonl"  # of a run, in an archive


@dataclass(frozen=True)
class Pick:
    """One queried voxel of a run."""

    round: int  # from 1
    scan: str
    cell: Cell
    points: int
    labels: dict[int, int]  # class -> points that the answer gave it; empty: nothing
    recorded_clicks: int | None  # None: the oracle recorded none
    recorded_seconds: float | None

    @property
    def labelled_points(self) -> int:
        return sum(self.labels.values())

    @property
    def clicks(self) -> int:
        """As recorded, or expected: see `COSTS_STATED`."""
        if self.recorded_clicks is not None:
            return self.recorded_clicks
        return 1 if len(self.labels) < 2 else len(self.labels) + 1

    @property
    def seconds(self) -> float:
        """As recorded, or expected: see `COSTS_STATED`."""
        if self.recorded_seconds is not None:
            return self.recorded_seconds
        extra = NoisyOracle.click_seconds * (self.clicks - 1)
        return NoisyOracle.base_seconds + NoisyOracle.class_seconds * len(self.labels) + extra


def picks_of(work_dir: WorkDir) -> list[Pick]:
    """The spent queries in the ledger of a run, in the order of asking; none without a ledger.

    Of a run that was taken from an archive there is the list of them instead.
    """
    kept = work_dir.path / PICKS
    if not work_dir.has_ledger():
        return parse_picks(kept.read_bytes(), str(kept)) if kept.is_file() else []
    with work_dir.ledger() as ledger, ledger.snapshot():
        clicks, seconds = _recorded(ledger)
        return [
            Pick(
                query.round,
                query.scan,
                query.cell,
                query.num_points,
                _histogram(None if answer is None else answer.labels),
                clicks.get(query.id),
                seconds.get(query.id),
            )
            for query, answer in ledger.responses()
        ]


def _recorded(ledger: Ledger) -> tuple[dict[int, int], dict[int, float]]:
    """Clicks and seconds of those queries for which any were recorded, by id."""
    clicks: dict[int, int] = defaultdict(int)
    seconds: dict[int, float] = defaultdict(float)
    for work in effort_by_query(ledger):
        if work.clicks:
            clicks[work.query.id] += work.clicks
        if work.seconds is not None:
            seconds[work.query.id] += work.seconds
    return clicks, seconds


def _histogram(labels: np.ndarray | None) -> dict[int, int]:
    if labels is None:
        return {}
    classes, counts = np.unique(labels[labels < UNASSIGNED], return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def dump_picks(picks: Iterable[Pick]) -> bytes:
    """JSON lines."""
    lines = [
        json.dumps(
            {
                "round": pick.round,
                "scan": pick.scan,
                "cell": list(pick.cell),
                "points": pick.points,
                "labels": {str(name): count for name, count in pick.labels.items()},
                "clicks": pick.recorded_clicks,
                "seconds": pick.recorded_seconds,
            }
        )
        for pick in picks
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def parse_picks(text: bytes, where: str) -> list[Pick]:
    """What `dump_picks` has written. Raises ValueError, naming the line, for anything else."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append(_pick(parse_json(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{where}, line {number}: damaged, not a pick ({error})") from None
    return found


def _pick(record: dict[str, Any]) -> Pick:
    x, y, z = record["cell"]
    clicks, seconds = record["clicks"], record["seconds"]
    return Pick(
        int(record["round"]),
        str(record["scan"]),
        (int(x), int(y), int(z)),
        int(record["points"]),
        {int(name): int(count) for name, count in record["labels"].items()},
        None if clicks is None else int(clicks),
        None if seconds is None else float(seconds),
    )
