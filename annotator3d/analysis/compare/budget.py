"""Scores over a budget: the area under the curve, and curves on common budgets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]  # budgets [R], not descending, and scores [R]


def area(curve: Curve, low: float, high: float) -> float:
    """The mean height of a curve between two budgets: trapezoids, divided by the range.

    Between two evaluations the curve is a straight line. A constant curve has its own height as
    its area, so areas are in the unit of the score.

    Args:
        low, high: budgets within those of the curve, low < high.
    """
    from scipy.integrate import trapezoid  # late: it slows down a usage error

    budgets, scores = curve
    inside = budgets[(budgets > low) & (budgets < high)]
    x = np.concatenate([[low], inside, [high]])
    return float(trapezoid(np.interp(x, budgets, scores), x) / (high - low))


def common_range(curves: Iterable[Curve]) -> tuple[float, float] | None:
    """The budgets that all curves cover; None if they share no more than one."""
    listed = list(curves)
    if not listed or any(not len(budgets) for budgets, _ in listed):
        return None
    low = float(max(budgets[0] for budgets, _ in listed))
    high = float(min(budgets[-1] for budgets, _ in listed))
    return (low, high) if low < high else None


def common_budgets(curves: Iterable[Curve]) -> np.ndarray:
    """[B] ascending: the budgets of evaluations that all curves cover."""
    listed = list(curves)
    if not listed or any(not len(budgets) for budgets, _ in listed):
        return np.empty(0)
    low = max(budgets[0] for budgets, _ in listed)
    high = min(budgets[-1] for budgets, _ in listed)
    found = np.unique(np.concatenate([budgets for budgets, _ in listed]).astype(float))
    return found[(found >= low) & (found <= high)]
