"""Answers that come within one millisecond keep their order."""

from __future__ import annotations

import pytest
from session_world import DIGEST, NAMES, SIZE, make_world

from annotator3d.ledger import events
from annotator3d.ledger.ledger import Ledger


@pytest.mark.parametrize("attempt", range(5))  # uids are drawn: each would come out wrong by half
def test_the_later_of_two_answers_counts(tmp_path, monkeypatch, attempt):
    path = tmp_path / "ledger.sqlite"
    make_world(path)
    monkeypatch.setattr(events, "NOW", "'2026-05-01T10:00:00.000Z'")  # the clock stands still
    with Ledger.open(path, NAMES, DIGEST, SIZE) as ledger:
        for label in range(4):
            ledger.answer(1, [label % 3] * 4, annotator=f"person {label}")
        assert ledger.current(1).annotator == "person 3"
        times = [event.created_at for event in ledger.events() if event.query == 1]
    assert times == sorted(set(times)) and times[0] == "2026-05-01T10:00:00.000Z"
    assert times[-1] == "2026-05-01T10:00:00.003Z"
