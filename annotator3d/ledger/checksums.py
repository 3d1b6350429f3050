"""Uids of events, each with a checksum of what was written."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

COLUMNS = (
    "query", "kind", "labels", "taxonomy", "annotator", "seconds", "clicks", "proposal_accepted",
    "note", "created_at", "ask",
)  # fmt: skip
"""What the checksum is of, in this order."""


def new_uid(values: Sequence[Any]) -> str:
    """A uid for the values of `COLUMNS`, as SQLite gives them back."""
    return f"{secrets.token_hex(8)}-{_digest(values)}"


def matches(uid: Any, values: Sequence[Any]) -> bool:
    """Whether the uid was made for these values of `COLUMNS`, or has no checksum."""
    _, dash, digest = str(uid).partition("-")
    return not dash or digest == _digest(values)


def _digest(values: Iterable[Any]) -> str:
    # SQLite gives back floats to the last bit, and json writes them so that they can be read back
    plain = [value.hex() if isinstance(value, bytes) else value for value in values]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=8).hexdigest()
