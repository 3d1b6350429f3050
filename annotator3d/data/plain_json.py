"""JSON that comes from a file: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The values of a JSON text.

    Raises json.JSONDecodeError, a ValueError, also where the text is nested deeper than Python can
    follow, and UnicodeDecodeError, another one.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", "", 0) from None
