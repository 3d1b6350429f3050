"""Open3D's key events as names of the key table."""

from __future__ import annotations

from open3d.visualization import gui

_KEYPAD = {320 + digit: str(digit) for digit in range(10)}  # GLFW's numbers; no KeyName has them
_NAMED = {
    int(getattr(gui.KeyName, name.upper())): name
    for name in ("left", "right", "up", "down", "space", "enter", "backspace")
}
_CONTROL = {int(gui.KeyName.LEFT_CONTROL), int(gui.KeyName.RIGHT_CONTROL)}
_SHIFT = {int(gui.KeyName.LEFT_SHIFT), int(gui.KeyName.RIGHT_SHIFT)}


class Keyboard:
    """Follows the modifier keys, which Open3D reports as keys of their own.

    Attributes:
        control, shift: whether they are held down.
    """

    def __init__(self) -> None:
        self.control = self.shift = False

    def pressed(self, event: gui.KeyEvent) -> str:
        """The name of the key that goes down, without its modifiers; "" for anything else."""
        code, down = int(event.key), event.type == gui.KeyEvent.Type.DOWN
        if code in _CONTROL:
            self.control = down
        elif code in _SHIFT:
            self.shift = down
        return _name(code) if down else ""


def _name(code: int) -> str:
    return _KEYPAD.get(code) or _NAMED.get(code) or (chr(code).lower() if 44 <= code < 123 else "")
