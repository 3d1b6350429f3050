"""Oracles answer each query once, about the very points that were asked about."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from annotator3d.active.oracle import (
    GroundTruthOracle,
    HumanOracle,
    answer_open_queries,
    get_oracle,
)
from annotator3d.active.strategies import RandomSampling
from annotator3d.data.scan import Scan, rows_of_cell
from annotator3d.kernels.grouping import voxelize
from annotator3d.ledger.ledger import Ledger

NAMES = ["car", "road", "tree"]


def make_scan(scan_id, labels=True, seed=0):
    random = np.random.default_rng([seed, *scan_id.encode()])
    xyz = random.normal(0, 0.5, (200, 3)).astype(np.float32)
    xyz[::17] = np.nan
    truth = random.choice(np.array([0, 1, 2, 255], np.uint8), 200)
    return Scan.from_raw(scan_id, xyz, np.zeros(200, np.float32), truth if labels else None)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", NAMES, "digest") as ledger:
        picks = {}
        for scan_id in ("00/0", "00/1"):
            ledger.register_scan(scan_id, f"file {scan_id}", 200)
            picks[scan_id] = RandomSampling().query(
                make_scan(scan_id).xyz, batch_size=4, scan_id=scan_id
            )
        ledger.add_round(1, "random", 0, 4, picks)
        yield ledger


def test_the_truth_answers_one_label_per_point_of_the_voxel(ledger):
    assert answer_open_queries(ledger, get_oracle("truth"), make_scan) == 8
    assert ledger.open_queries() == []
    for query in ledger.queries():
        scan = make_scan(query.scan)
        inside = [
            label
            for point, label in zip(scan.xyz, scan.labels, strict=True)
            if tuple(int(np.floor(value / 0.25)) for value in point) == query.cell
        ]
        answer = ledger.current(query.id)
        assert answer.labels.tolist() == inside and answer.annotator == "truth"


def test_a_person_leaves_every_query_open(ledger):
    # no scan is read for it: a pool has thousands
    assert answer_open_queries(ledger, HumanOracle(), read_scan=None) == 0
    assert len(ledger.open_queries()) == 8 and ledger.events() == []


def test_after_a_crash_only_what_is_left_is_answered(ledger):
    class CrashError(Exception):
        pass

    class Dying(GroundTruthOracle):
        left = 5

        def answer(self, query, scan, rows):
            if self.left == 0:
                raise CrashError
            self.left -= 1
            return super().answer(query, scan, rows)

    with pytest.raises(CrashError):
        answer_open_queries(ledger, Dying(), make_scan)
    assert len(ledger.open_queries()) == 3  # each answer was committed by itself
    assert answer_open_queries(ledger, GroundTruthOracle(), make_scan) == 3
    assert answer_open_queries(ledger, GroundTruthOracle(), make_scan) == 0
    assert len(ledger.events()) == 8


def test_each_scan_is_read_once(ledger):
    read = []

    def read_scan(scan_id):
        read.append(scan_id)
        return make_scan(scan_id)

    answer_open_queries(ledger, GroundTruthOracle(), read_scan)
    assert read == ["00/0", "00/1"]


def test_a_scan_without_labels_cannot_be_answered_by_its_truth(ledger):
    with pytest.raises(ValueError, match="00/0 has no label file"):
        answer_open_queries(
            ledger, GroundTruthOracle(), lambda scan_id: make_scan(scan_id, labels=False)
        )


def test_a_scan_that_is_not_the_one_asked_about_is_refused(ledger):
    with pytest.raises(ValueError, match="00/0 has changed.*file 00/0.*other"):
        answer_open_queries(
            ledger, GroundTruthOracle(), make_scan, fingerprint=lambda scan_id: "other"
        )
    with pytest.raises(ValueError, match="not the one that was asked about"):
        answer_open_queries(ledger, GroundTruthOracle(), lambda scan_id: make_scan(scan_id, seed=1))
    with pytest.raises(ValueError, match="read_scan gave another scan"):
        answer_open_queries(ledger, GroundTruthOracle(), lambda scan_id: make_scan("00/7"))
    assert ledger.events() == []
    right = answer_open_queries(
        ledger, GroundTruthOracle(), make_scan, fingerprint="file {}".format
    )
    assert right == 8


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.just(3)),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 0.25, -0.25, 1e6]),
    ),
    st.sampled_from([0.25, 0.1, 1.0]),
)
def test_the_points_of_a_cell_are_those_of_its_voxel(xyz, size):
    voxels = voxelize(torch.tensor(xyz), size)
    for index, cell in enumerate(voxels.cells.tolist()):
        start, stop = voxels.splits[index : index + 2].tolist()
        assert rows_of_cell(xyz, tuple(cell), size).tolist() == voxels.members[start:stop].tolist()


def test_an_unknown_oracle_gets_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'truth'"):
        get_oracle("thruth")
