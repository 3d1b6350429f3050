"""docs/security.md names a test for each promise, and each of these tests is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_each_row_of_the_table_names_tests_that_are_there():
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and "does it run" not in row]
    assert len(rows) >= 9
    for row in rows:
        named = re.findall(r"`(test_\w+\.py|tests/\w+)`", row.rpartition(" | ")[2])
        assert named, row
        for name in named:
            assert (ROOT / name).is_dir() or list((ROOT / "tests").rglob(name)), name


def test_every_test_that_the_page_names_is_there():
    named = set(re.findall(r"test_\w+\.py", PAGE))
    assert named and all(list((ROOT / "tests").rglob(name)) for name in named)
