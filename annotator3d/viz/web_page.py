"""The page in the browser: `controller.Skin` over viser's widgets."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from annotator3d.active.keys import Action, KeyTable
from annotator3d.active.picking import Camera, pick_on_ray, rectangle
from annotator3d.viz import panel_text
from annotator3d.viz.choices import Choice, choices
from annotator3d.viz.colours import BACKGROUNDS, Colours
from annotator3d.viz.controller import Controller
from annotator3d.viz.flight import Pilot
from annotator3d.viz.picture import Picture
from annotator3d.viz.views import FIELD_OF_VIEW, PIN, View, perspective, view_of

_METRES_PER_PIXEL = 0.006  # viser measures points in metres
_BRUSH_METRES = 0.06
_ARROWS = ("left", "right", "up", "down")


class WebPage:
    """A `controller.Skin` in one browser."""

    def __init__(
        self,
        client: Any,
        picture: Picture,
        keys: KeyTable,
        enqueue: Callable[[Callable[[], None]], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self._client, self._gui, self._scene = client, client.gui, client.scene
        self._enqueue, self._end = enqueue, end
        self.picture = picture
        self.controller = Controller(picture.session, keys, picture, self, end)
        self._pilot = Pilot(self._place, picture.look.flies)
        self._cloud = self._current = self._pins = None
        self._build(keys)
        client.camera.fov = np.radians(FIELD_OF_VIEW)
        self._scene.set_up_direction("+z")
        self._scene.on_click()(self._later(self._clicked))
        self._scene.on_click(modifier="shift")(self._later(self._clicked))
        self.controller.guard(self.controller.start)

    # --- the skin -----------------------------------------------------------------------------

    def load(self) -> None:
        picture = self.picture
        for name in ("/cloud", "/pins", "/lines"):
            self._scene.remove_by_name(name)
        self._cloud = self._pins = None
        self._hiding = False
        if len(picture.xyz):
            self._cloud = self._points("/cloud", picture.xyz, picture.colours(), 0)
        if len(picture.centres):
            tops = picture.centres + [0, 0, PIN]
            self._pins = self._points("/pins", tops.astype(np.float32), picture.pins(), 7)
            stems = np.stack([picture.centres, tops], 1)
            self._scene.add_line_segments("/lines", stems, (190, 190, 50), thickness=0.02)
        for number in getattr(self, "_numbers", []):
            number.remove()
        self._numbers = [
            self._scene.add_label(f"/number/{query}", str(query), position=tuple(top))
            for query, top in zip(picture.queries, picture.centres + [0, 0, PIN + 0.2], strict=True)
        ]

    def repaint(self) -> None:
        picture, look, session = self.picture, self.picture.look, self.controller.session
        if self._cloud is not None:
            self._hide(picture.hidden())
            self._cloud.colors = _bytes(picture.colours())
            self._cloud.point_size = look.point_size * _METRES_PER_PIXEL
            self._pins.colors = _bytes(picture.pins())
        points = picture.current()
        self._scene.remove_by_name("/current")
        self._scene.remove_by_name("/box")
        if len(points):
            self._current = self._points("/current", points, picture.current_colours(), 4)
            size = session.ledger.voxel_size * 1.06
            self._scene.add_box(
                "/box", (255, 64, 26), (size,) * 3, wireframe=True,
                position=tuple((session.view.low + session.view.high) / 2),
            )  # fmt: skip
        backdrop = (np.array(BACKGROUNDS[look.background][:3]) * 255).astype(np.uint8)
        self._scene.set_background_image(np.tile(backdrop, (2, 2, 1)))
        self._text.content = _escaped(
            panel_text.progress(session),
            panel_text.heading(session),
            panel_text.offers(session),
        )
        done = session.progress
        self._bar.value = 100 * done.settled / max(done.total, 1)
        for choice, widget in self._lists:
            if widget.value != choice.chosen():
                widget.value = choice.chosen()
        counts = session.class_voxels.tolist()
        for label, (button, caption) in self._classes.items():
            button.label = f"{caption}  ({counts[label]})" if counts[label] else caption

    def _hide(self, hidden: np.ndarray | None) -> None:
        """The points are sent anew only where other ones are hidden than before."""
        if hidden is None and not self._hiding:
            return
        self._hiding, shown = hidden is not None, self.picture.xyz
        if hidden is not None:
            shown = np.where(hidden[:, None], np.float32([0, 0, -1e4]), shown)
        self._cloud.points = shown

    def look_at_voxel(self) -> None:
        session = self.controller.session
        if session.view is None:
            return
        stop = view_of(self.picture.look.view, (session.view.low + session.view.high) / 2)
        self._pilot.go(self._view(), stop, time.monotonic())
        crop = self.controller.photo()
        self._image.visible = crop is not None
        if crop is not None:
            self._image.image = crop

    def _view(self) -> View:
        camera = self._client.camera
        return View(np.array(camera.position), np.array(camera.look_at), camera.up_direction)

    def _place(self, view: View) -> None:
        camera = self._client.camera
        with self._client.atomic():
            camera.up_direction = tuple(view.up)
            camera.position, camera.look_at = tuple(view.eye), tuple(view.target)

    @property
    def is_flying(self) -> bool:
        return self._pilot.is_flying

    def tick(self) -> None:
        """Called again and again, often while the camera flies."""
        self._pilot.step(time.monotonic())
        self.controller.tick()

    def say(self, text: str, wrong: bool = False) -> None:
        colour = "#ff8066" if wrong else "#bfe6bf"
        self._message.content = f'<p style="color:{colour};margin:0 1em">{html.escape(text)}</p>'

    def ask(self, what: str) -> None:
        modal = self._gui.add_modal({"note": "Note", "go to": "Go to voxel"}[what])
        with modal:
            text, done = self._gui.add_text("", ""), self._gui.add_button("Done")

        def finish() -> None:
            modal.close()
            if text.value.strip():
                write = {"note": self.controller.write_note, "go to": self.controller.go_to}
                write[what](text.value)

        done.on_click(self._later(lambda _: finish()))

    def show_help(self) -> None:
        self._help.visible = not self._help.visible

    def show_brush(self, on: bool) -> None:
        self.say("drag a box over points, or click at them; with Shift, erase" if on else "")
        if on:  # meanwhile the mouse does not turn the camera
            for modifier in (None, "shift"):
                self._scene.on_rect_select(modifier=modifier)(self._later(self._dragged))
        else:
            self._scene.remove_rect_select_callback("all")

    # --- what it is made of -------------------------------------------------------------------

    def _build(self, keys: KeyTable) -> None:
        session, gui = self.controller.session, self._gui
        self._bar = gui.add_progress_bar(0.0)
        self._text, self._message = gui.add_html(""), gui.add_html("")
        self._classes: dict[int, tuple[Any, str]] = {}
        with gui.add_folder("Classes"):
            for label in range(len(session.class_names)):
                action = keys.named(f"class {label}")
                colour = tuple(int(c) for c in _bytes(self.picture.palette[label]))
                button = gui.add_button(action.caption, color=colour, hint=action.help)
                button.on_click(self._doing(action.name))
                self._classes[label] = (button, action.caption)
        with gui.add_folder("Actions"):
            for action in keys.actions:
                if not action.name.startswith("class "):
                    button = gui.add_button(action.caption, hint=action.help)
                    button.on_click(self._doing(action.name))
        with gui.add_folder("View"):
            self._choices()
        lines = "<br>".join(html.escape(line) for line in panel_text.help_lines(keys))
        self._help = gui.add_html(f'<p style="margin:0 1em">{lines}</p>', visible=False)
        self._image = gui.add_image(np.zeros((8, 8, 3), np.uint8), visible=False)
        gui.add_button("Close", hint="end the session; all answers are kept").on_click(
            lambda _: self._end(None)
        )
        for action in keys.actions:
            if action.key is not None:
                self._hotkey(action)

    def _choices(self) -> None:
        self._lists = [
            (
                choice,
                self._gui.add_dropdown(choice.text, choice.options, initial_value=choice.chosen()),
            )
            for choice in choices(self.controller)
        ]
        for choice, widget in self._lists:
            widget.on_update(self._later(lambda _, c=choice, w=widget: _choose(c, w.value)))
        names = self.controller.session.class_names
        hide = self._gui.add_dropdown("show or hide", ("-", *names))

        def toggled(_: Any) -> None:
            if hide.value != "-":
                label = names.index(hide.value)
                hidden = self.picture.look.hidden
                self.controller.hide_class(label, label not in hidden)
                hide.value = "-"

        hide.on_update(self._later(toggled))

    def _hotkey(self, action: Action) -> None:
        modifier, _, key = action.key.rpartition("+")
        name = f"arrow{key}" if key in _ARROWS else key.upper() if len(key) == 1 else key
        command = self._gui.add_command(
            action.text,
            description=action.help,
            hotkey=name,
            modifier="cmd/ctrl" if modifier else None,
        )
        command.on_trigger(self._doing(action.name))

    def _doing(self, name: str) -> Callable[[Any], None]:
        return self._later(lambda _: self.controller.act(name))

    def _later(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        """viser calls from threads of its own; the session wants one."""

        def arrived(event: Any) -> None:
            self._pilot.end()
            call(event)

        return lambda event: self._enqueue(lambda: self.controller.guard(lambda: arrived(event)))

    def _clicked(self, event: Any) -> None:
        """With the brush: the points around the one that the ray meets first."""
        self.controller.session.touch()
        points = self.picture.current()
        if not self.controller.brushing or not len(points):
            return
        met = pick_on_ray(event.ray_origin, event.ray_direction, points)
        if met is not None:
            near = np.linalg.norm(points - points[met], axis=1) <= _BRUSH_METRES
            self.controller.paint(near, erase=event.modifier == "shift")

    def _dragged(self, event: Any) -> None:
        """With the brush: the points inside a box that was drawn."""
        points, camera = self.picture.current(), self._client.camera
        if not self.controller.brushing or not len(points):
            return
        matrices = perspective(self._view(), np.degrees(camera.fov), camera.aspect)
        seen = Camera(*matrices, 1, 1)  # viser counts from 0 to 1
        met = rectangle(seen, points, event.screen_min, event.screen_max)
        self.controller.paint(met, erase=event.modifier == "shift")

    def _points(self, name: str, xyz: np.ndarray, colours: Colours, larger: int) -> Any:
        size = (self.picture.look.point_size + larger) * _METRES_PER_PIXEL
        return self._scene.add_point_cloud(
            name,
            np.ascontiguousarray(xyz, np.float32),
            _bytes(colours),
            point_size=size,
            point_shape="circle",
            point_shading="flat",
            precision="float32",  # of 80 m, float16 keeps 6 cm
        )


def _choose(choice: Choice, option: str) -> None:
    if option != choice.chosen():  # by the person, not set by `repaint` itself
        choice.choose(option)


def _bytes(colours: np.ndarray) -> np.ndarray:
    return (np.asarray(colours) * 255).astype(np.uint8)


def _escaped(*paragraphs: str) -> str:
    lines = ("<br>".join(html.escape(line) for line in p.splitlines()) for p in paragraphs if p)
    return "".join(f'<p style="margin:0.3em 1em">{text}</p>' for text in lines)
