"""A check sum of each event in its uid: a row that a bad disk or a copy has changed is noticed.

SQLite has no check sums, and a package is mailed: a flipped bit of an answer would come home as
another class. A uid is 16 random hexadecimal digits, a dash and 16 of a digest of the row. Without
a dash it has no seal: a request, which is named by what it asks, or a row of an earlier version.
What an event goes back to is left out: ids are those of a file, and rules hold them.
"""

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
"""What is sealed, in this order."""


def new_uid(values: Sequence[Any]) -> str:
    """A uid for the values of `COLUMNS`, as SQLite gives them back."""
    return f"{secrets.token_hex(8)}-{_digest(values)}"


def fits(uid: Any, values: Sequence[Any]) -> bool:
    """Whether the values of `COLUMNS` are those that the uid was made for, or it has no seal."""
    _, dash, digest = str(uid).partition("-")
    return not dash or digest == _digest(values)


def _digest(values: Iterable[Any]) -> str:
    # SQLite gives back floats to the last bit, and json writes them so that they can be read back
    plain = [value.hex() if isinstance(value, bytes) else value for value in values]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=8).hexdigest()
