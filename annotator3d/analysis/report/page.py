"""Writes a report's page: one HTML file that needs no other, no network and no script."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from annotator3d.analysis.report.blocks import Card, Section
from annotator3d.data.files import atomic_write


@dataclass(frozen=True)
class Page:
    """Everything that one report shows, as plain text."""

    title: str
    lead: str  # one line below the title; "": none
    cards: Sequence[Card]
    sections: Sequence[Section]
    notice: str = ""  # what a reader must know first
    reload: int = 0  # seconds after which a browser reads it again; 0: never


def write_page(path: str | os.PathLike[str], page: Page) -> None:
    """Write a page as one HTML file, replaced in one step."""
    # Late: a broken installation can still print its help.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("annotator3d.analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html").render(page=page)
    with atomic_write(path) as file:
        file.write(text.encode())
