"""What a long job tells its user. The base class is silent; the command line shows rich bars."""

from __future__ import annotations


class Reporter:
    def info(self, text: str) -> None:
        """A line that stays."""

    def progress(self, task: str, done: int, total: int) -> None:
        """How far `task` has come; called often."""
