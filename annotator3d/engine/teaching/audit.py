"""What a run has taught its scans, how often that was right, and whose pose does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator3d.active.propagation.audit import EDGES, Audit, purity
from annotator3d.data.files import atomic_write, make_folder
from annotator3d.data.taught_labels import TaughtFile
from annotator3d.errors import count, some

ENOUGH = 50  # judged points, before the purity between two scans says anything
MOST = 0.035  # of a scan's points seen through by the one before, where poses fit
FALL = 0.2  # below the purity of all


@dataclass(frozen=True)
class PoseFit:
    """How well two scans agree through their poses.

    Attributes:
        scan, other: indices in the pool.
        judged, right: points that the other one taught the scan and whose class is known.
        seen_through: part of the scan's points that the other one, the one before it, sees
            through (`Sight.share_seen_through`); NaN for others.
    """

    scan: int
    other: int
    judged: int
    right: int
    seen_through: float

    @classmethod
    def of(cls, row: NDArray[np.float64]) -> PoseFit:
        return cls(int(row[0]), int(row[1]), int(row[2]), int(row[3]), float(row[4]))


@dataclass(frozen=True)
class Teachings:
    """What answers and predictions have taught.

    Attributes:
        files: scan id -> labels, of the scans that were taught any.
        fits: of pairs of scans.
        made: files that this process has written now; the others were as they should be.
        by_answers, by_predictions: which of them were to teach.
        pool: scans in all.
    """

    files: Mapping[str, TaughtFile]
    audit: Audit
    fits: list[PoseFit]
    made: int
    by_answers: bool
    by_predictions: bool
    pool: int

    def describe(self, answers: int) -> list[str]:
        """For the user, after a round; `answers` is the number of answered voxels."""
        lines = self._by_answers(answers) if self.by_answers else []
        return lines + self._by_predictions() if self.by_predictions else lines

    def _by_answers(self, answers: int) -> list[str]:
        audit = self.audit
        by_place, along = int(audit.taught.sum()), int(audit.surface.sum())
        own, scans = int(audit.answered.sum()), int(audit.scans[0])
        lines = [
            f"{count(answers, 'answer')} ({count(own, 'point')} with a class) taught "
            f"{count(by_place + along, 'point')} of {count(scans, 'scan')}: {by_place:,} at the "
            f"same place, {along:,} on the same surface; "
            f"{(by_place + along) / max(answers, 1):.1f} points an answer. Left out: "
            f"{int(audit.conflicts[0]):,} on which answers differ, {int(audit.unseen[0]):,} seen "
            "through"
        ]
        for words, right, judged in (
            ("of the points at the same place", audit.right, audit.judged),
            ("of the points on the same surface", audit.surface_right, audit.surface_judged),
            ("of the answered points, by answers about other scans,", audit.agreed, audit.checked),
        ):
            if (share := purity(right, judged)) is not None:
                known = count(int(judged.sum()), "known point")
                lines.append(f"purity {words} {100 * share:.1f} % ({known})")
        if len(lines) == 1 and by_place + along:
            lines.append(
                "how pure that is nobody knows: there is no ground truth, and no two answers of "
                "different scans are at the same place"
            )
        return lines

    def _by_predictions(self) -> list[str]:
        audit, points = self.audit, int(self.audit.agreement.sum())
        if not audit.predicted[0]:
            return [
                "training.agreement teaches nothing: the round has stored the predicted classes of "
                "no scan, as strategies without a network do"
            ]
        lines = [
            f"predictions taught {count(points, 'point')} of "
            f"{count(int(audit.agreement_scans[0]), 'scan')}, where scans agree; those "
            f"of {int(audit.predicted[0]):,} of {count(self.pool, 'scan')} took part. Left out: "
            f"{int(audit.refuted[0]):,} where an answer says otherwise"
        ]
        what = "of the points that predictions taught"
        if (share := purity(audit.agreement_right, audit.agreement_judged)) is not None:
            known = count(int(audit.agreement_judged.sum()), "known point")
            lines.append(f"purity {what} {100 * share:.1f} % ({known})")
        elif points:
            lines.append(f"the purity {what} nobody knows: there is no ground truth")
        return lines

    def misfits(self, ids: Sequence[str]) -> list[str]:
        """Pairs of scans whose poses do not fit, each with what says so."""
        return [
            _words(fit, ids) for fit in sorted(self._misfits(), key=lambda f: (f.scan, f.other))
        ]

    def _misfits(self) -> list[PoseFit]:
        judged = sum(fit.judged for fit in self.fits)
        usual = sum(fit.right for fit in self.fits) / max(judged, 1)
        return [
            fit
            for fit in self.fits
            if fit.seen_through > MOST
            or (fit.judged >= ENOUGH and fit.right / fit.judged < usual - FALL)
        ]

    def record(self, classes: Sequence[str], answers: int, ids: Sequence[str]) -> dict[str, Any]:
        """For the report, as plain values."""
        found = {name: counts.tolist() for name, counts in vars(self.audit).items()}
        return {
            "answers": answers,
            "classes": list(classes),
            "edges": list(EDGES),
            **found,
            "by_answers": self.by_answers,
            "by_predictions": self.by_predictions,
            "pool": self.pool,
            "misfits": self.misfits(ids),
        }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Keep `Teachings.record` as JSON; makes the folder."""
    make_folder(path.parent)
    with atomic_write(path) as file:
        file.write((json.dumps(record) + "\n").encode())


def _words(fit: PoseFit, ids: Sequence[str]) -> str:
    says = []
    if fit.judged >= ENOUGH:
        says.append(f"{100 * fit.right / fit.judged:.0f} % of {fit.judged:,} labels are right")
    if np.isfinite(fit.seen_through):
        says.append(f"{100 * fit.seen_through:.0f} % of its points are seen through")
    return f"{ids[fit.scan]} with {ids[fit.other]} ({', '.join(says)})"


def warning_of(misfits: Sequence[str]) -> str:
    """One sentence about scans whose poses do not fit."""
    return (
        f"warning: poses do not fit between {count(len(misfits), 'pair')} of scans, or much moves "
        f"there: {some(misfits, 300)}. What answers teach across them may be wrong; look at "
        "poses.txt, or shorten training.propagate.scans"
    )
