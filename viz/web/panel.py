"""The panels of the page: progress and classes on the right, everything else on the left."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator3d.viz import panel_text
from annotator3d.viz.controller import Controller
from annotator3d.viz.dropdowns import Dropdown, dropdowns
from annotator3d.viz.keys import KeyAction, KeyTable

LEFT_PIXELS, HELP_PIXELS = 250, (620, 680)
_PLAIN = (75, 75, 80)
_ARROWS = ("left", "right", "up", "down")
Later = Callable[[Callable[[Any], None]], Callable[[Any], None]]


class WebPanel:
    """Widgets of viser.

    Args:
        gui: of one client.
        controller: called by buttons, keys and lists.
        keys: the table of actions.
        later: makes a callback that runs in the session's thread.
        close: ends the session.
    """

    def __init__(
        self,
        gui: Any,
        controller: Controller,
        keys: KeyTable,
        later: Later,
        close: Callable[[], None],
    ) -> None:
        self._gui, self._controller, self._later = gui, controller, later
        self._bar = gui.add_progress_bar(0.0)
        self._text, self._message, self._seen = (gui.add_html("") for _ in range(3))
        with gui.add_folder("Classes"):
            self._classes = self._class_buttons(keys)
        self._image = gui.add_image(np.zeros((8, 8, 3), np.uint8), visible=False)
        left = gui.add_panel()
        with left.add_tab("Actions"):
            for action in keys.actions:
                if not action.name.startswith("class "):
                    button = gui.add_button(action.caption, color=_PLAIN, hint=action.help)
                    button.on_click(self._doing(action))
            end = gui.add_button(
                "Close", color=_PLAIN, hint="end the session; all answers are saved"
            )
            end.on_click(lambda _: close())
        with left.add_tab("View"):
            self._lists = self._choices()
        left.dock_left()
        left.set_width(LEFT_PIXELS)
        self._help = gui.add_panel(visible=False)
        with self._help.add_tab("Keys"):
            gui.add_html(_table(keys))
        for action in keys.actions:
            if action.key is not None:
                self._hotkey(action)

    def repaint(self) -> None:
        """Show the present state of the session."""
        self.show_seen()  # first: who waits for the rest must not find the state before
        session = self._controller.session
        texts = (panel_text.progress, panel_text.heading, panel_text.offers)
        self._text.content = _escaped(*(text(session) for text in texts))
        done = session.progress
        self._bar.value = 100 * done.settled / max(done.total, 1)
        for dropdown, widget in self._lists:
            if widget.value != dropdown.chosen():
                widget.value = dropdown.chosen()
        counts = session.class_voxels.tolist()
        for label, (button, caption) in self._classes.items():
            button.label = f"{caption} · {counts[label]}" if counts[label] else caption

    def show_seen(self) -> None:
        """Show whether answers count; for programs that drive the page, in ``data-seen``."""
        seen = str(self._controller.is_seen).lower()
        self._seen.content = f'<div data-seen="{seen}"></div>'

    def say(self, text: str, wrong: bool) -> None:
        colour = "#ff8066" if wrong else "#bfe6bf"
        self._message.content = f'<p style="color:{colour};margin:0 1em">{html.escape(text)}</p>'

    def ask(self, what: str) -> None:
        """Ask for a ``note``, or for the number to ``go to``."""
        modal = self._gui.add_modal({"note": "Note", "go to": "Go to voxel"}[what])
        with modal:
            text, done = self._gui.add_text("", ""), self._gui.add_button("Done")

        def finish() -> None:
            modal.close()
            if text.value.strip():
                write = {"note": self._controller.write_note, "go to": self._controller.go_to}
                write[what](text.value)

        done.on_click(self._later(lambda _: finish()))

    def toggle_help(self) -> None:
        self._help.visible = not self._help.visible
        if self._help.visible:
            width, height = HELP_PIXELS
            self._help.float(x=20, y=20, width=width, height=height)

    def show_photo(self, crop: NDArray[np.uint8] | None) -> None:
        """Show the camera's image of the voxel [H, W, 3], or nothing."""
        self._image.visible = crop is not None
        if crop is not None:
            self._image.image = crop

    def _class_buttons(self, keys: KeyTable) -> dict[int, tuple[Any, str]]:
        made = {}
        for label, colour in enumerate(self._controller.scene_model.palette):
            action = keys.named(f"class {label}")
            shade = tuple(int(255 * part) for part in colour)
            button = self._gui.add_button(action.caption, color=shade, hint=action.help)
            button.on_click(self._doing(action))
            made[label] = button, action.caption
        return made

    def _choices(self) -> list[tuple[Dropdown, Any]]:
        made = []
        for dropdown in dropdowns(self._controller):
            options, chosen = dropdown.options, dropdown.chosen()
            widget = self._gui.add_dropdown(dropdown.text, options, initial_value=chosen)
            widget.on_update(self._later(lambda _, c=dropdown, w=widget: _choose(c, w.value)))
            made.append((dropdown, widget))
        names = self._controller.session.class_names
        hide = self._gui.add_dropdown("show or hide class", ("-", *names))

        def toggled(_: Any) -> None:
            if hide.value != "-":
                label = names.index(hide.value)
                hidden = self._controller.scene_model.settings.hidden
                self._controller.view.hide_class(label, label not in hidden)
                hide.value = "-"

        hide.on_update(self._later(toggled))
        return made

    def _hotkey(self, action: KeyAction) -> None:
        modifier, _, key = action.key.rpartition("+")
        name = f"arrow{key}" if key in _ARROWS else key.upper() if len(key) == 1 else key
        command = self._gui.add_command(
            action.text,
            description=action.help,
            hotkey=name,
            modifier="cmd/ctrl" if modifier else None,
        )
        command.on_trigger(self._doing(action))

    def _doing(self, action: KeyAction) -> Callable[[Any], None]:
        return self._later(lambda _: self._controller.act(action.name))


def _choose(dropdown: Dropdown, option: str) -> None:
    if option != dropdown.chosen():  # by the person, not set by `repaint` itself
        dropdown.choose(option)


def _table(keys: KeyTable) -> str:
    cell = '<td style="padding:0 0.6em;white-space:nowrap">'
    rows = (
        f"<tr>{cell}<b>{html.escape(key)}</b></td>{cell}{html.escape(text)}</td>"
        f"<td>{html.escape(help)}</td></tr>"
        for key, text, help in keys.help()
    )
    return f'<table style="font-size:0.85em;margin:0 0.5em">{"".join(rows)}</table>'


def _escaped(*paragraphs: str) -> str:
    lines = ("<br>".join(html.escape(line) for line in p.splitlines()) for p in paragraphs if p)
    return "".join(f'<p style="margin:0.3em 1em">{text}</p>' for text in lines)
