"""Fixtures of the tests in ledger/."""

from __future__ import annotations

import pytest
from busy_ledgers import busy_ledger


@pytest.fixture
def path(tmp_path):
    return busy_ledger(tmp_path / "ledger.sqlite")
