"""What a row of the ledger may hold: no row that is made or merged goes beyond it.

Readers take what lies beyond, in files of earlier versions, for not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

MAX_SECONDS = 3650 * 86400.0  # ten years, the longest hold of a package
MAX_CLICKS = 10**9
MAX_NAME = 200  # characters
YEARS = (1970, 2199)
_EXAMPLE = "2026-01-31T12:00:00.000Z"


def beyond(table: str, row: Mapping[str, Any]) -> str | None:
    """What of a row is out of bounds and what is allowed, in words; None if nothing is."""
    if table == "queries" and not _is_number(row.get("score"), -math.inf, math.inf):
        return f"score must be a finite number, got {_shown(row.get('score'))}"
    date = row.get("asked_at" if table == "queries" else "created_at")
    if date is not None and not is_date(date):
        return (
            f"its time must be a date such as {_EXAMPLE}, of {YEARS[0]} to "
            f"{YEARS[1]}, got {_shown(date)}; check the clock"
        )
    if table != "events":
        return None
    name = row.get("annotator")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        return f"annotator must be a name of 1 to {MAX_NAME} characters, got {_shown(name)}"
    if not is_duration(row.get("seconds")):
        return f"seconds must be {_allowed(row['seconds'], MAX_SECONDS)}"
    if not is_count(row.get("clicks")):
        return f"clicks must be {_allowed(row['clicks'], MAX_CLICKS)}"
    return None


def is_duration(seconds: Any) -> bool:
    """Whether this can be what something took; None: it was not timed."""
    return seconds is None or _is_number(seconds, 0, MAX_SECONDS)


def is_count(clicks: Any) -> bool:
    """Whether this can be a number of clicks; None: they were not counted."""
    return clicks is None or _is_number(clicks, 0, MAX_CLICKS)


def is_date(text: Any) -> bool:
    """Whether a text is a moment as the ledger writes it."""
    if not isinstance(text, str) or len(text) != len(_EXAMPLE) or text[-1] != "Z":
        return False
    try:
        return YEARS[0] <= datetime.fromisoformat(text[:-1]).year <= YEARS[1]
    except ValueError:
        return False


def moment_of(date: str) -> float:
    """Seconds since 1970 of a date as the ledger writes it; 0 for one that is none."""
    if not is_date(date):
        return 0.0
    return datetime.fromisoformat(date[:-1]).replace(tzinfo=timezone.utc).timestamp()


def _is_number(value: Any, least: float, most: float) -> bool:
    try:
        return math.isfinite(value) and least <= value <= most
    except (TypeError, OverflowError):
        return False


def _allowed(value: Any, most: float) -> str:
    is_more = isinstance(value, (int, float)) and value > most
    return f"{f'at most {most:.0f}' if is_more else '0 or more'}, got {_shown(value)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
