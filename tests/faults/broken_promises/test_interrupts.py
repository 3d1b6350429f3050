"""Ctrl-C ends with 130 however often it comes; the words of Python alone are no message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from annotator3d.cli.command import COMMANDS, load_commands
from annotator3d.cli.main import main

# A command that tells when it works. What follows is what a person does meanwhile.
PROGRAM = """
import os, signal, sys, threading
from annotator3d.cli import main as program
from annotator3d.cli.command import COMMANDS, load_commands

def work(args):
    {work}

load_commands()
COMMANDS["doctor"] = COMMANDS["doctor"]._replace(run=work)
program.load_commands = lambda: None
sys.argv = ["annotator3d", "doctor"]
program.entry()
"""
PRESS = "os.kill(os.getpid(), signal.SIGINT)"
ONCE = f"{PRESS}; signal.pause()"
AGAIN_AT_THE_END = f"""
    import atexit
    atexit.register(lambda: ({PRESS}, None))
    {PRESS}
    signal.pause()"""
AGAIN_WHILE_IT_ENDS = f"""
    try:
        {PRESS}
        signal.pause()
    finally:
        {PRESS}
        signal.pause()"""


@pytest.mark.parametrize("work", [ONCE, AGAIN_AT_THE_END, AGAIN_WHILE_IT_ENDS])
def test_ctrl_c_ends_with_130(work):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(work=work)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [KeyError("state_dict"), TypeError("'NoneType' object is not subscriptable"), IndexError()],
)
def test_words_of_python_alone_are_named_as_a_fault_of_ours(monkeypatch, capsys, error):
    load_commands()

    def fail(args):
        raise error

    monkeypatch.setitem(COMMANDS, "doctor", COMMANDS["doctor"]._replace(run=fail))
    assert main(["doctor"]) == 1
    assert f"unexpected {type(error).__name__}" in capsys.readouterr().err


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_a_terminal_reaches_only_the_one_who_reads_it(tmp_path, times):
    """All processes of a terminal get it: those that read scans leave it to the command."""
    source = tmp_path / "src"
    source.mkdir()
    random = np.random.default_rng(0)
    for number in range(400):
        points = random.uniform([-30, -30, -2, 0], [30, 30, 4, 1], (300, 4))
        points.astype("<f4").tofile(source / f"{number:06d}.bin")
    (tmp_path / "c.yaml").write_text("classes: [{name: a, ids: [1]}, {name: b, ids: [2]}]\n")
    command = ["import", str(source), str(tmp_path / "out"), "--format", "bin", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "annotator3d", *command, "--columns", "x:f4,y:f4,z:f4,_:f4",
         "--taxonomy", str(tmp_path / "c.yaml")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    line = process.stdout.readline()
    assert line.startswith("importing: "), line + process.stdout.read()
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said and "stopped" in said
