"""Whatever people do in whatever order, the ledger agrees with a plain dictionary."""

import shutil
import tempfile
from pathlib import Path

import pytest
from asked import Asked
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from annotator3d.ledger.ledger import Ledger

SCANS = ("a", "b")
BUDGET, LIMIT = 2, 3
CELLS = [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 1)]  # neighbours along each axis


class LedgerTwin(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.open()
        for scan in SCANS:
            self.ledger.register_scan(scan, f"file {scan}", 9)
        self.asked = {}  # id -> (round, scan, cell, number of points)
        self.said = {}  # id -> responses not undone, oldest first: None or a list of labels
        self.touched, self.released = set(), set()
        self.rounds = 0

    def open(self):
        self.ledger = Ledger.open(self.folder / "ledger.sqlite", ["x", "y"], "digest")

    def teardown(self):
        self.ledger.close()
        shutil.rmtree(self.folder)

    def spent(self):
        return {i: q for i, q in self.asked.items() if i not in self.released}

    @rule(
        step=st.sampled_from([0, 1, 1, 1, 2]),
        picks=st.lists(st.tuples(st.sampled_from(SCANS), st.integers(0, 4)), max_size=4),
    )
    def add_round(self, step, picks):
        number = self.rounds + step
        by_scan = {scan: [n for s, n in picks if s == scan] for scan in dict(picks)}
        taken = {(scan, cell) for _, scan, cell, _ in self.spent().values()}
        wanted = [(scan, CELLS[n]) for scan in by_scan for n in by_scan[scan]]
        fits = (
            step == 1
            and len(set(wanted)) == len(wanted) <= LIMIT
            and not taken & set(wanted)
            and all(len(cells) <= BUDGET for cells in by_scan.values())
        )
        given = {s: [Asked(CELLS[n], n + 1) for n in cells] for s, cells in by_scan.items()}
        if not fits:
            with pytest.raises(ValueError):
                self.ledger.add_round(number, "vcd", 0, BUDGET, given, max_queries=LIMIT)
            return
        for query in self.ledger.add_round(number, "vcd", 0, BUDGET, given, max_queries=LIMIT):
            assert query.id not in self.asked
            self.asked[query.id] = (number, query.scan, query.cell, query.num_points)
            self.said[query.id] = []
        assert {(s, c) for r, s, c, _ in self.asked.values() if r == number} == set(wanted)
        self.rounds = number

    def respond(self, query, value, call):
        if query in self.released:
            with pytest.raises(ValueError):
                call()
            return
        call()
        self.said[query].append(value)
        self.touched.add(query)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def answer(self, data):
        query = data.draw(st.sampled_from(sorted(self.asked)))
        points = self.asked[query][3]
        labels = data.draw(st.lists(st.sampled_from([0, 1, 255]), min_size=points, max_size=points))
        self.respond(query, labels, lambda: self.ledger.answer(query, labels, annotator="p"))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), how=st.sampled_from(["skip", "unsure", "ignore"]))
    def pass_by(self, data, how):
        query = data.draw(st.sampled_from(sorted(self.asked)))
        labels = [255] * self.asked[query][3] if how == "ignore" else None
        self.respond(query, labels, lambda: getattr(self.ledger, how)(query, annotator="p"))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def undo(self, data):
        query = data.draw(st.sampled_from(sorted(self.asked)))
        if self.said[query]:
            self.ledger.undo(query, annotator="p")
            self.said[query].pop()
        else:
            with pytest.raises(ValueError):
                self.ledger.undo(query, annotator="p")

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def release(self, data):
        query = data.draw(st.sampled_from(sorted(self.asked)))
        if query in self.touched or query in self.released:
            with pytest.raises(ValueError):
                self.ledger.release(query, annotator="p")
        else:
            self.ledger.release(query, annotator="p")
            self.released.add(query)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def note(self, data):
        query = data.draw(st.sampled_from(sorted(self.asked)))
        self.ledger.note(query, "a remark", annotator="p")

    @rule()
    def reopen(self):
        self.ledger.close()
        self.open()

    @invariant()
    def agrees(self):
        spent = self.spent()
        waiting = {i for i in spent if not self.said[i]}
        assert {q.id for q in self.ledger.queries()} == set(spent)
        assert {q.id for q in self.ledger.open_queries()} == waiting
        assert self.ledger.spent() == len(spent)
        for scan in SCANS:
            cells = {cell for _, s, cell, _ in spent.values() if s == scan}
            assert {tuple(c) for c in self.ledger.queried_cells(scan).tolist()} == cells
        for upto in {None, self.rounds - 1}:
            labelled = {
                (scan, cell): (self.said[i][-1], number)
                for i, (number, scan, cell, _) in spent.items()
                if self.said[i]
                and self.said[i][-1] is not None
                and (upto is None or number <= upto)
            }
            found = {
                (scan, entry.cell): (entry.labels.tolist(), entry.round)
                for scan, entries in self.ledger.labels_by_scan(upto).items()
                for entry in entries
            }
            assert found == labelled
        summary = self.ledger.summary()
        assert (summary.voxels, summary.open) == (len(spent), len(waiting))
        assert (summary.rounds, summary.released) == (self.rounds, len(self.released))


TestLedgerTwin = LedgerTwin.TestCase
TestLedgerTwin.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
