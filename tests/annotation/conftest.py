"""Fixtures of the tests in annotation/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from annotator3d.ledger import connection


@pytest.fixture(scope="module")
def no_fsync() -> Iterator[None]:
    """For tests that are not about the disk; a process that is killed needs no fsync."""
    plain = connection.connect

    def connect(*arguments):
        db = plain(*arguments)
        db.execute("PRAGMA synchronous = OFF")
        return db

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "connect", connect)
        yield
