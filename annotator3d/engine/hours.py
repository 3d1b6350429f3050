"""A budget in hours: how many voxels of a round fit, from the answers that the ledger holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotator3d.active.ledger import Ledger, Query
from annotator3d.active.picks import Pick, order_round
from annotator3d.active.times import (
    MIN_ANSWERS,
    TimeModel,
    before_answers,
    place,
    seconds_of,
    timed,
)
from annotator3d.active.work import work_of
from annotator3d.engine.config import ActiveConfig


def fit_hours(
    ledger: Ledger, active: ActiveConfig, picks: Mapping[str, Sequence[Pick]], seed: int, round: int
) -> tuple[int, str]:
    """The most queries of a round for ``active.budget_hours``, and how that came about, in words.

    The best of the round first, as `limit_round` keeps them, up to the first that does not fit. A
    function of the picks, the seed and the ledger: predictions that are stored beside the ledger
    have no say.
    """
    order, hours = order_round(picks, seed, round), active.budget_hours
    answers = timed(work_of(ledger))
    if len(answers) >= MIN_ANSWERS:
        seconds = _predicted(answers, [picks[scan][rank] for scan, rank in order], ledger)
        by = f"by the times of {len(answers):,} answers"
    else:
        seconds = np.full(len(order), active.seconds_per_voxel)
        by = (
            f"at active.seconds_per_voxel={active.seconds_per_voxel:g}: {len(answers)} timed "
            f"answers so far, {MIN_ANSWERS} are needed to tell"
        )
    spent = np.cumsum(seconds)
    kept = int(np.searchsorted(spent, 3600 * hours, side="right"))
    if active.max_queries is not None:
        kept = min(kept, active.max_queries)
    if kept:
        needs = f"they need {float(spent[kept - 1]) / 3600:.2f} h"
    else:  # not in a first round: see `engine.checks`
        needs = f"the first alone takes {spent[0]:.0f} s" if len(order) else "there is none left"
    return kept, f"{kept:,} of {len(order):,} voxels for {hours:g} h ({needs}), {by}"


def _predicted(answers: list, picks: Sequence[Pick], ledger: Ledger) -> np.ndarray:
    """[n] seconds; by points and range alone, which the ledger and the scan hold."""
    asked: list[Query] = [work.query for work in answers]
    features = before_answers(asked, ledger.voxel_size)[:, :2]
    model = TimeModel(features, None, seconds_of(answers))
    rows = [place(pick.num_points, pick.cell, ledger.voxel_size) for pick in picks]
    return model.predict(np.array(rows, float).reshape(-1, 2))
