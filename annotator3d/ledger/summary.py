"""The state of a whole ledger, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

from annotator3d.ledger.records import Query, Summary
from annotator3d.ledger.resolution import Outcome


def summarise(
    outcomes: Sequence[tuple[Query, Outcome]], num_rounds: int, num_released: int
) -> Summary:
    """See `LedgerReader.summary`; `outcomes` are those of the spent queries."""
    settled = [where for _, where in outcomes if not where.open]
    effective = [where.effective for where in settled if where.effective is not None]
    answered = sum(response.labels is not None for response in effective)
    disputed = sum(where.disputed for where in settled)
    return Summary(
        rounds=num_rounds,
        scans=len({query.scan for query, _ in outcomes}),
        voxels=len(outcomes),
        points=sum(query.num_labels for query, _ in outcomes),
        answered=answered,
        passed=len(settled) - answered - disputed,
        open=len(outcomes) - len(settled),
        released=num_released,
        disputed=disputed,
    )
