"""Drawing without a window or global state: a matplotlib Figure on the Agg canvas, and its PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from annotator3d.data.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160


@contextmanager
def style() -> Iterator[None]:
    """The look of all our figures. Names of classes are plain text: a "$" starts no formula."""
    import matplotlib

    settings = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.parse_math": False,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#8c959f",
        "axes.labelcolor": "#24292f",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e6e9ed",
        "grid.linewidth": 0.8,
        "xtick.color": "#57606a",
        "ytick.color": "#57606a",
        "legend.frameon": False,
        "agg.path.chunksize": 0,
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: int, height: int, background: str = "white") -> Figure:
    """An empty figure of `width` x `height` pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=background)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure, path: str | os.PathLike[str] | None = None) -> bytes:
    """The PNG of `figure`, also written to `path` if there is one."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    png = buffer.getvalue()
    if path is not None:
        with atomic_write(path) as file:
            file.write(png)
    return png
