"""The window: Open3D's scene and panel over a labelling session.

What was tried in Open3D 0.19 and 0.20 decides some of it: keys arrive reliably at the window only;
Escape always asks to close, so closing is confirmed with the mouse; an exception that leaves a
callback hangs the process, so each callback runs in a guard; points are picked by projection,
since the depth buffer means something else in each version.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from open3d.visualization import gui, rendering
from PIL import Image

from annotator3d.annotation.session import LabelSession
from annotator3d.viz import panel_text
from annotator3d.viz.camera import FIELD_OF_VIEW, Camera, CameraView, preset_view, view_from_matrix
from annotator3d.viz.colours import BACKGROUNDS, INK, Colours
from annotator3d.viz.controller import Controller
from annotator3d.viz.desktop.panel import Panel, question
from annotator3d.viz.desktop.redraws import Redraws
from annotator3d.viz.desktop.scene import ScanScene
from annotator3d.viz.flight import Pilot
from annotator3d.viz.keys import KeyTable
from annotator3d.viz.picking import brush
from annotator3d.viz.scene_model import SceneModel
from annotator3d.viz.state_file import StateFile
from annotator3d.viz.view_settings import ViewSettings

PANEL_EM = 34  # width of the panel
BRUSH_PIXELS = 12.0
CROP = 256  # pixels; always the same, so that the texture is written in place
_KEYPAD = {320 + digit: str(digit) for digit in range(10)}  # GLFW's numbers; no KeyName has them
_NAMED = {
    int(getattr(gui.KeyName, name.upper())): name
    for name in ("left", "right", "up", "down", "space", "enter", "backspace")
}
_CONTROL = {int(gui.KeyName.LEFT_CONTROL), int(gui.KeyName.RIGHT_CONTROL)}
_SHIFT = {int(gui.KeyName.LEFT_SHIFT), int(gui.KeyName.RIGHT_SHIFT)}


class LabelWindow:
    """A `controller.Frontend` in a window of its own; `run` returns when it was closed.

    Args:
        session: the labels; the caller closes it.
        keys: what the keys do.
        palette: [C, 3] RGB 0..1 of the classes.
        look: what is chosen at the start.
    """

    def __init__(
        self,
        session: LabelSession,
        keys: KeyTable,
        palette: Colours,
        settings: ViewSettings | None = None,
    ) -> None:
        self._app = gui.Application.instance
        self._app.initialize()
        title = f"annotator3d: {session.annotator}"
        self._window = self._app.create_window(title, 1440, 900)
        try:
            self._build(session, keys, SceneModel(session, palette, settings))
        except BaseException:
            self._window.close()
            raise

    def _build(self, session: LabelSession, keys: KeyTable, scene_model: SceneModel) -> None:
        self._error: Exception | None = None
        self._closing = self._control = self._shift = self._is_set_up = False
        self._redraws = Redraws(time.monotonic)
        self._stroke: list[tuple[float, float]] = []
        self._state = StateFile(os.environ.get("ANNOTATOR3D_VIEWER_STATE"))
        self._scene_model = scene_model
        self._pilot = Pilot(self._place, scene_model.settings.flies)
        self._controller = Controller(session, keys, self._scene_model, self, self._fail)
        self._widget = gui.SceneWidget()
        self._widget.scene = rendering.Open3DScene(self._window.renderer)
        self._scene = ScanScene(self._widget.scene, session.ledger.voxel_size)
        self._labels: list[gui.Label3D] = []
        self._tops, self._seen_from = np.empty((0, 3)), np.zeros((4, 4))
        blank = np.zeros((CROP, CROP, 3), np.uint8)
        self._photo = gui.ImageWidget(o3d.geometry.Image(blank))
        self._photo.visible = False
        em = self._window.theme.font_size
        self._panel = Panel(self._controller, self._guarded, em)
        self._panel.quit.set_on_clicked(self._guarded(self._ask_to_close))
        self._help = gui.Label("\n".join(panel_text.help_lines(keys)))
        self._help_box = gui.ScrollableVert(0, gui.Margins(em, em, em, em))
        self._help_box.add_child(self._help)
        self._help_box.background_color = gui.Color(0.1, 0.1, 0.12, 0.95)
        self._help_box.visible = False
        panel = self._panel
        parts = panel.above, panel.classes, panel.below, self._photo, panel.text, self._help_box
        for child in (self._widget, *parts):
            self._window.add_child(child)
        self._window.set_on_layout(self._layout)
        self._window.set_on_key(self._key)
        self._window.set_on_close(self._close)
        self._window.set_on_tick_event(self._tick)
        self._widget.set_on_mouse(self._mouse)

    def run(self) -> None:
        """Show the window until it is closed; raises what ended it, if that was an error."""
        try:
            self._controller.guard(self._controller.start)
            self._app.run()
        finally:  # with a window left open the process would hang at its end
            if not self._closing:
                self._closing = True
                self._window.close()
        if self._error is not None:
            raise self._error

    # --- the frontend -----------------------------------------------------------------------------

    def load(self) -> None:
        scene_model, before = self._scene_model, self._view(1.0)
        self._scene.show(scene_model.xyz, scene_model.colours(), scene_model.centres)
        if len(scene_model.xyz):
            bounds = self._widget.scene.bounding_box  # its size decides how far the camera sees
            self._widget.setup_camera(FIELD_OF_VIEW, bounds, bounds.get_center())
            if self._is_set_up:  # it stays, and flies from there to another voxel
                self._widget.look_at(before.target, before.eye, before.up)
            self._is_set_up = True
        for label in self._labels:
            self._widget.remove_3d_label(label)
        self._tops = self._scene.pins(scene_model.centres) + [0, 0, 0.2]
        self._labels = [self._widget.add_3d_label(top, "") for top in self._tops]
        self._seen_from = np.zeros((4, 4))

    def repaint(self) -> None:
        scene_model, settings = self._scene_model, self._scene_model.settings
        self._scene.set_background(BACKGROUNDS[settings.background])
        ink = gui.Color(*INK[settings.background])
        for label in self._labels:
            label.color = ink
        if settings.point_size != self._scene.point_size:
            self._scene.set_point_size(settings.point_size)
        self._scene.recolour(scene_model.colours(), scene_model.pins())
        self._scene.hide(scene_model.hidden())
        current = self._controller.session.current
        centre = (
            None if current is None else scene_model.centres[scene_model.queries.index(current.id)]
        )
        self._scene.focus(scene_model.current(), scene_model.current_colours(), centre)
        self._scene.show_near(*scene_model.nearby())
        self._panel.repaint()
        self._redraws.begin()
        self._window.set_needs_layout()
        self._note_state()

    def _show_numbers(self) -> None:
        """Open3D mirrors the labels of what lies behind the camera into the picture."""
        matrix = np.asarray(self._widget.scene.camera.get_view_matrix())
        if np.array_equal(matrix, self._seen_from):
            return
        self._seen_from = matrix
        ahead = self._tops @ matrix[2, :3] + matrix[2, 3] < 0
        for label, query, shown in zip(self._labels, self._scene_model.queries, ahead, strict=True):
            label.text = str(query) if shown else ""

    def look_at_voxel(self) -> None:
        session = self._controller.session
        if session.view is None:
            return
        stop = preset_view(
            self._scene_model.settings.view, (session.view.low + session.view.high) / 2
        )
        start = self._view(float(np.linalg.norm(stop.eye - stop.target)))
        self._pilot.go(start, stop, time.monotonic())
        self._show_photo(self._controller.photo())

    def _view(self, distance: float) -> CameraView:
        return view_from_matrix(self._widget.scene.camera.get_view_matrix(), distance)

    def _place(self, view: CameraView) -> None:
        self._widget.look_at(view.target, view.eye, view.up)
        self._widget.force_redraw()

    def _show_photo(self, crop: NDArray[np.uint8] | None) -> None:
        """The camera's view of the voxel [H, W, 3], in a corner of the scene."""
        self._photo.visible = crop is not None
        if crop is not None:
            pixels = np.asarray(Image.fromarray(crop).resize((CROP, CROP)))
            self._photo.update_image(o3d.geometry.Image(np.ascontiguousarray(pixels)))

    def say(self, text: str, wrong: bool = False) -> None:
        self._panel.say(text, wrong)
        self._note_state()

    def ask(self, what: str) -> None:
        self._panel.ask(what)
        self._window.set_needs_layout()

    def show_help(self) -> None:
        self._help_box.visible = not self._help_box.visible
        self._window.set_needs_layout()

    def show_brush(self, on: bool) -> None:
        self._panel.say("paint with the mouse; hold Shift to erase" if on else "", False)

    # --- callbacks ----------------------------------------------------------------------------

    def _guarded(self, call: Callable[[], None]) -> Callable[[], None]:
        return lambda: self._controller.guard(call)

    def _key(self, event: gui.KeyEvent) -> bool:
        code, down = int(event.key), event.type == gui.KeyEvent.Type.DOWN
        if code in _CONTROL:
            self._control = down
        elif code in _SHIFT:
            self._shift = down
        name = _name(code)
        if not name or not down or self._state.dialog:
            return False
        self._pilot.end()
        if self._panel.is_asking:  # what is typed must not label
            self._controller.guard(lambda: self._panel.type(name, self._shift))
            self._redraws.begin()
            self._note_state()
            return True
        if event.is_repeat:
            return False
        key, known = f"ctrl+{name}" if self._control else name, []
        began = time.perf_counter()
        self._controller.guard(lambda: known.append(self._controller.press(key)))
        self._state.pressed(key, time.perf_counter() - began)
        self._note_state()
        return True

    def _mouse(self, event: gui.MouseEvent) -> gui.Widget.EventCallbackResult:
        kinds = gui.MouseEvent.Type
        if event.type in (kinds.BUTTON_DOWN, kinds.WHEEL):
            self._pilot.end()  # the camera is the person's
            self._controller.guard(self._controller.session.touch)
        if not self._controller.brushing or event.type == kinds.WHEEL:
            return gui.Widget.EventCallbackResult.IGNORED
        if event.type in (kinds.BUTTON_DOWN, kinds.DRAG):
            frame = self._widget.frame
            self._stroke.append((event.x - frame.x, event.y - frame.y))
        elif event.type == kinds.BUTTON_UP and self._stroke:
            stroke, self._stroke = self._stroke, []
            self._controller.guard(lambda: self._paint(stroke))
        return gui.Widget.EventCallbackResult.CONSUMED

    def _paint(self, stroke: list[tuple[float, float]]) -> None:
        met = brush(self._camera(), self._scene_model.current(), np.array(stroke), BRUSH_PIXELS)
        self._controller.paint(met, erase=self._shift)

    def _tick(self) -> bool:
        changed = []
        self._controller.guard(lambda: changed.append(self._controller.tick()))
        self._controller.guard(self._show_numbers)
        if self._pilot.is_flying:
            self._controller.guard(lambda: self._pilot.step(time.monotonic()))
            self._redraws.begin()
            self._note_state()
        if self._state.path is not None and self._state.moved(self._panel, self._widget):
            self._note_state()
        if due := self._redraws.due():
            self._widget.force_redraw()
        return any(changed) or due

    def _close(self) -> bool:
        """Escape comes here too, so only the dialog closes."""
        if not self._closing:
            self._controller.guard(self._ask_to_close)
        return self._closing

    def _ask_to_close(self) -> None:
        if self._state.dialog:  # Escape comes twice
            return
        answers = {"stay": self._guarded(self._stay), "close": self._quit}
        text = "Close the window? All answers are saved."
        dialog, self._state.dialog = question(text, answers, self._window.theme.font_size)
        self._window.show_dialog(dialog)
        self._note_state()

    def _stay(self) -> None:
        self._window.close_dialog()
        self._state.dialog = {}
        self._note_state()

    def _quit(self) -> None:
        self._window.close_dialog()
        self._closing = True
        self._window.close()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._closing = True
        self._window.close()

    def _layout(self, context: gui.LayoutContext) -> None:
        whole, width = self._window.content_rect, int(PANEL_EM * context.theme.font_size)
        split = whole.get_right() - width
        self._widget.frame = gui.Rect(whole.x, whole.y, split - whole.x, whole.height)
        self._panel.place(gui.Rect(split, whole.y, width, whole.height), context)
        margin = context.theme.font_size
        right, bottom = split - margin, whole.get_bottom() - margin
        self._photo.frame = gui.Rect(right - CROP, bottom - CROP, CROP, CROP)
        self._panel.text.frame = gui.Rect(
            whole.x + margin, whole.y + margin, min(30 * margin, split - 2 * margin), 2 * margin
        )
        self._help_box.frame = gui.Rect(
            whole.x + margin,
            whole.y + margin,
            split - whole.x - 2 * margin,
            whole.height - 2 * margin,
        )
        self._note_state()

    def _camera(self) -> Camera:
        camera, frame = self._widget.scene.camera, self._widget.frame
        return Camera(
            np.asarray(camera.get_view_matrix(), np.float64),
            np.asarray(camera.get_projection_matrix(), np.float64),
            frame.width,
            frame.height,
        )

    def _note_state(self) -> None:
        if self._state.path is not None:
            self._state.write(
                self._controller,
                self._panel,
                self._camera,
                self._widget,
                self._help_box.visible,
                self._pilot.is_flying,
            )


def _name(code: int) -> str:
    """What the key table calls a key; "" for others."""
    return _KEYPAD.get(code) or _NAMED.get(code) or (chr(code).lower() if 44 <= code < 123 else "")
