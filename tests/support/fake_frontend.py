"""A frontend without a toolkit, and a controller on the small world of `session_world`."""

from __future__ import annotations

import numpy as np
from session_world import DIGEST, NAMES, SIZE, make_world, start

from annotator3d.annotation.review import Criteria
from annotator3d.annotation.review_session import ReviewSession
from annotator3d.ledger.ledger import Ledger
from annotator3d.viz.controller import Controller
from annotator3d.viz.keys import make_keys
from annotator3d.viz.scene_model import SceneModel

PALETTE = np.float32([[1, 0, 1], [0.4, 0.6, 1], [0, 0.7, 0]])


class FakeFrontend:
    """Notes what it was told, and at each repaint what the ledger's file holds."""

    def __init__(self, path):
        self.path, self.calls, self.said, self.on_disk = path, [], [], []
        self.is_slow, self.undrawn = False, []

    def load(self):
        self.calls.append("load")

    def repaint(self):
        self.calls.append("repaint")
        with Ledger.read(self.path) as ledger:
            kinds = [e.answer.kind for e in ledger.events() if e.answer.kind != "lease"]
        self.on_disk.append(kinds)

    def when_drawn(self, done):
        """At once; a slow one does so when `draw` is called."""
        self.undrawn.append(done)
        if not self.is_slow:
            self.draw()

    def draw(self):
        """What was drawn so far reaches the screen."""
        undrawn, self.undrawn = self.undrawn, []
        for done in undrawn:
            done()

    def look_at_voxel(self):
        self.calls.append("look")

    def say(self, text, wrong=False):
        self.said.append((text, wrong))

    def ask(self, what):
        self.calls.append(f"ask {what}")

    def show_help(self):
        self.calls.append("help")

    def show_brush(self, on):
        self.calls.append(f"brush {on}")


def open_viewer(path, *, source=None, predictions=None, annotator="ann", world=None, **options):
    """(controller, frontend, errors that ended it), on a new ledger unless there is one."""
    source = source or make_world(path, **(world or {}))
    session = start(path, source, annotator, predictions=predictions, **options)
    return _shown(path, session, "label")


def open_review(path, source, annotator="lead", **criteria):
    """As `open_viewer`, to review what was answered."""
    ledger = Ledger.open(path, NAMES, DIGEST, SIZE)
    session = ReviewSession(ledger, source, annotator, criteria=Criteria(**criteria))
    return _shown(path, session, "review")


def label_by(monkeypatch, work):
    """``annotator3d label --web`` calls `work(session)` in the place of a browser and a person."""
    monkeypatch.setattr("annotator3d.viz.desktop.system.check_browser", lambda: None)
    monkeypatch.setattr("annotator3d.viz.web.server.serve", lambda session, *_, **__: work(session))


def _shown(path, session, mode):
    errors, frontend, keys = [], FakeFrontend(path), make_keys(NAMES, mode=mode)
    controller = Controller(session, keys, SceneModel(session, PALETTE), frontend, errors.append)
    return controller, frontend, errors
