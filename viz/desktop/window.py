"""The window: the 3D view and the panel over a labelling session.

Findings in Open3D 0.19 and 0.20 decide some of it: keys arrive reliably at the window only; Escape
always asks to close, so closing is confirmed with the mouse; an exception that leaves a callback
hangs the process, so each callback runs in a guard; points are picked by projection, since the
depth buffer differs between the versions.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from open3d.visualization import gui

from annotator3d.annotation.session import LabelSession
from annotator3d.viz import panel_text
from annotator3d.viz.colours import Colours
from annotator3d.viz.controller import Controller
from annotator3d.viz.desktop.keyboard import Keyboard
from annotator3d.viz.desktop.overlays import Overlays
from annotator3d.viz.desktop.panel import Panel, question
from annotator3d.viz.desktop.redraws import Redraws
from annotator3d.viz.desktop.scene_view import SceneView
from annotator3d.viz.desktop.stop_signals import StopSignals
from annotator3d.viz.keys import KeyTable
from annotator3d.viz.picking import brush
from annotator3d.viz.scene_model import SceneModel
from annotator3d.viz.state_file import StateFile
from annotator3d.viz.view_settings import ViewSettings

PANEL_EM = 34  # width of the panel
BRUSH_PIXELS = 12.0


class LabelWindow:
    """A `frontend.Frontend` in a window of its own; `run` returns when it is closed.

    Args:
        session: the labels; the caller closes it.
        keys: the table of actions.
        palette: [C, 3] RGB 0..1 of the classes.
        settings: the choices at the start.
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
            self._build(keys, SceneModel(session, palette, settings))
        except BaseException:
            self._window.close()
            raise

    def _build(self, keys: KeyTable, scene_model: SceneModel) -> None:
        self._error: Exception | None = None
        self._stops = StopSignals()
        self._closing = False
        self._stroke: list[tuple[float, float]] = []
        self._keyboard = Keyboard()
        self._state = StateFile(os.environ.get("ANNOTATOR3D_VIEWER_STATE"))
        self._session, self._scene_model = scene_model.session, scene_model
        self._controller = Controller(scene_model.session, keys, scene_model, self, self._fail)
        self._view = SceneView(scene_model, self._window.renderer)
        self._redraws = Redraws(self._view.flush)
        em = self._window.theme.font_size
        self._overlays = Overlays(panel_text.help_lines(keys), em)
        self._panel = panel = Panel(self._controller, self._guarded, em)
        panel.quit.set_on_clicked(self._guarded(self._ask_to_close))
        over = self._overlays.photo, panel.text, self._overlays.help
        for child in (self._view.widget, panel.above, panel.classes, panel.below, *over):
            self._window.add_child(child)
        self._window.set_on_layout(self._layout)
        self._window.set_on_key(self._key)
        self._window.set_on_close(self._close)
        self._window.set_on_tick_event(self._tick)
        self._view.widget.set_on_mouse(self._mouse)

    def run(self) -> None:
        """Show the window until it is closed; raises the error that ended it, if there was one."""
        try:
            self._controller.guard(self._controller.start)
            with self._stops:
                self._app.run()
        finally:  # with a window left open the process would hang at its end
            if not self._closing:
                self._closing = True
                self._window.close()
        if self._error is not None:
            raise self._error

    # --- the frontend -------------------------------------------------------------------------

    def load(self) -> None:
        self._view.load()

    def repaint(self) -> None:
        self._view.repaint()
        self._panel.repaint()
        self._redraws.begin()
        self._window.set_needs_layout()
        self._note_state()

    def look_at_voxel(self) -> None:
        view = self._session.view
        if view is not None:
            self._view.fly_to((view.low + view.high) / 2)
            self._overlays.show_photo(self._controller.photo())

    def say(self, text: str, wrong: bool = False) -> None:
        self._panel.say(text, wrong)
        self._note_state()

    def when_drawn(self, done: Callable[[], None]) -> None:
        def drawn() -> None:
            done()
            self._note_state()

        self._redraws.when_drawn(drawn)

    def ask(self, what: str) -> None:
        self._panel.ask(what)
        self._window.set_needs_layout()

    def show_help(self) -> None:
        self._overlays.help.visible = not self._overlays.help.visible
        self._window.set_needs_layout()

    def show_brush(self, on: bool) -> None:
        self._panel.say("paint with the mouse; hold Shift to erase" if on else "", False)

    # --- callbacks ----------------------------------------------------------------------------

    def _guarded(self, call: Callable[[], None]) -> Callable[[], None]:
        return lambda: self._controller.guard(call)

    def _key(self, event: gui.KeyEvent) -> bool:
        name = self._keyboard.pressed(event)
        if not name or self._state.dialog:
            return False
        self._view.pilot.end()
        if self._panel.is_asking:  # what is typed must not label
            self._controller.guard(lambda: self._panel.type(name, self._keyboard.shift))
            self._redraws.begin()
            self._note_state()
            return True
        if event.is_repeat:
            return False
        key = f"ctrl+{name}" if self._keyboard.control else name
        began = time.perf_counter()
        self._controller.guard(lambda: self._controller.press(key))
        self._state.pressed(key, time.perf_counter() - began)
        self._note_state()
        return True

    def _mouse(self, event: gui.MouseEvent) -> gui.Widget.EventCallbackResult:
        kinds = gui.MouseEvent.Type
        if event.type in (kinds.BUTTON_DOWN, kinds.WHEEL):
            self._view.pilot.end()  # the person moves the camera now
            self._controller.guard(self._session.touch)
        if event.type in (kinds.BUTTON_UP, kinds.WHEEL):
            self._redraws.begin()  # the last frame of a movement may not be dropped either
        if not self._controller.brushing or event.type == kinds.WHEEL:
            return gui.Widget.EventCallbackResult.IGNORED
        if event.type in (kinds.BUTTON_DOWN, kinds.DRAG):
            frame = self._view.widget.frame
            self._stroke.append((event.x - frame.x, event.y - frame.y))
        elif event.type == kinds.BUTTON_UP and self._stroke:
            stroke, self._stroke = self._stroke, []
            self._controller.guard(lambda: self._paint(stroke))
        return gui.Widget.EventCallbackResult.CONSUMED

    def _paint(self, stroke: list[tuple[float, float]]) -> None:
        points = self._scene_model.current()
        painted = brush(self._view.camera(), points, np.array(stroke), BRUSH_PIXELS)
        self._controller.paint(painted, erase=self._keyboard.shift)

    def _tick(self) -> bool:
        if self._stops.number and not self._closing:
            self._closing = True  # not here: a window that is closed within its tick crashes
            self._app.post_to_main_thread(self._window, self._window.close)
            return False
        changed = []
        self._controller.guard(lambda: changed.append(self._controller.tick()))
        self._controller.guard(self._view.show_numbers)
        if self._view.pilot.is_flying:
            self._controller.guard(lambda: self._view.pilot.step(time.monotonic()))
            self._redraws.begin()
            self._note_state()
        if self._state.path is not None and self._state.moved(self._panel, self._view.widget):
            self._note_state()
        if self._redraws.tick():
            self._view.widget.force_redraw()
        return any(changed) or self._redraws.is_pending

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
        whole, em = self._window.content_rect, context.theme.font_size
        width = int(PANEL_EM * em)
        scene = gui.Rect(whole.x, whole.y, whole.width - width, whole.height)
        self._view.widget.frame = scene
        self._overlays.place(scene)
        self._panel.text.frame = gui.Rect(
            whole.x + em, whole.y + em, min(30 * em, scene.width - 2 * em), 2 * em
        )
        panel = gui.Rect(scene.get_right(), whole.y, width, whole.height)
        self._panel.place(panel, context)
        self._note_state()

    def _note_state(self) -> None:
        if self._state.path is not None:
            is_open = self._overlays.help.visible
            self._state.write(self._controller, self._panel, self._view, is_open)
