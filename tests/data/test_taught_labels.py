"""Labels that answers teach, as a training scan gets them: an answer has the say in its voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annotator3d.data.batch import InputRule, collate, make_sample, taught_points
from annotator3d.data.scan import Scan
from annotator3d.data.taught_labels import (
    Kind,
    TaughtFile,
    TaughtLabels,
    is_current,
    read_taught,
    write_taught,
)

WEIGHTS = (0.5, 0.25)


def taught(tmp_path, rows, labels, kinds, key="k"):
    rows = np.array(rows, np.int64)
    found = TaughtLabels(rows, np.array(labels, np.uint8), np.array(kinds, np.uint8))
    write_taught(tmp_path / "00_000000.npz", key, found, {})
    return TaughtFile(tmp_path / "00_000000.npz", key, WEIGHTS)


def scan_of(x):
    xyz = np.column_stack([x, np.zeros((len(x), 2))]).astype(np.float32)
    return Scan.from_raw("00/000000", xyz, np.zeros(len(x), np.float32))


@given(st.integers(0, 10_000), st.sampled_from(["any", "first"]))
def test_answers_come_first_and_taught_labels_weigh_what_they_are_told_to(
    tmp_path_factory, seed, rule
):
    random = np.random.default_rng(seed)
    x = random.uniform(0, 5, 40)
    labels = np.where(random.random(40) < 0.3, random.integers(0, 3, 40), 255).astype(np.uint8)
    rows = np.flatnonzero((labels == 255) & (random.random(40) < 0.6))
    more, kinds = random.integers(0, 3, len(rows)), random.integers(0, 2, len(rows))
    file = taught(tmp_path_factory.mktemp("taught"), rows, more, kinds)
    sample = make_sample(
        scan_of(x), InputRule(3, 1.0, target=rule), labels, taught=taught_points(file, 40)
    )
    told = {int(r): (int(c), WEIGHTS[k]) for r, c, k in zip(rows, more, kinds, strict=True)}
    for voxel in range(len(sample["cells"])):
        inside = np.flatnonzero(sample["point_to_voxel"].numpy() == voxel).tolist()
        if rule == "first":
            inside = inside[:1]
        own = [int(labels[i]) for i in inside if labels[i] != 255]
        others = [told[i] for i in inside if i in told]
        given_to = own or [label for label, _ in others]
        expected = min(given_to, key=lambda c: (-given_to.count(c), c)) if given_to else 255
        target, weight = int(sample["target"][voxel]), float(sample["weight"][voxel])
        assert target == expected
        points = range(40) if rule == "first" else inside
        of_class = [
            told[i][1]
            for i in points
            if i in told and told[i][0] == expected
            and sample["point_to_voxel"][i] == voxel
        ]  # fmt: skip
        assert weight == (1.0 if own or not given_to else max(of_class))


def test_a_batch_has_weights_where_one_of_its_scans_has_and_none_otherwise(tmp_path):
    rule, labels = InputRule(3, 1.0), np.array([0, 255], np.uint8)
    plain = make_sample(scan_of([0.5, 1.5]), rule, labels)
    assert "weight" not in collate([plain, plain])
    file = taught(tmp_path, [1], [2], [Kind.SURFACE])
    both = collate(
        [plain, make_sample(scan_of([0.5, 1.5]), rule, labels, taught=taught_points(file, 2))]
    )
    assert both["weight"].tolist() == [1, 1, 1, 0.25] and both["target"].tolist() == [0, 255, 0, 2]
    assert both["weight"].dtype == torch.float32


def test_a_file_of_another_key_or_a_damaged_one_is_made_anew_and_never_trained_on(tmp_path):
    file = taught(tmp_path, [1], [2], [0])
    assert is_current(file.path, "k") and not is_current(file.path, "other")
    assert read_taught(tmp_path / "none.npz", "k") is None
    whole = file.path.read_bytes()
    for damaged in (whole[:-30], b"", whole[:60]):
        file.path.write_bytes(damaged)
        assert not is_current(file.path, "k")
        with pytest.raises(ValueError, match="00_000000.npz: damaged, or no longer"):
            file.read()
