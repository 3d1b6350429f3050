"""Fixtures of the tests of data."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_scans import write_taxonomy


@pytest.fixture
def taxonomy(tmp_path) -> Path:
    return write_taxonomy(tmp_path)
