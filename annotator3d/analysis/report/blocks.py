"""What a report's page is made of: plain text in plain records; the template turns it into HTML.

No record holds HTML. The template escapes every text, so no name or remark can become markup.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Cell:
    """A cell that is more than a word."""

    text: str
    small: str = ""  # a second line, in small letters
    strong: bool = False
    last: bool = False  # the last row of a group: a line is drawn below


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; a line break in a head or a cell is kept."""

    kind: ClassVar[str] = "table"
    title: str  # above the table; "": none
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]


@dataclass(frozen=True)
class Note:
    """A remark in small letters."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Code:
    """Lines for a shell."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption; see `picture`."""

    kind: ClassVar[str] = "picture"
    base64: str
    caption: str


Block = Table | Note | Paragraph | Code | Picture


@dataclass(frozen=True)
class Card:
    """A figure to be seen first."""

    label: str
    value: str
    words: str


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    heading: str
    blocks: Sequence[Block]


def picture(name: str, png: bytes | str | os.PathLike[str], caption: str) -> Picture:
    """A PNG, as bytes or in a file, with its caption.

    Args:
        name: of the figure, for the error message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a PNG.
    """
    content = png if isinstance(png, bytes) else Path(png).read_bytes()
    if not content.startswith(_PNG):
        raise ValueError(f"figures: {name!r} is not a PNG; pass the bytes or the path of one")
    return Picture(base64.b64encode(content).decode("ascii"), caption)


def percent(value: float | None, unit: str = "\N{NO-BREAK SPACE}%") -> str:
    """A share in percent with one decimal; "-" for None."""
    return "-" if value is None else f"{value:.1f}{unit}"


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min 34 s", "3 h 05 min"."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
