"""Small things about labels that ended with the wrong words, or with none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from source_scans import points, run_import, stored, write_pcd, write_ply, write_taxonomy

from annotator3d.cli.main import main

ODD = ["-nan(ind)", "nan(snan)", "1.#QNAN", "-1.#IND00", "1.#J", "1.#SNAN", "-nan"]


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    return write_taxonomy(tmp_path)


def spoil(path: Path, row: int, columns: list[int], word: str) -> None:
    """Write a word into some columns of a row of a text file, counted from its end."""
    lines = path.read_text().splitlines()
    words = lines[row].split()
    for column in columns:
        words[column] = word
    lines[row] = " ".join(words)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("word", [*ODD, "1.#INF", "-1.#INF00"])
@pytest.mark.parametrize("kind", ["ply", "pcd"])
def test_points_without_coordinates_in_text_of_windows_are_read(tmp_path, taxonomy, kind, word):
    (tmp_path / "src").mkdir()
    path, p = tmp_path / "src" / f"one.{kind}", points(0)
    if kind == "ply":
        write_ply(path, p, text=True)
    else:
        write_pcd(path, p, "ascii")
    spoil(path, -1, [0, 1, 2], word)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy, format=kind) == 0
    xyz, _, classes, _ = stored(tmp_path / "out", "00/000000")
    assert not np.isfinite(xyz[-1]).any()
    np.testing.assert_array_equal(xyz[:-1], p.xyz[:-1])
    np.testing.assert_array_equal(classes, p.label)


@pytest.mark.parametrize("word", ODD)
def test_labels_without_a_class_in_text_of_windows_are_read(tmp_path, taxonomy, word):
    (tmp_path / "src").mkdir()
    p = points(0)
    write_ply(tmp_path / "src" / "one.ply", p, label=False)
    lines = [f"{v}" for v in p.label]
    lines[3] = word
    (tmp_path / "src" / "one.labels").write_text("\r\n".join(lines))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    wanted = p.label.copy()
    wanted[3] = 0
    np.testing.assert_array_equal(stored(tmp_path / "out", "00/000000")[2], wanted)


@pytest.mark.parametrize(("kind", "width"), [("u1", 1), ("<u2", 2), ("<i8", 8)])
@pytest.mark.parametrize("command", ["check", "read"])
def test_label_files_of_another_width_say_so(tmp_path, make_kitti, capsys, kind, width, command):
    root = make_kitti()
    path = sorted(root.rglob("*.label"))[0]
    labels = np.fromfile(path, "<u4") & 0xFFFF
    labels[:] = np.resize([40, 48, 50], len(labels))
    labels.astype(kind).tofile(path)
    if command == "check":
        assert main(["check", str(root)]) == 1
        said = capsys.readouterr().out
    else:
        from annotator3d.data.formats.kitti import read_label

        with pytest.raises(ValueError, match="bytes? for each") as failed:
            read_label(path, len(labels))
        said = str(failed.value)
    assert path.name in said and "truncated" not in said and "copy both" not in said
    assert re.search(rf"{width} bytes? for each of {len(labels)} points, expected 4", said)
    assert "annotator3d import" in said


def test_one_scan_is_not_told_to_move_some_scans(tmp_path, taxonomy, capsys):
    (tmp_path / "src").mkdir()
    write_ply(tmp_path / "src" / "one.ply", points(0))
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "move ids" not in last and "one scan" in last
    command = last.split("evaluating: annotator3d ")[1].split()
    assert command[:2] == ["train", "al/own_data"] and "data.val=null" in command


@pytest.mark.parametrize("wrong", ["half", "words"])
def test_a_label_file_with_other_values_is_named_without_a_field(tmp_path, taxonomy, capsys, wrong):
    (tmp_path / "src").mkdir()
    p = points(0)
    write_ply(tmp_path / "src" / "one.ply", p, label=False)
    values = p.label + 0.5 if wrong == "half" else p.label.astype("U3")
    (tmp_path / "src" / "labels").mkdir()
    np.save(tmp_path / "src" / "labels" / "one.npy", values)
    assert run_import(tmp_path / "src", tmp_path / "out", taxonomy) == 1
    told = capsys.readouterr().err
    assert "one.npy has " in told and "'it'" not in told
