"""A headless Chromium, and ``annotator3d label --web`` for it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands import Command
from viewer_driver import missing, need_web

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WAIT = 90_000  # ms


@contextmanager
def started_browser(*flags: str) -> Iterator[Any]:
    """Playwright's browser; skips, saying why, where there is none (see `missing`)."""
    need_web()
    try:
        from playwright import sync_api as api
    except ImportError as error:
        missing(f"{error}: pip install 'annotator3d[viewer-tests]'")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing("chromium is not installed: apt install chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
        yield started
        started.close()


@contextmanager
def opened(browser: Any, link: str, width: int = 800, height: int = 600) -> Iterator[Any]:
    """A page of `link`, which is closed with the block: else it would draw on, unseen.

    It is small, for the processor draws it.
    """
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(WAIT)
    try:
        page.goto(link)
        yield page
    finally:
        page.close()


@contextmanager
def serving(
    work_dir: Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Command, str]]:
    """``annotator3d label --web`` in a process of its own, on a free port: (process, link)."""
    need_web()
    arguments = ["label", "--web", "--port", "0", *options, str(work_dir)]
    process = Command(arguments, work_dir.with_name("served.out"), env)
    try:
        while (link := re.search(r"http://\S+(?=[^\n]*\n)", process.output)) is None:
            assert process.poll() is None, process.output
            time.sleep(0.02)
        yield process, link.group()
    finally:
        process.kill()
        process.wait()
