"""Errors that the command line tells apart. Imports nothing, so it works on a broken install."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Words for an error message: the nearest of ``known`` first, then all of them.

    Returns for example ``"did you mean 'vcd'? Known: entropy, margin, random, vcd"``.
    """
    ordered = sorted(known)
    by_folded = {key.casefold(): key for key in ordered}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    return f"{hint}Known: {', '.join(ordered) or 'none'}"


class ConfigError(ValueError):
    """What the user asked for is not a run: the command line or a config is wrong."""


class Paused(Exception):  # noqa: N818 - not an error: the run goes on later
    """A run has ended before its last epoch, on purpose."""


class Stopped(Paused):
    """A signal asked the run to end, and it did, with everything saved.

    Args:
        signal: its number; a shell expects the exit code 128 + signal.
        saved: in words, what the run goes on from.
    """

    def __init__(self, signal: int, saved: str = "nothing was trained yet") -> None:
        super().__init__(signal, saved)
        self.signal, self.saved = signal, saved

    def __str__(self) -> str:
        return f"stopped by signal {self.signal}; {self.saved}"
