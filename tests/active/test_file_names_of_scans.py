"""Files of all scans in one folder: two scans never share one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.active.stored_predictions import (
    StoredPredictions,
    prediction_file,
    store_prediction,
)
from annotator3d.data.scan import Scan, file_stem
from annotator3d.data.taught_labels import taught_file

IDS = st.text("ab_-/", min_size=1, max_size=7)


def a_scan(scan_id: str) -> Scan:
    xyz = np.arange(12, dtype=np.float32).reshape(4, 3)
    return Scan(scan_id, xyz, np.zeros(4, np.float32), None, np.arange(4), 4)


@given(st.sets(IDS, min_size=2, max_size=40))
def test_two_scans_have_two_names(ids):
    assert len({file_stem(scan_id) for scan_id in ids}) == len(ids)


def test_the_names_of_earlier_versions_stay_where_they_were_unique(tmp_path):
    assert file_stem("00/000012") == "00_000012"
    assert prediction_file(tmp_path, 3, "00/000012") == tmp_path / "3" / "00_000012.npz"


def test_the_prediction_of_a_scan_is_not_read_as_that_of_another(tmp_path):
    ids = ["drive_1/scan", "drive/1_scan"]  # both were once drive_1_scan.npz
    for number, scan_id in enumerate(ids):
        classes = np.full(4, number, np.uint8)
        path = prediction_file(tmp_path, 1, scan_id)
        store_prediction(path, a_scan(scan_id), np.zeros(4, np.float32), classes)
    read = StoredPredictions(tmp_path)
    assert [read(1, a_scan(scan_id)).classes[0] for scan_id in ids] == [0, 1]
    assert taught_file(tmp_path, ids[0]) != taught_file(tmp_path, ids[1])


def test_what_an_earlier_version_wrote_is_found(tmp_path):
    scan = a_scan("drive_1/scan")
    store_prediction(tmp_path / "1" / "drive_1_scan.npz", scan, np.ones(4, np.float32))
    assert StoredPredictions(tmp_path)(1, scan).score[0] == 1
