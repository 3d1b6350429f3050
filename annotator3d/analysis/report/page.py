"""The pieces of a report's page. Names and remarks are escaped by whoever passes HTML on."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from annotator3d.data.formats.kitti import atomic_write


def write_page(path: str | os.PathLike[str], title: str, header: str, parts: Iterable[str]) -> None:
    """Write one HTML file that needs no other, replaced in one step; empty parts are left out."""
    css = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    pieces = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>",
        f"<header><h1>{escape(title)}</h1>{header}</header>",
        *parts,
        "</main>\n</body>\n</html>\n",
    ]
    with atomic_write(path) as file:
        file.write("\n".join(piece for piece in pieces if piece).encode())


def cards(entries: Iterable[tuple[str, str, str]]) -> str:
    """Figures to be seen first: (label, value in HTML, words)."""
    pieces = (
        f'<div class="card"><span>{escape(label)}</span><strong>{value}</strong>'
        f"<small>{escape(words)}</small></div>"
        for label, value, words in entries
    )
    return f'<div class="cards">{"".join(pieces)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def picture(name: str, png: bytes | str | os.PathLike[str], caption: str) -> str:
    """A PNG, as bytes or in a file, with its caption.

    Raises:
        FileNotFoundError, ValueError: there is no such file; it is no PNG.
    """
    content = png if isinstance(png, bytes) else Path(png).read_bytes()
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError(f"figures: {name!r} is not a PNG; pass the bytes or the path of one")
    data, words = base64.b64encode(content).decode("ascii"), escape(caption)
    image = f'<img src="data:image/png;base64,{data}" alt="{words}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"


def section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{body}</section>"


def note(words: str) -> str:
    return f'<p class="note">{escape(words)}</p>'


def percent(value: float | None, unit: str = "&nbsp;%") -> str:
    return "-" if value is None else f"{value:.1f}{unit}"


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min 34 s", "3 h 05 min"."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
