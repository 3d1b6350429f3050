"""Escape sequences in data are shown as text; a terminal never gets them."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings

import pytest
from session_world import make_world, start

from annotator3d.cli.main import main
from annotator3d.cli.terminal import open_reporter, print_table
from annotator3d.cli.visible import VisibleStream, visible, visible_output

EVIL = "\x1b[2J\x1b]0;owned\x07car\r\u202e\x9b31m"
CONTROLS = [chr(c) for c in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0x2028)]


def harmless(text: str) -> bool:
    return not any(control in text for control in CONTROLS)


@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_character_is_written_out(control):
    assert harmless(visible(f"a{control}b")) and visible(f"a{control}b") != "ab"


@pytest.mark.parametrize("text", ["道路 🚗 naïve", "a\tb\nc", ""])
def test_letters_of_all_people_stay(text):
    assert visible(text) == text


def test_the_name_of_an_annotator_and_a_note_are_shown_as_text(tmp_path, capsys):
    path = tmp_path / "ledger.sqlite"
    source = make_world(path)
    session = start(path, source, annotator=f"ann{EVIL}")
    session.note(f"look{EVIL}")
    session.do("class 0")
    session.close()
    for command in (["ledger", "log"], ["round", "status"], ["cost"]):
        assert main([*command, str(path)]) in (0, 1)
        out, err = capsys.readouterr()
        assert harmless(out) and harmless(err), command
    main(["ledger", "log", str(path)])
    assert r"\x1b[2J" in capsys.readouterr().out


def test_class_names_with_escapes_are_shown_as_text(tmp_path, capsys):
    classes = tmp_path / "classes.yaml"
    quoted = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) > 126 else c for c in EVIL)
    classes.write_text(f'classes: [{{name: "{quoted}", ids: [1]}}, {{name: b, ids: [2]}}]\n')
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "0.bin").write_bytes(bytes(3))  # damaged, so that a message is printed
    command = ["import", str(tmp_path / "src"), str(tmp_path / "out"), "--format", "bin"]
    main([*command, "--taxonomy", str(classes)])
    main(["check", str(tmp_path / f"none{EVIL}")])
    out, err = capsys.readouterr()
    assert harmless(out) and harmless(err) and r"\x1b" in out + err


def test_tables_and_lines_of_progress_are_shown_as_text(capsys):
    with visible_output():
        print_table(["name"], [[EVIL]], title=EVIL)
        with open_reporter() as reporter:
            reporter.info(EVIL)
            reporter.progress(EVIL, 1, 1)
        print(EVIL, file=sys.stderr)
    out, err = capsys.readouterr()
    assert harmless(out) and harmless(err)
    assert out.count(r"\x1b]0;owned") == 4 and err.count(r"\x1b]0;owned") == 1


def test_a_terminal_without_the_letters_gets_them_written_out():
    raw = io.BytesIO()
    stream = VisibleStream(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    stream.write("道路 \udcff road")
    assert raw.getvalue() == rb"\u9053\u8def \udcff road"


def test_a_warning_is_one_line_without_source_code():
    program = (
        "import warnings\n"
        "from annotator3d.cli.visible import visible_output\n"
        "with visible_output():\n"
        "    warnings.warn('the disk is \\x1b[2J slow')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "warning: the disk is \\x1b[2J slow\n"


def test_output_is_as_before_afterwards(tmp_path):
    before = sys.stdout, sys.stderr, warnings.formatwarning
    main(["check", str(tmp_path / "none")])
    assert (sys.stdout, sys.stderr, warnings.formatwarning) == before
