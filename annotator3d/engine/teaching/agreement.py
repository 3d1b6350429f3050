"""What the predictions of the newest round teach each scan, where scans agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.agreement import Agreed, AgreementRule, Ballot, agree, ballot
from annotator3d.active.stored_predictions import stored_file
from annotator3d.engine.config.schema import AgreementConfig
from annotator3d.engine.distributed import World
from annotator3d.engine.teaching.classes import taught_classes
from annotator3d.engine.teaching.posed_scans import PosedScans
from annotator3d.engine.teaching.reading import Reading


class Agreement:
    """The lever `agreement` of a run.

    Raises ConfigError as `taught_classes` and `PosedScans`.
    """

    def __init__(self, pool, config: AgreementConfig) -> None:
        classes = taught_classes(pool.taxonomy, config.classes, "training.agreement")
        self.rule = AgreementRule(config.cell, config.others, classes)
        self.places = PosedScans(pool, config.scans, config.metres, "training.agreement")


class Ballots:
    """The ballots of the scans within reach of the one that is taught, in one renewal.

    Args:
        round: whose predictions count.
        folder: ``rounds/`` of the work directory.
    """

    def __init__(
        self, agreement: Agreement, pool, reading: Reading, folder: Path, round: int
    ) -> None:
        self._rule, self._places = agreement.rule, agreement.places
        self._reading, self._round = reading, round
        self._stored = {
            index: scan
            for index, scan in enumerate(pool.ids)
            if stored_file(folder, round, scan).is_file()
        }
        self._kept: dict[int, tuple[NDArray[np.uint8] | None, Ballot]] = {}

    def check_same(self, world: World) -> None:
        """Raises ValueError where the processes of a run do not see the same predictions."""
        world.check_same(
            "the stored predictions",
            {f"round {self._round}": " ".join(self._stored.values())},
            "let all processes have one work directory",
        )

    def agreed(self, index: int) -> Agreed | None:
        """What the scans within reach of this one teach it; None where nothing of it was predicted
        or it has no pose."""
        pose, reach = self._places.poses[index], self._places.within_reach(index)
        for old in self._kept.keys() - {index, *reach}:
            del self._kept[old]
        if pose is None:
            return None
        predicted, own = self._of(index)
        if predicted is None:
            return None
        speaking = [k for k in reach if k in self._stored or self._reading.answers(k)]
        others = [self._of(k)[1] for k in speaking]
        scan, answered = self._reading.scan(index), self._reading.answered(index)
        return agree(scan.xyz, pose, predicted, answered, own, others, self._rule)

    def _of(self, index: int) -> tuple[NDArray[np.uint8] | None, Ballot]:
        """What the round predicted of a scan, and its ballot."""
        if index not in self._kept:
            predicted = self._reading.predicted(index, self._round)
            xyz, labels = self._reading.scan(index).xyz, self._reading.labels(index)
            found = ballot(xyz, self._places.poses[index], predicted, labels, self._rule.cell)
            self._kept[index] = predicted, found
        return self._kept[index]
