"""A session that goes through answers, shows what each person answered, and decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.effort import IdleClock
from annotator3d.annotation.options import SessionOptions
from annotator3d.annotation.review import Criteria, ReviewMode
from annotator3d.annotation.session import LabelSession
from annotator3d.annotation.state import SessionState
from annotator3d.data.scan_source import Predictions, ScanSource
from annotator3d.ledger.ledger import Event, Ledger


class ReviewSession(LabelSession):
    """A session in `review.ReviewMode`, and what a reviewer can do beside labelling.

    A class that the reviewer gives is an answer, approved at once. Each action is one step of
    `undo`.

    Args:
        criteria: what is gone through. For the others see `LabelSession`.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: ScanSource,
        annotator: str,
        predictions: Predictions | None = None,
        options: SessionOptions | None = None,
        clock: IdleClock | None = None,
        *,
        criteria: Criteria | None = None,
    ) -> None:
        def mode(state: SessionState) -> ReviewMode:
            self._review = ReviewMode(state, criteria or Criteria())
            return self._review

        super().__init__(ledger, source, annotator, predictions, options, clock, mode)

    @property
    def criteria(self) -> Criteria:
        return self._review.criteria

    @property
    def opinions(self) -> list[Event]:
        """The current responses to the query on the screen, by time.

        There are none while the reviewer is asked for an independent opinion.
        """
        return self._review.opinions()

    @property
    def opinion(self) -> int:
        """Which of `opinions` is shown by `labels`."""
        return self._review.place

    @property
    def subject(self) -> tuple[object, ...]:
        """Beside the query and its parts, the opinion that is shown."""
        shown = [event.id for event in self.opinions][self.opinion :][:1] if self.view else []
        return (*super().subject, *shown)

    @property
    def approved(self) -> list[int]:
        """Places of those of `opinions` that a reviewer has approved."""
        return self._review.approved()

    @property
    def differing(self) -> NDArray[np.bool_]:
        """[n] points of the voxel that were labelled differently."""
        return self._review.differing()

    @property
    def to_review(self) -> int:
        """Queries that are still to be reviewed."""
        return len(self.matching())

    @property
    def to_answer_first(self) -> int:
        """Queries that fit the criteria, but wait for another answer before a review."""
        return self._review.to_answer_first()

    def step_opinion(self, by: int = 1) -> None:
        """Show another person's answer, `by` places later. Raises ValueError if there is none."""
        self._review.step(by)

    def approve(self) -> None:
        """Let the opinion that is shown count before the others, then go on.

        Rejects what was approved before and differs. Raises ValueError if there is no opinion.
        """
        self._labeller.decide(self._review.approval())

    def reject(self) -> None:
        """Take away the opinion that is shown; with none left, the query is asked again.

        Raises ValueError if there is no opinion.
        """
        self._labeller.decide(self._review.rejection())

    def actions(self) -> dict[str, Callable[[], object]]:
        return {
            **super().actions(),
            "approve": self.approve,
            "reject": self.reject,
            "next opinion": self.step_opinion,
        }
