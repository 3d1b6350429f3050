"""The command line in a process of its own, which starts without the slow imports."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from processes import start


class Command:
    """``annotator3d`` with `arguments`, as a person starts it.

    `env` is added to the environment; `log` takes what the command prints. `prepare`, a function of
    a module in this folder, is called in the process first.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        inherited = {**os.environ, **(env or {})}
        self._process = start(_run, list(arguments), prepare, env=inherited, log=log)
        self.pid, self._log = self._process.pid, log

    @property
    def output(self) -> str:
        """What the command has printed so far."""
        return self._log.read_text() if self._log.exists() else ""

    def poll(self) -> int | None:
        """The exit code; None while the command is at work."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises TimeoutExpired if there is none after that many seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("annotator3d", timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], prepare: Callable[[], None] | None) -> int:
    from annotator3d.cli.main import entry

    faulthandler.cancel_dump_traceback_later()  # a window stays as long as its tests need it
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv = ["annotator3d", *arguments]
    if prepare is not None:
        prepare()
    try:
        entry()
    except SystemExit as stop:
        return stop.code
