"""``annotator3d render``: a still picture without a window, by Open3D or else by matplotlib."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from annotator3d.data.files import atomic_write
from annotator3d.viz.camera import FIELD_OF_VIEW, PIN, Camera, perspective
from annotator3d.viz.desktop.system import explain, own_python
from annotator3d.viz.still import Still

RENDER_SECONDS = 120.0


def render(
    still: Still, out: Path, width: int, height: int, say: Callable[[str], None] = print
) -> str:
    """Draw `still` into a PNG file; returns what drew it: ``open3d`` or ``matplotlib``.

    Open3D runs in a process of its own, which crashes without a driver; then matplotlib draws, and
    `say` is called with the reason.

    Raises FileNotFoundError if the folder of `out` is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays, drawn = Path(folder) / "still.npz", Path(folder) / "out.png"
        still.save(arrays)
        module = "annotator3d.viz.desktop.offscreen"
        code = f"from runpy import run_module; run_module({module!r}, run_name='__main__')"
        command = [*own_python(code), str(arrays), str(drawn)]
        try:
            done = subprocess.run(
                [*command, str(width), str(height)],
                capture_output=True,
                text=True,
                timeout=RENDER_SECONDS,
            )
            trouble = (
                None if drawn.is_file() else explain(done.stdout + done.stderr, done.returncode)
            )
        except subprocess.TimeoutExpired:
            trouble = f"Open3D drew nothing in {RENDER_SECONDS:.0f} s"
        if trouble is not None:
            say(f"{trouble}; drawn with matplotlib instead")
            draw_plainly(still, drawn, width, height)
        with atomic_write(out) as file:
            file.write(drawn.read_bytes())
    return "open3d" if trouble is None else "matplotlib"


def draw_plainly(still: Still, out: Path, width: int, height: int) -> None:
    """Draw the same picture as a scatter plot: projected points, from far to near."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=still.backdrop)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    camera = Camera(*perspective(still.camera(), FIELD_OF_VIEW, width / height), width, height)
    pixels, depth = camera.project(still.xyz)
    larger = np.zeros(len(still.xyz), bool)
    larger[still.current] = True
    order = np.argsort(-np.nan_to_num(depth))
    order = order[np.isfinite(depth[order])]
    sizes = np.where(larger, 36, 5)[order]
    axes.scatter(*pixels[order].T, s=sizes, c=still.colours[order], linewidths=0)
    feet, tops = camera.project(still.centres)[0], camera.project(still.centres + [0, 0, PIN])[0]
    for foot, top, colour in zip(feet, tops, still.pins, strict=True):
        axes.plot(*np.stack([foot, top], 1), color=colour, linewidth=1.5)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    write_numbers(picture, camera, still)
    picture.save(out, format="png")


def write_numbers(picture, camera: Camera, still: Still) -> None:
    """Write the numbers of the queries beside their pins, into a picture of PIL."""
    from PIL import ImageDraw

    pen, dark = ImageDraw.Draw(picture), still.background == "dark"
    tops, _ = camera.project(still.centres + [0, 0, PIN])
    for (x, y), number in zip(tops, still.numbers, strict=True):
        if np.isfinite(x):
            pen.text((x + 8, y - 14), str(number), fill="white" if dark else "black", font_size=18)
