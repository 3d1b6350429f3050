"""No message is longer than 500 characters: it keeps what is wrong and what to do about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import source_scans
from source_scans import write_taxonomy

from annotator3d import errors
from annotator3d.cli.main import main
from annotator3d.data.taxonomy import load_taxonomy

LONGEST = 500


def test_a_list_shows_its_first_items_and_counts_the_others():
    assert errors.some([]) == "nothing"
    assert errors.some(["car"]) == "car"
    assert errors.some(range(5)) == "0, 1, 2, 3, 4"
    words = errors.some(range(10_000), limit=40)
    assert words.startswith("0, 1, 2, 3,") and words.endswith(" more") and len(words) < 60
    shown = len(words.split(" and ")[0].split(", "))
    assert f"and {10_000 - shown:,} more" in words
    assert len(errors.some(["x" * 900])) <= 160


def test_a_text_keeps_its_start_and_its_end():
    text = "scan.ply is damaged: " + "0123456789" * 500 + "; pass --columns"
    words = errors.shortened(text)
    assert len(words) <= LONGEST
    assert words.startswith("scan.ply is damaged") and words.endswith("; pass --columns")
    assert errors.shortened("short") == "short"


def test_the_hint_for_a_wrong_name_lists_few_of_many():
    names = [f"sequence_{i:05d}" for i in range(4000)]
    words = errors.nearest("sequence_0012", names)
    assert len(words) < 350 and "did you mean" in words and "more" in words


def many_ids(folder: Path) -> list[str]:
    source_scans.write_npz(
        folder / "one.npz",
        source_scans.Points(
            np.arange(12000, dtype="f4").reshape(-1, 3) % 41,
            np.zeros(4000, "f4"),
            np.arange(4000),
            np.zeros(4000),
        ),
    )
    return ["import", str(folder), f"{folder}-out", "--format", "npz", "--taxonomy"]


def many_sequences(folder: Path) -> list[str]:
    for number in range(300):
        (folder / f"sequence{number}").mkdir()
        np.save(folder / f"sequence{number}" / "a.npy", np.zeros((2, 4), "f4"))
    return ["import", str(folder), f"{folder}-out", "--format", "npy", "--val", "b", "--taxonomy"]


def many_endings(folder: Path) -> list[str]:
    for number in range(400):
        (folder / f"a.x{number}").touch()
    return ["import", str(folder), f"{folder}-out", "--format", "npy", "--taxonomy"]


@pytest.mark.parametrize("case", [many_ids, many_sequences, many_endings])
def test_the_command_prints_no_longer_message(tmp_path, capsys, case):
    (tmp_path / "src").mkdir()
    arguments = [*case(tmp_path / "src"), str(write_taxonomy(tmp_path))]
    assert main(arguments) != 0
    error = capsys.readouterr().err.splitlines()[-1]
    assert len(error) <= LONGEST and " more" in error


def test_a_check_of_many_unknown_ids_names_some_and_counts_the_others(tmp_path, make_kitti, capsys):
    root = make_kitti()
    label = next(root.rglob("*.label"))
    count = label.stat().st_size // 4
    (np.arange(count) + 30_000).astype("<u4").tofile(label)
    assert main(["check", str(root)]) == 1
    longest = max(capsys.readouterr().out.splitlines(), key=len)
    assert "30000 (1 points)" in longest and " more" in longest and len(longest) <= LONGEST


def test_labels_that_a_class_map_does_not_know_are_counted():
    with pytest.raises(ValueError, match="more") as failed:
        load_taxonomy("semantickitti19").to_train(np.arange(1000, 9000), "a.label")
    assert len(str(failed.value)) <= LONGEST
