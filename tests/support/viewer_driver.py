"""A work directory with open queries, and a viewer that is driven on it from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from commands import Command

from annotator3d.cli.main import main
from annotator3d.ledger.ledger import Ledger

START_SECONDS, STEP_SECONDS = 90.0, 30.0
SHOTS = Path(os.environ.get("ANNOTATOR3D_SCREENSHOTS", "build/screenshots")).absolute()


def make_work_dir(root: Path, out: Path, *settings: str, budget: int = 3) -> Path:
    """Queries of a random round over the scans of a SemanticKITTI folder, by the command line."""
    config = out.parent / "asked.py"
    config.write_text(
        "setting = 'al'\n"
        "data = dict(train=dict(type='SemanticKITTI', sequences=['00']))\n"
        f"active = dict(strategy='random', queries_per_scan={budget}, min_points=2,"
        " voxel_size=1.0)\n"
    )
    command = ["select", str(config), "--data-root", str(root), "--work-dir", str(out)]
    assert main([*command, *(word for s in settings for word in ("--set", s))]) == 0
    return out


def dispute(work_dir: Path) -> tuple[int, int]:
    """Have two people answer the first two queries, in different words; gives their numbers."""
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        names, digest, size = ledger.taxonomy_names, ledger.taxonomy_digest, ledger.voxel_size
    with Ledger.open(work_dir / "ledger.sqlite", names, digest, size) as ledger:
        queries = sorted(ledger.queries(), key=lambda q: (q.scan, -q.score, q.id))[:2]
        for label, person in enumerate(("anna", "ben")):
            for query in queries:
                if label:
                    ledger.request(query.id, "overlap", annotator="lead")
                ledger.answer(query.id, [label] * query.num_points, annotator=person)
        return queries[0].id, queries[1].id


def kinds(work_dir: Path) -> list[str]:
    """What people did, in order: kinds of events but leases."""
    with Ledger.read(work_dir / "ledger.sqlite") as ledger:
        return [e.answer.kind for e in ledger.events() if e.answer.kind != "lease"]


def missing(why: str) -> NoReturn:
    """Skip, saying why; where the viewer's tests are required, fail."""
    if os.environ.get("ANNOTATOR3D_VIEWER_TESTS") == "required":
        pytest.fail(why)
    pytest.skip(why)


def need_web() -> None:
    """Skip, saying why, where ``label --web`` has nothing to serve with (see `missing`)."""
    try:
        import aiohttp  # noqa: F401
        import viser  # noqa: F401
    except ImportError as error:
        missing(f"{error}: pip install 'annotator3d[viewer-tests]'")


def need_window() -> None:
    """Skip, saying why, where a window cannot be tested."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed: apt install xvfb xauth xdotool")
    from annotator3d.viz.desktop.system import ViewerError, check_drawing

    try:
        check_drawing()
    except ViewerError as error:
        missing(str(error))


def drawing_is_known() -> None:
    """For windows whose display has been tried by `need_window`: spares the picture before them."""
    from annotator3d.viz.desktop import system

    system.check_drawing = lambda otherwise="": 1.0  # s, of a picture that the processor draws


def skipping_fails() -> None:
    """For a window that meets a fault of ours."""
    from annotator3d.annotation.session import LabelSession

    def broken(self: LabelSession) -> None:
        raise RuntimeError("the disk is gone")

    LabelSession.skip = broken
    drawing_is_known()


@contextmanager
def virtual_display(size: str = "1440x900x24") -> Iterator[str]:
    """An X server of its own; its display number is chosen by the server, so none clash."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            pytest.fail("Xvfb did not start")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(timeout=20)


