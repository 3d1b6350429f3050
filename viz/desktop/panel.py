"""The panel beside the scene: classes, actions, progress and choices of view, in Open3D's widgets.

Text of Open3D's buttons is always light, so a class has a swatch of its colour beside a plain one.
"""

from __future__ import annotations

from collections.abc import Callable

import open3d as o3d
from open3d.visualization import gui

from annotator3d.viz import panel_text
from annotator3d.viz.controller import Controller
from annotator3d.viz.dropdowns import Dropdown, dropdowns
from annotator3d.viz.keys import KeyAction
from annotator3d.viz.scene_model import swatch

ABOVE_EM = 13  # height of the text about the voxel
_WRONG, _FINE = gui.Color(1.0, 0.45, 0.35), gui.Color(0.75, 0.9, 0.75)


class Panel:
    """The widgets and their callbacks.

    Attributes:
        above, classes, below: to be added to the window; `place` lays them out.
        text: the field for notes and numbers; the window lays it out.
        buttons: action name -> its button.
        quit: the button for closing.
    """

    def __init__(
        self, controller: Controller, guarded: Callable[[Callable[[], None]], Callable], em: float
    ) -> None:
        self._controller, self._guarded, self._em = controller, guarded, em
        self.buttons: dict[str, gui.Button] = {}
        self._combos: list[tuple[Dropdown, gui.Combobox]] = []
        self._hides: list[gui.Checkbox] = []
        margins = gui.Margins(0.5 * em, 0.25 * em, 0.5 * em, 0.25 * em)
        self.above, self.below = gui.Vert(0.25 * em, margins), gui.Vert(0.25 * em, margins)
        self._heading, self._offers, self.message = gui.Label(""), gui.Label(""), gui.Label("")
        self._bar, self._progress = gui.ProgressBar(), gui.Label("")
        self.text = gui.TextEdit()
        self.text.visible = False
        self._asked = ""
        self.text.set_on_value_changed(lambda value: guarded(lambda: self._typed(value))())
        for widget in (self._bar, self._progress, self._heading, self._offers, self.message):
            self.above.add_child(widget)
        self.classes = self._classes()
        self.quit = self._button("Close ...", "close the window; all answers are saved")
        self._actions()
        self._choices()

    def place(self, frame: gui.Rect, context: gui.LayoutContext) -> None:
        """Lay out: above and below take what they need; the classes take the rest and scroll."""
        top = int(ABOVE_EM * self._em)
        rest = gui.Widget.Constraints()
        rest.width, rest.height = frame.width, frame.height
        bottom = min(self.below.calc_preferred_size(context, rest).height, frame.height - 2 * top)
        x, y, width = frame.x, frame.y, frame.width
        self.above.frame = gui.Rect(x, y, width, top)
        self.classes.frame = gui.Rect(x, y + top, width, frame.height - top - bottom)
        self.below.frame = gui.Rect(x, y + frame.height - bottom, width, bottom)

    def repaint(self) -> None:
        """Show the present state of the session."""
        session, settings = self._controller.session, self._controller.scene_model.settings
        done = session.progress
        self._bar.value = done.settled / max(done.total, 1)
        self._progress.text = panel_text.progress(session)
        self._heading.text = panel_text.heading(session)
        self._offers.text = panel_text.offers(session)
        for label, count in zip(self._counts, session.class_voxels.tolist(), strict=True):
            label.text = str(count) if count else ""
        if "accept" in self.buttons:
            self.buttons["accept"].enabled = bool(session.proposals)
        self.buttons["undo"].enabled, self.buttons["redo"].enabled = (
            session.can_undo,
            session.can_redo,
        )
        for dropdown, combo in self._combos:
            combo.selected_index = dropdown.options.index(dropdown.chosen())
        for label, box in enumerate(self._hides):
            box.checked = label not in settings.hidden

    def say(self, text: str, wrong: bool) -> None:
        self.message.text, self.message.text_color = text, _WRONG if wrong else _FINE

    @property
    def is_asking(self) -> bool:
        """Whether a text is asked for."""
        return self.text.visible

    def ask(self, what: str) -> None:
        """Ask for a text; Enter ends it, and so does asking again."""
        self._asked = "" if self._asked == what else what
        self.text.placeholder_text = {
            "note": "type a note, then press Enter",
            "go to": "type a number, then press Enter",
        }[what]
        self.text.text_value, self.text.visible = "", bool(self._asked)

    def type(self, key: str, upper: bool) -> None:
        """Add a key to the text: Open3D gives keys to the field only after a click on it."""
        text = self.text.text_value
        if key == "enter":
            self._typed(text)
        elif key == "backspace":
            self.text.text_value = text[:-1]
        else:
            letter = {"space": " "}.get(key, key if len(key) == 1 else "")
            self.text.text_value = text + (letter.upper() if upper else letter)

    def _typed(self, value: str) -> None:
        asked, self._asked, self.text.visible = self._asked, "", False
        self.text.text_value = ""
        if asked and value.strip():
            write = {"note": self._controller.write_note, "go to": self._controller.go_to}
            write[asked](value)

    def _classes(self) -> gui.ScrollableVert:
        """Two columns; each row: a box to show or hide, the colour, the button, the answers."""
        em, names = self._em, self._controller.session.class_names
        box, columns = gui.ScrollableVert(0, gui.Margins(0.5 * em, 0, 0.5 * em, 0)), gui.Horiz(em)
        self._counts = [gui.Label("    ") for _ in names]
        half = (len(names) + 1) // 2
        for start in (0, half):
            column = gui.Vert(0.15 * em)
            for label in range(start, min(start + half, len(names))):
                column.add_child(self._class(label, names[label]))
            columns.add_child(column)
        box.add_child(gui.Label("show points, class [key], number of answers"))
        box.add_child(columns)
        return box

    def _class(self, label: int, name: str) -> gui.Horiz:
        controller, row, hide = self._controller, gui.Horiz(0.4 * self._em), gui.Checkbox("")
        action = controller.keys.named(f"class {label}")
        square = gui.ImageWidget(o3d.geometry.Image(swatch(controller.scene_model.palette[label])))
        hide.tooltip = f"show the points of {name}"
        hide.checked = True
        hide.set_on_checked(self._hider(label))
        self._hides.append(hide)
        for widget in (hide, square, self._action(action)):
            row.add_child(widget)
        row.add_child(self._counts[label])
        return row

    def _actions(self) -> None:
        grid = gui.VGrid(4, 0.15 * self._em)
        for action in self._controller.keys.actions:
            if not action.name.startswith("class "):
                grid.add_child(self._action(action))
        grid.add_child(self.quit)
        self.below.add_child(grid)

    def _choices(self) -> None:
        """Two lists in a row, so that everything fits without scrolling."""
        grid = gui.VGrid(4, 0.25 * self._em)
        for dropdown in dropdowns(self._controller):
            combo = self._combo(dropdown)
            self._combos.append((dropdown, combo))
            grid.add_child(gui.Label(dropdown.text))
            grid.add_child(combo)
        self.below.add_child(grid)

    def _hider(self, label: int) -> Callable[[bool], None]:
        hide = self._controller.view.hide_class
        return lambda shown: self._guarded(lambda: hide(label, not shown))()

    def _action(self, action: KeyAction) -> gui.Button:
        button = self._button(action.caption, action.help)
        button.set_on_clicked(self._guarded(lambda: self._controller.act(action.name)))
        self.buttons[action.name] = button
        return button

    def _button(self, caption: str, help: str) -> gui.Button:
        button = gui.Button(caption)
        button.tooltip = help
        button.horizontal_padding_em, button.vertical_padding_em = 0.4, 0
        return button

    def _combo(self, dropdown: Dropdown) -> gui.Combobox:
        combo = gui.Combobox()
        for option in dropdown.options:
            combo.add_item(option)
        combo.set_on_selection_changed(
            lambda option, _: self._guarded(lambda: dropdown.choose(option))()
        )
        return combo


def question(
    text: str, answers: dict[str, Callable[[], None]], em: float
) -> tuple[gui.Dialog, dict[str, gui.Button]]:
    """A dialog with a button for each answer; `em` is the size of the font in pixels."""
    dialog, buttons = gui.Dialog(text), {}
    box, row = gui.Vert(em, gui.Margins(em, em, em, em)), gui.Horiz(em)
    box.add_child(gui.Label(text))
    for answer, call in answers.items():
        buttons[answer] = gui.Button(answer.capitalize())
        buttons[answer].set_on_clicked(call)
        row.add_child(buttons[answer])
    box.add_child(row)
    dialog.add_child(box)
    return dialog, buttons
