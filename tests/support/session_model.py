"""A labelling session as a dictionary and two lists, and random people who use both."""

from __future__ import annotations

import numpy as np

LEFT, VOID = 254, 255  # not labelled yet; no class
OPS = (
    "assign assign assign paint paint whole ignore skip unsure accept undo undo redo redo "
    "next previous go_to bulk note"
).split()


class Model:
    """What `LabelSession` must say, for one person and the filter "open".

    `value[q]` is None or (kind, labels, response that stands); a draft settles nothing. A step is
    {query: (before, after)}.
    """

    def __init__(self, queries, points, proposed):
        self.order = list(queries)  # in the order of the queue
        self.points, self.proposed = points, proposed  # query -> labels that can be accepted
        self.value = dict.fromkeys(self.order)
        self.done, self.undone = [], []
        self.notes = {query: [] for query in self.order}
        self.current, self.at = None, None
        self.masks, self.painted = [], None
        self.walk(1)

    def is_open(self, query):
        return self.response(query) is None

    def response(self, query):
        return None if self.value[query] is None else self.value[query][2]

    def labels(self, query):
        kind, labels, _ = self.value[query] or ("", None, None)
        fill = VOID if kind == "ignore" else LEFT
        return np.full(self.points, fill) if labels is None else np.array(labels)

    def show(self, query):
        self.current = query
        if query is not None:
            self.at = query
            self.whole()

    def todo(self):
        labels = self.labels(self.current)
        return labels == LEFT if (labels == LEFT).any() else labels >= 0

    def walk(self, step):
        start = -1 if self.at is None else self.order.index(self.at)
        if self.at is None and step < 0:
            start = 0
        around = [
            self.order[(start + step * i) % len(self.order)] for i in range(1, 1 + len(self.order))
        ]
        self.show(next((query for query in around if self.is_open(query)), None))

    def restart(self):
        self.at = None
        self.walk(1)

    def do(self, changes):
        step = {}
        for query, given in changes.items():
            response = self.response(query) if given[0] == "draft" else given
            step[query] = (self.value[query], (*given, response))
            self.value[query] = step[query][1]
        self.done.append(step)
        self.undone.clear()

    def assign(self, label):
        labels = self.labels(self.current)
        labels[self.masks[0]] = label
        kind = "draft" if (labels == LEFT).any() else "answer"
        void = (labels == VOID).all()
        self.do({self.current: ("ignore", None) if void else (kind, tuple(labels.tolist()))})
        self.masks, self.painted = self.masks[1:], None
        if not self.masks:
            self.walk(1)

    def ignore(self):
        self.assign(VOID)

    def settle(self, kind):
        self.do({self.current: (kind, None)})
        self.walk(1)

    def accept(self):
        self.do({self.current: ("answer", tuple(self.proposed[self.current]))})
        self.walk(1)

    def paint(self, mask, erase=False):
        todo = self.todo()
        before = np.zeros(self.points, bool) if self.painted is None else self.painted
        mask = (before & ~mask if erase else before | mask) & todo
        if mask.any():
            self.masks = [part for part in (mask, ~mask & todo) if part.any()]
            self.painted = mask
        else:
            self.whole()

    def whole(self):
        self.masks, self.painted = [self.todo()], None

    def bulk(self, kind, queries, label):
        labels = None if label is None else (label,) * self.points
        self.do({query: (kind, labels) for query in queries})
        if self.current is not None and self.is_open(self.current):
            self.whole()
        else:
            self.walk(1)

    def undo(self):
        step = self.done.pop()
        self.undone.append(step)
        self.value.update((query, before) for query, (before, _) in step.items())
        self.show(next(iter(step)))

    def redo(self):
        step = self.undone.pop()
        self.done.append(step)
        self.value.update((query, after) for query, (_, after) in step.items())
        self.show(next(iter(step)))


