"""What a session is for: labelling; or, as `review.ReviewMode` has it, reviewing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator3d.annotation.parts import VoxelParts
from annotator3d.annotation.queue import Filter
from annotator3d.annotation.state import SessionState
from annotator3d.ledger.actions import EventDraft
from annotator3d.ledger.records import Answer


class LabelMode:
    """Decides which queries a session goes through, and what an answer writes."""

    def __init__(self, state: SessionState) -> None:
        self.state = state

    def first_filter(self) -> Filter:
        """Which queries the session goes through at first."""
        return Filter()

    def wants(self, query_id: int) -> bool:
        """Whether the person has something to do for a query, so that nobody else should."""
        return self.state.states.state(query_id) == "open"

    def labels(self) -> NDArray[np.uint8]:
        """[n] the labels that are shown, and changed by the next answer."""
        return self.state.labels()

    def rows(self, query: int, answer: Answer) -> list[EventDraft]:
        """The rows that an answer to the shown query writes."""
        self.state.effort.click()
        return [self.state.entry(query, answer)]

    def show(self) -> None:
        """A query is now on the screen."""
        self.reset_parts()

    def refresh(self, before: int | None, mine: set[int]) -> None:
        """The shown query has new events.

        Args:
            before: the response or draft that the person saw on top.
            mine: ids of those of the new events that are this person's.
        """
        seen, _ = self.state.states.visible_and_parent(self.state.shown().query.id)
        if seen != before and seen not in mine:
            self.reset_parts()

    def reset_parts(self) -> None:
        """Let the next class go to all points without a label, or to all."""
        self.state.parts = VoxelParts(self.labels())
