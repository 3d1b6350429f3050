"""Ctrl-C ends with 130 however often it comes; the words of Python alone are no message."""

from __future__ import annotations

import signal
import subprocess
import sys

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
