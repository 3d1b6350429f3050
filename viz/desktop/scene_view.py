"""The 3D view of the window: Open3D's scene widget with its camera and the numbers of queries."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from open3d.visualization import gui, rendering

from annotator3d.viz.camera import (
    FIELD_OF_VIEW,
    Camera,
    CameraView,
    preset_view,
    view_from_matrix,
)
from annotator3d.viz.colours import BACKGROUNDS, INK
from annotator3d.viz.desktop.scene import ScanScene
from annotator3d.viz.flight import Pilot
from annotator3d.viz.scene_model import SceneModel

FLUSH_PIXELS = 16, 16


class SceneView:
    """Draws a scene model and moves the camera.

    Args:
        model: what is drawn.
        renderer: of the window.

    Attributes:
        widget: to be added to the window, which sets its frame.
        pilot: flies the camera; `step` it in each tick.
    """

    def __init__(self, model: SceneModel, renderer: rendering.Renderer) -> None:
        self._model = model
        self.widget = gui.SceneWidget()
        self.widget.scene = rendering.Open3DScene(renderer)
        self.pilot = Pilot(self._place, model.settings.flies)
        self._scene = ScanScene(self.widget.scene, model.session.ledger.voxel_size)
        self._labels: list[gui.Label3D] = []
        self._tops, self._seen_from = np.empty((0, 3)), np.zeros((4, 4))
        self._is_set_up = False
        self._unseen = rendering.Open3DScene(renderer)
        self._unseen.set_view_size(*FLUSH_PIXELS)

    def load(self) -> None:
        """Draw another scan."""
        model, before = self._model, self._view(1.0)
        self._scene.show(model.xyz, model.colours(), model.centres)
        if len(model.xyz):
            bounds = self.widget.scene.bounding_box  # its size decides how far the camera sees
            self.widget.setup_camera(FIELD_OF_VIEW, bounds, bounds.get_center())
            if self._is_set_up:  # it stays, and flies from there to another voxel
                self.widget.look_at(before.target, before.eye, before.up)
            self._is_set_up = True
        for label in self._labels:
            self.widget.remove_3d_label(label)
        self._tops = self._scene.pins(model.centres) + [0, 0, 0.2]
        self._labels = [self.widget.add_3d_label(top, "") for top in self._tops]
        self._seen_from = np.zeros((4, 4))

    def repaint(self) -> None:
        """Update the colours, the point size and the current voxel; the window has it drawn."""
        model, settings = self._model, self._model.settings
        self._scene.set_background(BACKGROUNDS[settings.background])
        ink = gui.Color(*INK[settings.background])
        for label in self._labels:
            label.color = ink
        if settings.point_size != self._scene.point_size:
            self._scene.set_point_size(settings.point_size)
        self._scene.recolour(model.colours(), model.pins())
        self._scene.hide(model.hidden())
        current = model.session.current
        centre = None if current is None else model.centres[model.queries.index(current.id)]
        self._scene.focus(model.current(), model.current_colours(), centre)
        self._scene.show_near(*model.nearby())

    def flush(self, finished: Callable[[], None]) -> None:
        """Have the renderer finish all frames so far before the next one; see `Redraws`.

        The window has to draw in this tick; `finished` is called meanwhile.
        """
        self._unseen.scene.render_to_image(lambda _: finished())

    def show_numbers(self) -> None:
        """Hide the numbers behind the camera: Open3D would mirror them into the picture."""
        matrix = np.asarray(self.widget.scene.camera.get_view_matrix())
        if np.array_equal(matrix, self._seen_from):
            return
        self._seen_from = matrix
        ahead = self._tops @ matrix[2, :3] + matrix[2, 3] < 0
        for label, query, shown in zip(self._labels, self._model.queries, ahead, strict=True):
            label.text = str(query) if shown else ""

    def fly_to(self, target: NDArray[np.float64]) -> None:
        """Start towards a point [3], in the chosen view."""
        stop = preset_view(self._model.settings.view, target)
        start = self._view(float(np.linalg.norm(stop.eye - stop.target)))
        self.pilot.go(start, stop, time.monotonic())

    def camera(self) -> Camera:
        """The present camera, for picking in pixels of the widget."""
        camera, frame = self.widget.scene.camera, self.widget.frame
        return Camera(
            np.asarray(camera.get_view_matrix(), np.float64),
            np.asarray(camera.get_projection_matrix(), np.float64),
            frame.width,
            frame.height,
        )

    def _view(self, distance: float) -> CameraView:
        return view_from_matrix(self.widget.scene.camera.get_view_matrix(), distance)

    def _place(self, view: CameraView) -> None:
        self.widget.look_at(view.target, view.eye, view.up)
        self.widget.force_redraw()
