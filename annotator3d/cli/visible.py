"""Output in which control characters from data are visible and do nothing.

A class name, an annotator or a field of a work package may hold escape sequences that move the
cursor, clear the screen or change the title of a terminal.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# All but tab and line feed of the C0 and C1 sets, the marks that reorder text, line separators, and
# bytes of file names that are no text.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""The text with control characters written out, such as ``\x1b``."""
    return _HIDDEN.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class VisibleStream:
    """Writes to a text stream what is `visible`. Everything else is that of the stream.

    Attributes:
        stream: what is written to; what makes escape sequences itself writes there.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        shown = visible(text)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            shown.encode(encoding)
        except UnicodeEncodeError:  # of a terminal without these letters
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        self.stream.write(shown)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def terminal(error: bool = False) -> TextIO:
    """Standard output, or error, for those who make escape sequences themselves.

    They pass `visible` texts.
    """
    stream = sys.stderr if error else sys.stdout
    return stream.stream if isinstance(stream, VisibleStream) else stream


@contextmanager
def visible_output() -> Iterator[None]:
    """Standard output and error are visible streams; a warning is one line without source code."""
    before = sys.stdout, sys.stderr, warnings.formatwarning
    sys.stdout, sys.stderr = VisibleStream(sys.stdout), VisibleStream(sys.stderr)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        sys.stdout, sys.stderr, warnings.formatwarning = before
