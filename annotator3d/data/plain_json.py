"""JSON that comes from a file: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
from typing import Any

from annotator3d.errors import in_yaml


def parse_json(text: str | bytes) -> Any:
    """The values of a JSON text.

    Raises json.JSONDecodeError, a ValueError, also where the text is nested deeper than Python can
    follow or is no text (a cell of a damaged database), and UnicodeDecodeError, another one.
    """
    if not isinstance(text, str | bytes):
        raise json.JSONDecodeError(f"expected a text, got {in_yaml(text)}", "", 0)
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", "", 0) from None
