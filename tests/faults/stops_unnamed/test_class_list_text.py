"""Class lists that YAML or an editor changes on the way: refused in words, or read as meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_scans import run_import, write_scans

from annotator3d.data.taxonomy import load_taxonomy

LIST = "classes:\n  - {{name: {name}, ids: [1, 2, 3, 7]{more}}}\nignored: [0]\n"
KITTI = (
    "labels: {{0: none, 1: {name}}}\ncolor_map: {{0: [0, 0, 0], 1: [1, 1, 1]}}\n"
    "learning_map: {{0: 0, 1: 1}}\nlearning_map_inv: {{0: 0, 1: 1}}\n{more}"
)


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "classes.yaml"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("layout", [LIST, KITTI])
@pytest.mark.parametrize("name", ["yes", "no", "on", "off", "True", "FALSE", "null", "~", "1.5",
                                  "2020-01-01", "010", "12:30", "1_000"])  # fmt: skip
def test_a_name_that_yaml_changes_must_be_in_quotes(tmp_path, layout, name, capsys):
    path = write(tmp_path, layout.format(name=name, more=""))
    src = write_scans(tmp_path / "src", sequences=("a",), scans=1)
    assert run_import(src, tmp_path / "out", path) == 1
    error = capsys.readouterr().err
    assert "classes.yaml" in error and "quotes" in error
    for quoted in (f'"{name}"', f"'{name}'"):
        path = write(tmp_path, layout.format(name=quoted, more=""))
        assert load_taxonomy(path).names == [name]


@pytest.mark.parametrize(
    ("layout", "more", "what"),
    [
        (LIST, ", guidance: no", "class 1: guidance"),
        (KITTI, "guidance: {road: on}\n", "guidance of 'road'"),
        (KITTI, "class_names: {1: off}\n", "class_names of 1"),
    ],
)
def test_other_words_that_yaml_changes_are_named(tmp_path, layout, more, what):
    path = write(tmp_path, layout.format(name="road", more=more))
    with pytest.raises(ValueError, match="quotes") as failed:
        load_taxonomy(path)
    assert what in str(failed.value)


@pytest.mark.parametrize("number", ["010", "1:30", "1_000", "0b11"])
def test_an_id_that_is_not_what_it_looks_like_is_refused(tmp_path, number):
    path = write(tmp_path, LIST.format(name="road", more="").replace("[1,", f"[{number}, 1,"))
    with pytest.raises(ValueError, match=f"{number} means"):
        load_taxonomy(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_class_lists_of_windows_editors_are_read_and_kept_as_utf_8(tmp_path, encoding):
    path = write(tmp_path, LIST.format(name="Straße", more="").replace("\n", "\r\n"), encoding)
    src = write_scans(tmp_path / "src", sequences=("a",), scans=2)
    assert run_import(src, tmp_path / "out", path) == 0
    kept = (tmp_path / "out" / "taxonomy.yaml").read_text(encoding="utf-8")
    assert kept.startswith("classes:") and "Straße" in kept
    assert load_taxonomy(tmp_path / "out" / "taxonomy.yaml").names == ["Straße"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-32"])
def test_a_class_list_of_another_encoding_is_told_how_to_save_it(tmp_path, encoding, capsys):
    path = write(tmp_path, LIST.format(name="Straße", more=""), encoding)
    src = write_scans(tmp_path / "src", sequences=("a",), scans=1)
    assert run_import(src, tmp_path / "out", path) == 1
    error = capsys.readouterr().err
    assert "classes.yaml" in error and "save it as UTF-8" in error


UNSEEN = {
    "no width": '"\\u200b"',
    "blanks": '"  "',
    "a blank behind": '"road "',
    "a tab before": '"\\troad"',
    "two lines": '"road\\n0 errors"',
    "a line of Unicode": '"road\\u2028x"',
}


@pytest.mark.parametrize("layout", [LIST, KITTI])
@pytest.mark.parametrize("name", UNSEEN.values(), ids=UNSEEN)
def test_a_name_that_cannot_be_shown_in_a_line_is_refused(tmp_path, layout, name):
    path = write(tmp_path, layout.format(name=name, more=""))
    with pytest.raises(ValueError, match="name of class 1") as failed:
        load_taxonomy(path)
    assert str(path) in str(failed.value) and len(str(failed.value).splitlines()) == 1


def class_list(names: tuple[str, ...]) -> str:
    entries = [f"- {{name: '{name}', ids: [{i}]}}" for i, name in enumerate(names, 1)]
    return "\n".join(["classes:", *entries])


@pytest.mark.parametrize(
    "names", [("caf\u00e9", "cafe\u0301"), ("road", "ro\u00adad"), ("a b", "a  b"), ("a", "a")]
)
def test_names_that_look_the_same_are_refused(tmp_path, names):
    with pytest.raises(ValueError, match="class names must differ") as failed:
        load_taxonomy(write(tmp_path, class_list(names)))
    assert str(failed.value).isascii()  # both are shown with what tells them apart


def test_names_that_differ_to_the_eye_are_taken(tmp_path):
    names = ("Car", "car", "caf\u00e9", "cafe", "\u9053\u8def", "\u26a0 danger")
    assert load_taxonomy(write(tmp_path, class_list(names))).names == list(names)
