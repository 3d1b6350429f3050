"""Errors that the command line distinguishes. Imports nothing, so it works on a broken install."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an error message: the nearest of ``known`` first, then all of them.

    Returns for example ``"did you mean 'vcd'? Known: entropy, margin, random, vcd"``.
    """
    from difflib import get_close_matches  # here, since it slows down every start

    ordered = sorted(known)
    by_folded = {key.casefold(): key for key in ordered}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    return f"{hint}Known: {', '.join(ordered) or 'none'}"


class ConfigError(ValueError):
    """The command line or a config asks for something that cannot be run."""


class RunPausedError(Exception):
    """A run ends before its last epoch, on purpose; it can be resumed."""


class RunStoppedError(RunPausedError):
    """A run ends because of a signal, with everything saved.

    Args:
        signal: its number; a shell expects the exit code 128 + signal.
        saved: in words, where a resumed run goes on.
    """

    def __init__(self, signal: int, saved: str = "nothing was trained yet") -> None:
        super().__init__(signal, saved)
        self.signal, self.saved = signal, saved

    def __str__(self) -> str:
        return f"stopped by signal {self.signal}; {self.saved}"
