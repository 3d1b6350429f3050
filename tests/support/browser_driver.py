"""A headless Chromium, and ``annotator3d label --web`` for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from viewer_driver import missing


@contextmanager
def started_browser(flags: list[str]) -> Iterator[Any]:
    """Playwright's browser; skips, saying why, where there is none (see `missing`)."""
    try:
        import viser  # noqa: F401
        from playwright import sync_api as api
    except ImportError as error:
        missing(f"{error}: pip install 'annotator3d[viewer-tests]'")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("chromium is not installed: apt install chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=flags)
        yield started
        started.close()


@contextmanager
def serving(
    work_dir: Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen, str]]:
    """``annotator3d label --web`` in a process of its own, on a free port: (process, link)."""
    command = [sys.executable, "-u", "-m", "annotator3d", "label", "--web", "--port", "0"]
    process = subprocess.Popen(
        [*command, *options, str(work_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    )
    try:
        link, said = None, []
        while link is None and (line := process.stdout.readline()):
            said.append(line)
            link = re.search(r"http://\S+", line)
        assert link is not None, "".join(said)
        yield process, link.group()
    finally:
        process.kill()
        process.wait()
