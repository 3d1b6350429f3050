"""Which process of a run prints."""

from __future__ import annotations

import os


def is_first() -> bool:
    """Whether this is the process that prints, of those that torchrun started for one run."""
    return os.environ.get("RANK", "0") == "0"
