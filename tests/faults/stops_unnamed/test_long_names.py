"""A name that no list could show is refused, with the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotator3d.data.taxonomy import load_taxonomy

LIST = """# a comment
classes:
  - name: ground
    ids: [1]
  - ids: [2]
    name: NAME
    guidance: GUIDANCE
"""
SECTIONS = """labels: {0: none, 1: ground, 2: NAME}
learning_map: {0: 0, 1: 1, 2: 2}
learning_map_inv: {0: 0, 1: 1, 2: 2}
color_map: {0: [0, 0, 0], 1: [1, 1, 1], 2: [2, 2, 2]}

class_names:
  2: OWN
"""


def written(folder: Path, text: str, **words: str) -> Path:
    for key, value in {"NAME": "car", "GUIDANCE": "A line.", "OWN": "a car", **words}.items():
        text = text.replace(key, value)
    path = folder / "classes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [(LIST, "NAME", 6), (LIST, "GUIDANCE", 7), (SECTIONS, "NAME", 1), (SECTIONS, "OWN", 7)],
)
@pytest.mark.parametrize("letter", ["x", "ß", "7"])
def test_a_text_that_is_too_long_is_named_with_its_line(tmp_path, text, key, line, letter):
    path = written(tmp_path, text, **{key: f'"{letter * 100_000}"'})
    with pytest.raises(ValueError, match="100,000 characters") as raised:
        load_taxonomy(path)
    said = str(raised.value)
    assert f"(line {line})" in said and str(path) in said and len(said) < 500


@pytest.mark.parametrize(("text", "key"), [(LIST, "NAME"), (SECTIONS, "NAME"), (SECTIONS, "OWN")])
def test_a_name_may_have_200_characters(tmp_path, text, key):
    name = "ä" * 200
    assert name in [
        *(taxonomy := load_taxonomy(written(tmp_path, text, **{key: name}))).names,
        *taxonomy.labels.values(),
    ]
    with pytest.raises(ValueError, match="201 characters"):
        load_taxonomy(written(tmp_path, text, **{key: name + "x"}))