class Viewer:
    """``annotator3d label`` in a process, on a display of its own, with xdotool as the person."""

    def __init__(
        self,
        display: str,
        folder: Path,
        arguments: list[str],
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.display, self._state = display, folder / "state.json"
        self._state.unlink(missing_ok=True)
        env = {"DISPLAY": display, "ANNOTATOR3D_VIEWER_STATE": str(self._state)}
        self.environment = {**os.environ, **env}
        command = ["label", "--debug", *arguments]
        self.process = Command(command, folder / "viewer.out", env, prepare)

    @property
    def output(self) -> str:
        return self.process.output

    def state(self) -> dict:
        return json.loads(self._state.read_text()) if self._state.is_file() else {}

    def wait(self, ready: Callable[[dict], object], seconds: float = STEP_SECONDS) -> dict:
        """The state once `ready` holds; fails with what the viewer said if it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.state()
            if state and ready(state):
                return state
            if self.process.poll() is not None:
                pytest.fail(f"the viewer ended with {self.process.poll()}: {self.output}")
            time.sleep(0.05)
        pytest.fail(f"the viewer did not get there; state {self.state()}; {self.output}")

    def started(self) -> dict:
        state = self.wait(
            lambda s: s["query"] is not None and s["scene"][2] > 0 and s["quit"][2] > 0,
            START_SECONDS,
        )
        self.do("search", "--sync", "--onlyvisible", "--name", "annotator3d")
        x, y, width, height = state["scene"]
        self.do("mousemove", str(x + width // 2), str(y + 20))
        return state

    def at_rest(self) -> dict:
        """The state once the camera stands still: only then is the voxel where the state says."""
        return self.wait(lambda s: s["seen"] and not s["flying"])

    def press(self, key: str, ready: Callable[[dict], object]) -> dict:
        """Press a key, once the voxel is on the screen, and wait for what comes of it."""
        self.wait(lambda s: s["seen"])
        self.do("key", key)
        return self.wait(ready)

    def type(self, text: str) -> None:
        """Type letter by letter, each when the one before has arrived."""
        for end in range(1, len(text) + 1):
            key = {" ": "space"}.get(text[end - 1], text[end - 1])
            self.press(key, lambda s, typed=text[:end]: s["typed"] == typed)

    def sees(self, pixel: Sequence[float], colour: Sequence[int], shot: Path) -> None:
        """Wait until the colour is on the screen at a pixel, give or take four; keep a picture."""
        x, y = (round(at) for at in pixel)
        end = time.monotonic() + STEP_SECONDS
        while True:
            near = self.screenshot(shot)[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3)
            if (np.abs(near.astype(int) - colour).max(1) < 12).any():
                return
            if time.monotonic() > end:
                pytest.fail(f"{colour} is not at {pixel}, but {np.unique(near, axis=0)}")
            time.sleep(0.2)

    def click(self, frame: list[int], ready: Callable[[dict], object]) -> dict:
        """Click at a widget until `ready`: a click within one frame of the picture is lost."""
        x, y, width, height = frame
        for _ in range(8):
            self.do("mousemove", str(x + width // 2), str(y + height // 2))
            time.sleep(0.3)
            self.do("mousedown", "1")
            time.sleep(0.2)
            self.do("mouseup", "1")
            end = time.monotonic() + 3
            while time.monotonic() < end:
                if self.process.poll() is not None or ready(self.state()):
                    return self.state()
                time.sleep(0.05)
        pytest.fail(f"clicking at {frame} did nothing; {self.state()}; {self.output}")

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        """Press, move in steps, let go."""
        self.do("mousemove", *map(_whole, start))
        time.sleep(0.3)
        self.do("mousedown", "1")
        for share in np.linspace(0, 1, 8):
            time.sleep(0.06)
            at = np.array(start) * (1 - share) + np.array(stop) * share
            self.do("mousemove", *map(_whole, at))
        time.sleep(0.2)
        self.do("mouseup", "1")

    def screenshot(self, path: Path) -> np.ndarray:
        """[H, W, 3] what is on the display; kept as a file."""
        from PIL import ImageGrab

        picture = ImageGrab.grab(xdisplay=self.display)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        return np.asarray(picture.convert("RGB"))

    def close(self) -> int:
        """By the button and the dialog, as a person does; gives the exit code."""
        state = self.state()
        state = self.click(state["quit"], lambda s: s["dialog"])
        state = self.wait(lambda s: s["dialog"] and s["dialog"]["close"][2] > 0)
        self.click(state["dialog"]["close"], lambda s: False if self.alive() else True)
        return self.process.wait(timeout=STEP_SECONDS)

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def do(self, *words: str) -> None:
        subprocess.run(
            ["xdotool", *words],
            env=self.environment,
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
        )


def _whole(value: float) -> str:
    return str(round(float(value)))
