"""Draws a `still.Still` with Open3D, without a window: a program of its own.

Open3D crashes where it finds no driver, so `render.render` starts this in another process::

    python -m annotator3d.viz.desktop.offscreen STILL.npz OUT.png WIDTH HEIGHT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np


def main(still_file: str, out: str, width: str, height: str) -> None:
    if not os.environ.get("DISPLAY"):  # before the import: 0.19 crashes otherwise
        os.environ.setdefault("EGL_PLATFORM", "surfaceless")
    from open3d.visualization import rendering
    from PIL import Image

    from annotator3d.viz.camera import FIELD_OF_VIEW, Camera
    from annotator3d.viz.desktop.scene import ScanScene
    from annotator3d.viz.render import write_numbers
    from annotator3d.viz.still import Still

    still = Still.load(Path(still_file))
    renderer = rendering.OffscreenRenderer(int(width), int(height))
    scene = ScanScene(renderer.scene, still.voxel_size)
    scene.set_background(still.backdrop)
    scene.show(still.xyz, still.colours, still.centres)
    scene.recolour(still.colours, still.pins)
    if len(still.current):
        scene.focus(still.xyz[still.current], still.colours[still.current], still.focus)
    view = still.camera()
    renderer.setup_camera(FIELD_OF_VIEW, view.target, view.eye, view.up)
    picture = Image.fromarray(np.asarray(renderer.render_to_image()))
    camera = renderer.scene.camera
    matrices = camera.get_view_matrix(), camera.get_projection_matrix()
    write_numbers(picture, Camera(*matrices, picture.width, picture.height), still)
    picture.save(out, format="png")


if __name__ == "__main__":
    main(*sys.argv[1:])