class Person:
    """Does random things to a model and, if there is one, to a session alike."""

    def __init__(self, model, seed, session=None):
        self.model, self.session = model, session
        self.random = np.random.default_rng(seed)

    def step(self):
        """One action, never one that a session refuses; returns what it was."""
        model, random = self.model, self.random
        name = str(random.choice(OPS))
        if model.current is None and name not in ("undo", "redo", "go_to", "next", "bulk"):
            name = "go_to"  # an answer that is corrected makes the history longer
        open_ = model.current is not None and model.value[model.current] is None
        if name == "accept" and not (open_ and model.proposed.get(model.current)):
            name = "skip"
        if (name, bool(model.done)) == ("undo", False) or (name, bool(model.undone)) == (
            "redo",
            False,
        ):
            name = "next"
        getattr(self, f"do_{name}")()
        return name

    def both(self, name, *arguments, **options):
        if self.session is not None:
            getattr(self.session, name)(*arguments, **options)
        return getattr(self.model, name)

    def do_assign(self):
        label = int(self.random.integers(3))
        self.both("assign", label)(label)

    def do_paint(self):
        mask = self.random.random(self.model.points) < 0.4
        erase = self.model.painted is not None and self.random.random() < 0.4
        self.both("paint", mask, erase)(mask, erase)

    def do_bulk(self):
        size = int(self.random.integers(1, 5))
        queries = [int(q) for q in self.random.choice(self.model.order, size, replace=False)]
        kind = str(self.random.choice(["answer", "skip", "unsure", "ignore"]))
        label = int(self.random.integers(3)) if kind == "answer" else None
        self.both("bulk", kind, queries, label)(kind, queries, label)

    def do_go_to(self):
        query = int(self.random.choice(self.model.order))
        if self.session is not None:
            self.session.go_to(query)
        self.model.show(query)

    def do_note(self):
        text = f"note {self.random.integers(99)}"
        if self.session is not None:
            self.session.note(text)
        self.model.notes[self.model.current].append(text)

    def do_next(self):
        if self.session is not None:
            self.session.next()
        self.model.walk(1)

    def do_previous(self):
        if self.session is not None:
            self.session.previous()
        self.model.walk(-1)

    def do_skip(self):
        if self.session is not None:
            self.session.skip()
        self.model.settle("skip")

    def do_unsure(self):
        if self.session is not None:
            self.session.unsure()
        self.model.settle("unsure")

    def do_whole(self):
        self.both("whole")()

    def do_ignore(self):
        self.both("ignore")()

    def do_accept(self):
        self.both("accept")()

    def do_undo(self):
        self.both("undo")()

    def do_redo(self):
        self.both("redo")()


STATES = {
    None: "open",
    "answer": "answered",
    "ignore": "answered",
    "skip": "skipped",
    "unsure": "unsure",
}


def check_screen(session, model):
    """What is shown is what the model says."""
    shown = None if session.current is None else session.current.id
    assert shown == model.current
    assert (session.can_undo, session.can_redo) == (bool(model.done), bool(model.undone))
    if shown is not None:
        assert session.labels.tolist() == model.labels(shown).tolist()
        assert session.parts.mask.tolist() == model.masks[0].tolist()
        assert [note.answer.note for note in session.notes] == model.notes[shown]


def check_all(session, model):
    """What stands for every query, and the counts, are what the model says; so is the ledger."""
    check_screen(session, model)
    responses = {query: model.response(query) for query in model.order}
    states = {query: STATES[given and given[0]] for query, given in responses.items()}
    assert {query: session.state_of(query) for query in model.order} == states
    for query, given in responses.items():
        assert session.labels_of(query).tolist() == model.labels(query).tolist()
        answer = session.ledger.current(query)
        labels = None if answer is None or answer.labels is None else tuple(answer.labels.tolist())
        assert given == (None if answer is None else (answer.kind, labels))
    progress, found = session.progress, list(states.values())
    assert (progress.total, progress.settled) == (len(found), len(found) - found.count("open"))
    for state in set(STATES.values()):
        assert getattr(progress, state) == found.count(state)
    answers = [np.array(given[1]) for given in responses.values() if given and given[0] == "answer"]
    assert session.class_points.tolist() == [sum((a == c).sum() for a in answers) for c in range(3)]
    assert session.class_voxels.tolist() == [sum((a == c).any() for a in answers) for c in range(3)]
