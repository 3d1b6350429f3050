"""Drawing without a window or global state: a matplotlib Figure on the Agg canvas, and its PNG."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from annotator3d.data.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160
FONT = "DejaVu Sans"
# Fonts of common systems with the letters that it lacks: Chinese, Japanese, Korean, and emoji.
_MORE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback",
    "IPAGothic", "TakaoGothic", "NanumGothic", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
    "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS",
    "Noto Emoji", "Symbola", "Segoe UI Symbol",
)  # fmt: skip
_SAID: set[str] = set()
_MISSING = re.compile(r"Glyph (\d+) .*missing from")


@contextmanager
def style() -> Iterator[None]:
    """The look of all our figures. Names of classes are plain text: a "$" starts no formula.

    Letters that no font here has are named in one warning; the figure shows boxes for them.
    """
    import matplotlib
    from matplotlib import font_manager

    found = set(font_manager.get_font_names())
    settings = {
        "font.family": [FONT, *(font for font in _MORE_FONTS if font in found)],
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
    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context(settings):
        warnings.simplefilter("always")
        yield
    letters = set()
    for warning in caught:
        if missing := _MISSING.match(str(warning.message)):
            letters.add(chr(int(missing[1])))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if letters:
        words = (
            f"figures show boxes for {len(letters)} letters that no font here has, such as "
            f"{''.join(sorted(letters)[:5])}; Noto Sans CJK and Noto Emoji have most of them"
        )
        if words not in _SAID:  # figures come in dozens
            _SAID.add(words)
            warnings.warn(words, stacklevel=4)


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
