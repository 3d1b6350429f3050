"""Class names in Chinese, Korean or emoji: figures are drawn; what they lack is said once."""

from __future__ import annotations

import warnings

import pytest

from annotator3d.analysis.figures import style as styles
from annotator3d.analysis.figures.style import new_figure, style, to_png


def drawn(title: str) -> bytes:
    with style():
        figure = new_figure(400, 300)
        figure.subplots().set_title(title)
        return to_png(figure)


@pytest.fixture(autouse=True)
def as_at_first(monkeypatch):
    monkeypatch.setattr(styles, "_SAID", set())
    monkeypatch.setattr(styles, "_MORE_FONTS", ())  # as on a machine without further fonts


@pytest.mark.parametrize("title", ["道路", "歩道", "도로", "🚗 car"])
def test_letters_without_a_font_are_named_once(title):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        assert drawn(title).startswith(b"\x89PNG")
        drawn(title)
    (warning,) = said
    assert title[0] in str(warning.message) and "Noto" in str(warning.message)
    assert "Glyph" not in str(warning.message)


def test_other_warnings_still_arrive():
    with pytest.warns(UserWarning, match="something else"), style():
        warnings.warn("something else", stacklevel=1)


def test_plain_letters_need_no_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn("straße 50 % $x$")
