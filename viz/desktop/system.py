"""Checks whether Open3D can draw on this machine; if not, one line says what to install.

Without a display or a graphics driver Open3D ends the process, hangs or crashes. So both are looked
for beforehand, and a first picture is drawn in a process of its own.
"""

from __future__ import annotations

import importlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import annotator3d

_PROBE = """
import time
import numpy as np
import open3d as o3d
from open3d.visualization import rendering

renderer = rendering.OffscreenRenderer(960, 800)
points = np.random.default_rng(0).uniform(-20, 20, (100_000, 3))
cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
renderer.scene.add_geometry("cloud", cloud, rendering.MaterialRecord())
renderer.setup_camera(60.0, [0, 0, 0], [-22, 0, 14], [0, 0, 1])
renderer.render_to_image()
began = time.perf_counter()
renderer.render_to_image()
print("drawn in", time.perf_counter() - began, "s", flush=True)
"""
_PACKAGES = {  # of Debian and Ubuntu, by library
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libX11.so.6": "libx11-6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgomp.so.1": "libgomp1",
    "libvulkan.so.1": "libvulkan1",
}
_OTHERWISE = "or label in a browser: --web"
PROBE_SECONDS = 60.0


def own_python(code: str) -> list[str]:
    """The command of a process that runs `code` and imports nothing from the working directory.

    Python puts that folder first, and somebody else's scans may lie there beside a ``numpy.py``.
    """
    top = str(Path(annotator3d.__file__).parents[1])
    path = f"import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')] + [{top!r}]\n"
    return [sys.executable, "-c", path + code]


class ViewerError(RuntimeError):
    """The viewer cannot start here. The message is one line with the remedy."""


def check_window() -> float:
    """Raise `ViewerError` unless a window can be opened; returns what `check_drawing` returns."""
    if sys.platform.startswith("linux"):
        _check_display(os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY"))
    return check_drawing(_OTHERWISE)


def check_browser() -> None:
    """Raise `ViewerError` unless a browser can be served."""
    for package in ("viser", "aiohttp"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ViewerError(
                f"{package} is missing ({error}): pip install 'annotator3d[web]'"
            ) from error


def check_drawing(otherwise: str = "") -> float:
    """Raise `ViewerError` unless Open3D can draw; returns the seconds that a picture takes.

    The picture has 100,000 points: a graphics card draws it in a few ms, software in 100 or more.

    Args:
        otherwise: an alternative for the end of the message.
    """
    # Without a display 0.19 crashes unless it is told to draw on no surface; 0.20 does not.
    environment = dict(os.environ)
    if not environment.get("DISPLAY"):
        environment.setdefault("EGL_PLATFORM", "surfaceless")
    try:
        done = subprocess.run(
            own_python(_PROBE),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ViewerError(
            _line(
                f"Open3D drew nothing in {PROBE_SECONDS:.0f} s; update the graphics driver",
                otherwise,
            )
        ) from None
    took = re.search(r"drawn in (\S+) s", done.stdout)
    if took is None:
        raise ViewerError(_line(explain(done.stdout + done.stderr, done.returncode), otherwise))
    return float(took[1])


def explain(output: str, code: int) -> str:
    """What to install, judged by the output of a process that tried to draw."""
    if re.search(r"No module named '?open3d", output):
        return "Open3D is not installed: pip install 'annotator3d[viz]'"
    for library, package in _PACKAGES.items():
        if library in output:
            return f"Open3D needs {library}: apt install {package}"
    if re.search(r"load vulkan|vkCreate|No.*physical device|[Vv]ulkan.*(fail|error)", output):
        return "Open3D finds no Vulkan driver: apt install libvulkan1 mesa-vulkan-drivers"
    if re.search(r"eglInitialize|EGL", output):
        return "Open3D finds no OpenGL driver: apt install libegl1 libgl1-mesa-dri"
    last = next(
        (line for line in reversed(output.splitlines()) if line.strip()), f"exit code {code}"
    )
    return f"Open3D cannot draw here ({last.strip()}); update the graphics driver"


def _check_display(x11: str | None, wayland: str | None) -> None:
    if wayland:
        return
    if not x11:
        raise ViewerError(
            _line("there is no display (DISPLAY is not set); log in with a desktop", _OTHERWISE)
        )
    local = re.fullmatch(r"(?:unix)?:(\d+)(?:\.\d+)?", x11)
    if local and not _answers(local[1]):
        raise ViewerError(_line(f"no X server answers at DISPLAY={x11}; start one", _OTHERWISE))


def _answers(number: str) -> bool:
    path = f"/tmp/.X11-unix/X{number}"
    for address in ("\0" + path, path):  # Linux has both, a container often only one
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            try:
                client.connect(address)
                return True
            except OSError:
                continue
    return False


def _line(problem: str, otherwise: str) -> str:
    return f"{problem}, {otherwise}" if otherwise else problem
