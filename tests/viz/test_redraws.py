"""A change reaches the screen however many frames the renderer drops."""

from __future__ import annotations

from annotator3d.viz.desktop.redraws import BURST_SECONDS, LONGEST_SECONDS, Redraws


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def frames(redraws: Redraws, clock: Clock, seconds: float, tick: float = 0.01) -> list[float]:
    """When a window that ticks for some seconds draws, counted from now."""
    began, drawn = clock.now, []
    while clock.now < began + seconds:
        if redraws.due():
            drawn.append(clock.now - began)
        clock.now += tick
    return drawn


def test_a_change_is_drawn_at_every_tick_for_a_while():
    clock = Clock()
    assert len(frames(Redraws(clock), clock, BURST_SECONDS)) >= BURST_SECONDS / 0.01


def test_after_dropped_frames_the_change_is_shown_soon():
    clock = Clock()
    drawn = frames(Redraws(clock), clock, 120)
    for busy in (0.4, 1.0, 3.0, 10.0, 30.0):
        shown = min(at for at in drawn if at >= busy)
        assert shown - busy <= max(0.02, min(busy, LONGEST_SECONDS) + 0.02)


def test_a_still_window_draws_seldom_and_a_new_change_at_once():
    clock = Clock()
    redraws = Redraws(clock)
    frames(redraws, clock, 60)
    assert len(frames(redraws, clock, 80)) <= 80 / LONGEST_SECONDS + 1
    redraws.begin()
    assert redraws.due()
