"""A number that no machine and no sensor has is refused by the name of its option, at once."""

from __future__ import annotations

import numpy as np
import pytest
from source_scans import points, write_ply, write_taxonomy

from annotator3d.cli.main import main

HUGE = "9" * 24
IMPORT = {
    ("--unit", "1e308"): "--unit: expected metres, from 1e-9 to 1e6, got 1e+308",
    ("--unit", "1e-300"): "--unit: expected metres",
    ("--unit", "nan"): "--unit: expected metres",
    ("--offset", "nan,nan,nan"): "--offset nan,nan,nan: expected finite metres",
    ("--offset", "0,nan,0"): "--offset 0,nan,0: expected finite metres",
    ("--offset", "0,inf,0"): "--offset 0,inf,0: expected finite metres",
    ("--offset", "1e308,0,0"): "--offset 1e308,0,0: expected finite metres",
    ("--intensity-max", "1e-320"): "--intensity-max: expected numbers above 0",
    ("--intensity-max", "00=1e308"): "--intensity-max: expected numbers above 0",
    ("--workers", HUGE): "--workers: expected 1 to 512, got 999,",
    ("--workers", "-1"): "--workers: expected 1 to 512, got -1",
    ("--workers", "0"): "--workers: expected 1 to 512, got 0",
}


@pytest.mark.parametrize("option", IMPORT)
def test_import_names_the_option_and_writes_nothing(tmp_path, capsys, option):
    (tmp_path / "src").mkdir()
    write_ply(tmp_path / "src" / "one.ply", points(0))
    taxonomy = write_taxonomy(tmp_path)
    line = ["import", str(tmp_path / "src"), str(tmp_path / "out"), "--format", "ply"]
    assert main([*line, "--taxonomy", str(taxonomy), *option]) == 2
    said = capsys.readouterr().err
    assert IMPORT[option] in said and said.count("\n") == 1, said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["sequences", "scans", "beams", "azimuths", "first-sequence"])
def test_simulate_names_the_option_and_writes_nothing(tmp_path, capsys, name):
    line = ["simulate", str(tmp_path / "out"), "--domain", "ideal", "--scans", "1"]
    assert main([*line, f"--{name}", HUGE]) == 2
    assert f"{name.replace('-', '_')}: expected at most" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--size", "99999999x1"], "--size: expected at most 16,384 pixels a side"),
        (["--size", f"9x{HUGE}"], "--size: expected at most 16,384 pixels a side"),
        (["--out", "scan.jpg"], "--out scan.jpg: expected a name that ends with .png"),
        (["--out", "scan"], "--out scan: expected a name that ends with .png"),
    ],
)
def test_render_names_the_option_before_it_draws(tmp_path, capsys, monkeypatch, option, words):
    monkeypatch.chdir(tmp_path)
    np.zeros((4, 4), "<f4").tofile("scan.bin")
    assert main(["render", "scan.bin", "--out", "scan.png", *option]) == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scan.bin"]


def test_check_names_a_number_of_threads(tmp_path, make_kitti, capsys):
    assert main(["check", str(make_kitti(sequences=("00",), scans=1)), "--workers", HUGE]) == 2
    assert "--workers: expected 1 to 512" in capsys.readouterr().err
