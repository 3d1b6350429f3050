"""Errors that the command line distinguishes. Imports nothing, so it works on a broken install."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "text"),
    (int, "a whole number"),
    (float, "a number"),
    (dict, "a table"),
    ((list, tuple), "a list"),
    ((set, frozenset), "a set"),
    (datetime, "a time"),
    (date, "a date"),
    (bytes, "binary data"),
)

LONGEST = 500  # characters of a message: it must be read in a terminal, beside others


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``"1 scan"``, ``"1,200 scans"``; `plural` where it has no plain s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some(items: Iterable[object], limit: int = 160) -> str:
    """A list for a message: ``"1, 2, 3 and 97 more"``, as many items as `limit` characters hold.

    One item is always there, shortened if need be; an empty list is ``"nothing"``.
    """
    words = [str(item) for item in items]
    if not words:
        return "nothing"
    shown = [shortened(words[0], limit)]
    room = limit - len(shown[0])
    for word in words[1:]:
        room -= len(word) + 2
        if room < 0:
            break
        shown.append(word)
    more = len(words) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def shortened(text: str, limit: int = LONGEST) -> str:
    """The text in at most `limit` characters: of a longer one the middle is left out.

    A message starts with what is wrong and ends with what to do, so both stay.
    """
    if len(text) <= limit:
        return text
    gap = " [...] "
    tail = max(0, (limit - len(gap)) * 2 // 5)
    head = max(0, limit - len(gap) - tail)
    return text[:head].rstrip() + gap + text[len(text) - tail :].lstrip()


def in_yaml(value: object, limit: int = 120) -> str:
    """A value as a user wrote it, not as Python does: ``nothing``, ``true``, ``the date ...``.

    Text stands in quotes; of a longer value the middle is left out.
    """
    return shortened(_in_yaml(value), limit)


def _in_yaml(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return f"the {'time' if isinstance(value, datetime) else 'date'} {value}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_in_yaml, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_in_yaml(key)}: {_in_yaml(entry)}" for key, entry in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (str, int, float)):
        return repr(value)
    return kind_in_words(value)


def kind_in_words(value: object) -> str:
    """What sort of value this is: ``a list``, ``a table``, ``text``, ``a number``, ``nothing``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    for kinds, words in _KINDS:
        if isinstance(value, kinds):
            return words
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an error message: the nearest of ``known`` first, then all of them (see `some`).

    Returns for example ``"did you mean 'vcd'? Known: entropy, margin, random, vcd"``.
    """
    from difflib import get_close_matches  # here, since it slows down every start

    ordered = sorted(known)
    by_folded = {key.casefold(): key for key in ordered}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    return f"{hint}Known: {some(ordered, 240) if ordered else 'none'}"


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
