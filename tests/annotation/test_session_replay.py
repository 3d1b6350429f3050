"""A person who knows the truth answers real queries with few actions, and the ledger gets it."""

from collections import Counter

import numpy as np
import pytest
from expert import Expert
from session_world import SIZE, make_world, start

from annotator3d.active.strategies import VoxelConfusion
from annotator3d.annotation.session import LabelSession, SessionOptions
from annotator3d.data.datasets.sequences import SemanticKITTI
from annotator3d.data.files import fingerprint
from annotator3d.ledger.ledger import Ledger, ScanRecord


def check(session, answers, truth):
    """The ledger holds the truth of every query that was answered."""
    for entry in answers:
        query = session.query(entry.query)
        answer = session.ledger.current(query.id)
        session.go_to(query.id)
        wanted = truth(query.scan)[session.view.rows]
        given = np.full(len(wanted), 255) if answer.kind == "ignore" else answer.labels
        assert given.tolist() == wanted.tolist()
    assert session.progress.open == 0


def test_an_expert_parts_voxels_by_what_is_there(tmp_path):
    source = make_world(tmp_path / "ledger.sqlite", points=24)
    edges = {"00/0": (0.4, 0.4), "00/1": (0.3, 0.6)}

    def truth(scan_id):
        """Two classes in 00/0, parted by a wall; three bands in 00/1; no class beyond 8 m."""
        xyz, (low, high) = source.scans[scan_id].xyz, edges[scan_id]
        place = (xyz[:, 0] + 0.3 * xyz[:, 1]) / SIZE % 1
        bands = (place > low).astype(np.uint8) + (place > high)
        return np.where(xyz[:, 0] < -1, 255, bands).astype(np.uint8)

    session = start(tmp_path / "ledger.sqlite", source)
    expert, answers = Expert(session, truth), []
    while session.current:
        answers.append(expert.answer())
    check(session, answers, truth)
    assert [entry.query for entry in answers] == [1, 2, 3, 4, 5, 6]
    for entry in answers:
        assert entry.actions >= max(entry.classes, 1)
        labels = session.labels_of(entry.query)
        if len(np.unique(labels)) == 1:
            assert entry.actions == 1 and entry.how == ()
    assert max(entry.classes for entry in answers) == 3
    session.close()


class Scans:
    """A dataset as a session asks for it."""

    def __init__(self, dataset):
        self.dataset = dataset

    def scan(self, scan_id):
        return self.dataset.read(self.dataset.index(scan_id), labels=False)

    def fingerprint(self, scan_id):
        return fingerprint(self.dataset.path(self.dataset.index(scan_id)))

    def pose(self, scan_id):
        return None


@pytest.mark.realdata
def test_the_most_mixed_real_voxels_take_hardly_more_actions_than_classes(tmp_path, kitti_root):
    """VCD of the truth: no voxels are harder to part than those that a perfect network asks about.

    The session is blind, so that parting by prediction is of no help.
    """
    dataset = SemanticKITTI(kitti_root, ["00", "02", "05", "07", "08"])
    truths, picks, records = {}, {}, []
    for scan_id in dataset.ids[1::2][:10]:
        scan = dataset.read(dataset.index(scan_id))
        truths[scan_id] = scan.labels
        path = dataset.path(dataset.index(scan_id))
        records.append(ScanRecord(scan_id, fingerprint(path), scan.num_raw))
        settings = {"scan_id": scan_id, "batch_size": 20, "num_classes": 19}
        picks[scan_id] = VoxelConfusion().query(scan.xyz, scan.labels, **settings)
    names, digest = dataset.taxonomy.names, dataset.taxonomy.digest()
    ledger = Ledger.open(tmp_path / "ledger.sqlite", names, digest)
    ledger.register_scans(records)
    assert len(ledger.add_round(1, "vcd", 0, 20, picks)) == 200
    session = LabelSession(ledger, Scans(dataset), "expert", options=SessionOptions(blind=True))
    expert, answers = Expert(session, truths.__getitem__), []
    while session.current:
        answers.append(expert.answer())
    check(session, answers, truths.__getitem__)
    extra = np.array([entry.actions - entry.classes for entry in answers])
    print(f"classes {np.bincount([e.classes for e in answers])}, beyond {np.bincount(extra)}")
    print(f"ways {Counter(way for e in answers for way in e.how)}")
    assert len(extra) == 200 and np.median(extra) <= 1
    session.close()
