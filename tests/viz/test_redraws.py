"""Every change reaches the screen with a renderer that drops frames; what is told of it is true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from annotator3d.viz.desktop.redraws import Redraws


class Renderer:
    """Finishes a frame after some ticks, and drops frames while one is unfinished.

    `tick` is one turn of the window's loop: events, `Redraws.tick`, drawing.
    """

    def __init__(self, ticks_per_frame: int) -> None:
        self.ticks_per_frame, self._busy = ticks_per_frame, 0
        self._drawing = self.screen = self.shown = 0  # changes
        self._flushes = []
        self.redraws = Redraws(self._flushes.append)
        self.drawn = 0  # frames of the scene that were not dropped

    def change(self) -> None:
        self.shown += 1
        self.redraws.begin()

    def tick(self) -> None:
        self._pass_time(1)
        draws = self.redraws.tick()
        if self._flushes:
            self._pass_time(self._busy)
            finished, self._flushes[:] = list(self._flushes), []
            for call in finished:
                call()
        if draws and not self._busy:
            self._drawing, self._busy = self.shown, self.ticks_per_frame
            self.drawn += 1

    def _pass_time(self, ticks: int) -> None:
        if self._busy:
            self._busy = max(0, self._busy - ticks)
            if not self._busy:
                self.screen = self._drawing


@given(st.integers(1, 50), st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_every_change_is_on_the_screen_before_it_is_said(ticks_per_frame, pauses):
    renderer = Renderer(ticks_per_frame)
    said = []

    def note(change: int) -> None:
        assert renderer.screen >= change
        said.append(change)

    for change, pause in enumerate(pauses, 1):
        renderer.change()
        renderer.redraws.when_drawn(lambda change=change: note(change))
        for _ in range(pause):
            renderer.tick()
    for _ in range(4):
        renderer.tick()
    assert renderer.screen == renderer.shown == len(pauses)
    assert said == list(range(1, len(pauses) + 1))


@given(st.integers(1, 50))
def test_a_still_window_draws_nothing(ticks_per_frame):
    renderer = Renderer(ticks_per_frame)
    renderer.change()
    for _ in range(100):
        renderer.tick()
    assert renderer.drawn == 1
    assert not renderer.redraws.is_pending


def test_what_is_finished_while_the_window_draws_counts_from_the_next_tick_on():
    """Keys that were pressed during a long frame arrive between the two."""
    renderer, said = Renderer(10), []
    renderer.change()
    renderer.redraws.when_drawn(lambda: said.append(True))
    renderer.tick()
    renderer.tick()
    assert renderer.screen == 1 and not said
    renderer.tick()
    assert said
