"""The page in the browser: `frontend.Frontend` over viser's scene, with `panel` beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from annotator3d.viz.boxes import box_edges
from annotator3d.viz.camera import FIELD_OF_VIEW, PIN, Camera, CameraView, perspective, preset_view
from annotator3d.viz.colours import BACKGROUNDS, BOX, CURRENT_BOX, Colours
from annotator3d.viz.controller import Controller
from annotator3d.viz.flight import Pilot
from annotator3d.viz.keys import KeyTable
from annotator3d.viz.picking import pick_on_ray, rectangle
from annotator3d.viz.scene_model import SceneModel
from annotator3d.viz.web.drawn import DrawnPictures
from annotator3d.viz.web.panel import WebPanel

_METRES_PER_PIXEL = 0.006  # viser measures points in metres
_BRUSH_METRES = 0.06


class WebPage:
    """A `frontend.Frontend` in one browser.

    Args:
        client: one of viser's.
        scene_model: the arrays of the session.
        keys: the table of actions.
        enqueue: runs a call in the session's thread; viser calls from its own threads.
        end: ends the session, because of an error or of nothing (None).
    """

    def __init__(
        self,
        client: Any,
        scene_model: SceneModel,
        keys: KeyTable,
        enqueue: Callable[[Callable[[], None]], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self._client, self._scene, self._enqueue = client, client.scene, enqueue
        self.scene_model = scene_model
        self._pictures = DrawnPictures(client, enqueue)
        self.controller = Controller(scene_model.session, keys, scene_model, self, end)
        self._panel = WebPanel(
            client.gui, self.controller, keys, self._later, close=lambda: end(None)
        )
        self._pilot = Pilot(self._place, scene_model.settings.flies)
        self._cloud = self._pins = self._backdrop = None
        self._numbers: list[Any] = []
        client.camera.fov = np.radians(FIELD_OF_VIEW)
        self._scene.set_up_direction("+z")
        self._scene.on_click()(self._later(self._clicked))
        self._scene.on_click(modifier="shift")(self._later(self._clicked))
        self.controller.guard(self.controller.start)

    @property
    def is_flying(self) -> bool:
        return self._pilot.is_flying

    def tick(self) -> None:
        """Call this regularly, and often while the camera flies."""
        self._pilot.step(time.monotonic())
        self.controller.tick()

    # --- the frontend -----------------------------------------------------------------------------

    def load(self) -> None:
        scene_model, size = self.scene_model, self.controller.session.ledger.voxel_size
        for name in ("/cloud", "/pins", "/boxes"):
            self._scene.remove_by_name(name)
        self._cloud = self._pins = None
        self._hiding = False
        tops = scene_model.centres + [0, 0, PIN]
        if len(scene_model.xyz):
            self._cloud = self._points("/cloud", scene_model.xyz, scene_model.colours(), 0)
        if len(scene_model.centres):
            self._pins = self._points("/pins", tops.astype(np.float32), scene_model.pins(), 7)
            stems = np.stack([scene_model.centres, tops], 1)
            self._lines(
                "/boxes", np.concatenate([box_edges(scene_model.centres, size), stems]), BOX, 2
            )
        for number in self._numbers:
            number.remove()
        self._numbers = [
            self._scene.add_label(f"/number/{query}", str(query), position=tuple(top))
            for query, top in zip(scene_model.queries, tops + [0, 0, 0.2], strict=True)
        ]

    def repaint(self) -> None:
        scene_model, settings, session = (
            self.scene_model,
            self.scene_model.settings,
            self.controller.session,
        )
        if self._cloud is not None:
            self._hide(scene_model.hidden())
            self._cloud.colors = _bytes(scene_model.colours())
            self._cloud.point_size = settings.point_size * _METRES_PER_PIXEL
            self._pins.colors = _bytes(scene_model.pins())
        for name in ("/current", "/box", "/near"):
            self._scene.remove_by_name(name)
        points, (near, painted) = scene_model.current(), scene_model.nearby()
        if len(points):
            self._points("/current", points, scene_model.current_colours(), 4)
            middle = (session.view.low + session.view.high) / 2
            edges = box_edges(middle, 1.06 * session.ledger.voxel_size)
            self._lines("/box", edges, CURRENT_BOX, 4)
        if len(near):
            self._points("/near", near, painted, 2)
        if self._backdrop != settings.background:
            self._backdrop = settings.background
            colour = _bytes(np.array(BACKGROUNDS[settings.background][:3]))
            self._scene.set_background_image(np.tile(colour, (2, 2, 1)))
        self._panel.repaint()

    def when_drawn(self, done: Callable[[], None]) -> None:
        def drawn() -> None:
            done()
            self._panel.show_seen()

        self._pictures.when_drawn(lambda: self.controller.guard(drawn))

    def look_at_voxel(self) -> None:
        session = self.controller.session
        if session.view is None:
            return
        stop = preset_view(
            self.scene_model.settings.view, (session.view.low + session.view.high) / 2
        )
        self._pilot.go(self._view(), stop, time.monotonic())
        self._panel.show_photo(self.controller.photo())

    def say(self, text: str, wrong: bool = False) -> None:
        self._panel.say(text, wrong)

    def ask(self, what: str) -> None:
        self._panel.ask(what)

    def show_help(self) -> None:
        self._panel.toggle_help()

    def show_brush(self, on: bool) -> None:
        self.say("drag a box over points, or click on them; hold Shift to erase" if on else "")
        if on:  # meanwhile the mouse does not rotate the camera
            for modifier in (None, "shift"):
                self._scene.on_rect_select(modifier=modifier)(self._later(self._dragged))
        else:
            self._scene.remove_rect_select_callback("all")

    # --- what it is made of -------------------------------------------------------------------

    def _later(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        def arrived(event: Any) -> None:
            self._pilot.end()
            call(event)

        return lambda event: self._enqueue(lambda: self.controller.guard(lambda: arrived(event)))

    def _view(self) -> CameraView:
        camera = self._client.camera
        return CameraView(np.array(camera.position), np.array(camera.look_at), camera.up_direction)

    def _place(self, view: CameraView) -> None:
        camera = self._client.camera
        with self._client.atomic():
            camera.up_direction = tuple(view.up)
            camera.position, camera.look_at = tuple(view.eye), tuple(view.target)

    def _clicked(self, event: Any) -> None:
        """With the brush: paint around the first point on the ray."""
        self.controller.session.touch()
        points = self.scene_model.current()
        if not self.controller.brushing or not len(points):
            return
        met = pick_on_ray(event.ray_origin, event.ray_direction, points)
        if met is not None:
            near = np.linalg.norm(points - points[met], axis=1) <= _BRUSH_METRES
            self.controller.paint(near, erase=event.modifier == "shift")

    def _dragged(self, event: Any) -> None:
        """With the brush: paint the points inside a dragged box."""
        points, camera = self.scene_model.current(), self._client.camera
        if not self.controller.brushing or not len(points):
            return
        matrices = perspective(self._view(), np.degrees(camera.fov), camera.aspect)
        seen = Camera(*matrices, 1, 1)  # viser counts from 0 to 1
        met = rectangle(seen, points, event.screen_min, event.screen_max)
        self.controller.paint(met, erase=event.modifier == "shift")

    def _hide(self, hidden: np.ndarray | None) -> None:
        """Send the points again only if others are hidden than before."""
        if hidden is None and not self._hiding:
            return
        self._hiding, shown = hidden is not None, self.scene_model.xyz
        if hidden is not None:
            shown = np.where(hidden[:, None], np.float32([0, 0, -1e4]), shown)
        self._cloud.points = shown

    def _points(self, name: str, xyz: np.ndarray, colours: Colours, larger: int) -> Any:
        size = (self.scene_model.settings.point_size + larger) * _METRES_PER_PIXEL
        return self._scene.add_point_cloud(
            name,
            np.ascontiguousarray(xyz, np.float32),
            _bytes(colours),
            point_size=size,
            point_shape="circle",
            point_shading="flat",
            precision="float32",  # of 80 m, float16 keeps 6 cm
        )

    def _lines(self, name: str, edges: np.ndarray, colour: Colours, pixels: float) -> None:
        self._scene.add_line_segments(
            name,
            edges.astype(np.float32),
            tuple(int(part) for part in _bytes(colour)),
            thickness=pixels,
            thickness_units="screen",
        )


def _bytes(colours: np.ndarray) -> np.ndarray:
    return (np.asarray(colours) * 255).astype(np.uint8)
