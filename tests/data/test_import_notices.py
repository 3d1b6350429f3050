"""What an import left out, guessed or changed is told by the import and by every later check."""

from __future__ import annotations

from source_scans import run_import, write_scans, write_taxonomy

from annotator3d.cli.main import main
from annotator3d.data.importing import running


def test_remarks_of_scans_are_told_once_with_counts(tmp_path, capsys, monkeypatch):
    real = running.convert

    def convert(source, *rest):
        scan = real(source, *rest)
        if source.sequence == "a":
            scan.remarks["no return"] = 7
        if source.id == "b/000001":
            scan.remarks["feet became metres"] = 0
        return scan

    monkeypatch.setattr(running, "convert", convert)
    src, out = write_scans(tmp_path / "src"), tmp_path / "out"
    assert run_import(src, out, write_taxonomy(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    wanted = [
        "no return: 14 points in 2 scans, the first a/scan0.ply",
        "feet became metres: 1 scan, b/scan1.ply",
    ]
    assert [line for line in lines if line.startswith("note: ")] == [f"note: {w}" for w in wanted]
    assert main(["check", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("note of the import: ") for line in lines if "note" in line] == wanted
