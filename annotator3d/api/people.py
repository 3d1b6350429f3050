"""How far the people who answered a ledger agree."""

from __future__ import annotations

from typing import Any

from annotator3d.analysis.quality.agreement import Comparison, compare, percentage
from annotator3d.analysis.quality.agreement import cohen_kappa as kappa
from annotator3d.ledger.ledger import Ledger


def agreement(ledger: Ledger) -> dict[str, Any]:
    """What people said of the same voxels, each without having seen the other's answer.

    Returns:
        ``voxels`` that two people labelled, ``identical`` (of these, alike at every point),
        ``points`` that both labelled, ``same`` (share 0..1 of these with the same label, None
        without any), ``kappa`` (`cohen_kappa`), and ``pairs``: (name, name) -> the same five.

    Source: J. Cohen, A coefficient of agreement for nominal scales, Educational and Psychological
    Measurement 20(1), 1960.
    """
    found = compare(ledger.histories(), len(ledger.taxonomy_names))
    pairs = {people: _summary(table) for people, table in found.pairs.items()}
    return {**_summary(found.together), "pairs": pairs}


def cohen_kappa(ledger: Ledger) -> float | None:
    """Cohen's kappa over the points that two people labelled; None where it is not defined:
    without such points, or where all got the one same label.
    """
    return kappa(compare(ledger.histories(), len(ledger.taxonomy_names)).together.points)


def _summary(table: Comparison) -> dict[str, Any]:
    return {
        "voxels": table.voxels,
        "identical": table.identical,
        "points": int(table.points.sum()) // table.orders,
        "same": percentage(table.points),
        "kappa": kappa(table.points),
    }
