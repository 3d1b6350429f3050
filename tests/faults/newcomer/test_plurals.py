"""One of a thing is not "1 scans": numbers and nouns agree in what the commands print."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tiny_runs import tiny_config

from annotator3d.cli.main import main
from annotator3d.engine.config.load import dump_config

ONE_OF_SEVERAL = re.compile(
    r"(?<![\d.,/])(?<!of )1 (scans|voxels|points|files|queries|rounds|events|errors|warnings|"
    r"problems|processes|sequences|epochs|labels)\b"
)


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 queries"), (1, "1 query"), (2, "2 queries"), (1200, "1,200 queries")],
)
def test_a_number_and_its_noun(number, words):
    from annotator3d.errors import count

    assert count(number, "query", "queries") == words
    assert count(number, "scan").endswith("scan" if number == 1 else "scans")


@pytest.fixture
def one(tmp_path, make_kitti):
    """Sequences of one scan, each with one voxel to ask about."""
    root = make_kitti(sequences=("00", "01", "02", "03"), scans=1, points=1)
    config = tiny_config(root, schedule={"batch_size": 1, "epochs": 1}, active={"rounds_at": [0]})
    config.data.train["sequences"] = ["00"]
    (tmp_path / "c.yaml").write_text(dump_config(config))
    return tmp_path, root


def test_one_of_each(one, capsys):
    folder, root = one
    config, run, asked = str(folder / "c.yaml"), str(folder / "run"), str(folder / "asked")
    point = next(root.glob("sequences/02/labels/*.label"))
    np.array([40], "<u4").tofile(point)  # a point with a class to evaluate on
    lines = [
        ["train", config, "--work-dir", run],
        ["select", config, "--work-dir", asked, "--set", "active.strategy=random"],
        ["ledger", "verify", run],
        ["round", "status", asked],
        ["cost", run],
        ["package", "export", asked, str(folder / "p.a3dpack"), "--to", "bob"],
        ["package", "show", str(folder / "p.a3dpack")],
        ["check", str(root)],
        ["simulate", str(folder / "sim"), "--domain", "ideal", "--sequences", "1", "--scans", "1"],
    ]
    said = []
    for line in lines:
        small = ["--beams", "4", "--azimuths", "30"] if line[0] == "simulate" else []
        main([*line, *small])
        text = "".join(capsys.readouterr())
        said += [f"{' '.join(line[:2])}: {found[0]}" for found in ONE_OF_SEVERAL.finditer(text)]
        assert "Traceback" not in text
    assert not said


def test_one_of_each_in_an_import_and_a_ledger(tmp_path, capsys):
    from source_scans import points, write_ply, write_taxonomy

    (tmp_path / "src").mkdir()
    write_ply(tmp_path / "src" / "one.ply", points(0))
    (tmp_path / "src" / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    taxonomy, data, run = write_taxonomy(tmp_path), tmp_path / "data", tmp_path / "run"
    select = ["select", "al/own_data", "--data-root", str(data), "--work-dir", str(run)]
    lines = [
        [
            "import",
            str(tmp_path / "src"),
            str(data),
            "--format",
            "ply",
            "--taxonomy",
            str(taxonomy),
        ],
        [*select, "--set", "active.strategy=random", "--set", "data.val=null"],
        ["ledger", "export", str(run), str(tmp_path / "ledger.jsonl")],
        ["ledger", "log", str(run)],
    ]
    said = ""
    for line in lines:
        assert main(line) == 0
        said += "".join(capsys.readouterr())
    assert "labels of 1 scan from" in said and "poses of 1 sequence in" in said
    assert "1 round, 1 query" in said and "1 taxonomy, 1 scan" in said
    wrong = r"(?<![\d.,/])(?<!of )1 (scans|sequences|clicks|taxonomies|rounds|queries|events)\b"
    assert not re.search(wrong, said), said
