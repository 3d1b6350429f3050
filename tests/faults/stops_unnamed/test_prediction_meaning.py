"""Predictions of another network: logits, logarithms, probabilities, scores, classes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import annotator3d as a3d
from annotator3d.cli.main import main

POINTS, CLASSES, SIZE = 150, 3, 4.0
CLASS_LIST = "classes: [{name: a, ids: [1]}, {name: b, ids: [2]}, {name: c, ids: [3]}]\n"
SCANS = ("d/000000", "d/000001")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two scans without labels, imported with three classes."""
    folder = tmp_path_factory.mktemp("predicted")
    random = np.random.default_rng(0)
    (folder / "scans/d").mkdir(parents=True)
    (folder / "classes.yaml").write_text(CLASS_LIST)
    for frame in range(2):
        points = np.column_stack([random.uniform(-20, 20, (POINTS, 3)), random.random(POINTS)])
        points.astype("<f4").tofile(folder / f"scans/d/{frame:06d}.bin")
    taxonomy = str(folder / "classes.yaml")
    out = str(folder / "data")
    scans = str(folder / "scans")
    assert main(["import", scans, out, "--format", "bin", "--taxonomy", taxonomy]) == 0
    return folder


def shares(seed: int = 1) -> np.ndarray:
    """[2, POINTS, CLASSES] probabilities, some exactly 0 and 1 as of a sure network."""
    random = np.random.default_rng(seed)
    found = random.dirichlet([0.3] * CLASSES, (2, POINTS))
    found[random.random((2, POINTS)) < 0.2] = [0, 1, 0]
    found[:, 7] = [0, 0.5, 0.5]
    return found


def logarithm(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)


def write(folder: Path, arrays) -> Path:
    for scan, array in zip(SCANS, arrays, strict=True):
        path = folder / f"{scan}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


def select(data: Path, work_dir: Path, predictions: Path, *options: str, strategy="entropy") -> int:
    return main(
        ["select", "al/own_data", "--data-root", str(data / "data"), "--work-dir", str(work_dir)]
        + ["--predictions", str(predictions), "--set", f"active.strategy={strategy}"]
        + ["--set", "data.val=null", "--set", "active.oracle=person"]
        + ["--set", f"active.voxel_size={SIZE}", *options]
    )


def best_cells(data: Path, entropies: np.ndarray) -> dict[str, set]:
    """Of each scan the cells that hold the highest entropy, counted with numpy alone."""
    found = {}
    for frame, (scan, bits) in enumerate(zip(SCANS, entropies, strict=True)):
        raw = np.fromfile(data / f"scans/d/{frame:06d}.bin", "<f4").reshape(-1, 4)
        cells = np.floor(raw[:, :3] / np.float32(SIZE)).astype(int)
        found[scan] = {tuple(cell) for cell in cells[bits >= bits.max() - 1e-4].tolist()}
    return found


def bits(p: np.ndarray) -> np.ndarray:
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)


def asked(work_dir: Path) -> dict[str, tuple]:
    with open(work_dir / "rounds/1/queries.csv", newline="") as file:
        return {r["scan"]: tuple(int(r[f"cell_{a}"]) for a in "xyz") for r in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda p: logarithm(p).astype("f4"), []),
        (lambda p: logarithm(p).astype("f2"), []),
        (lambda p: logarithm(p) + 30, ["--logits"]),
        (lambda p: p.astype("f4"), ["--probabilities"]),
        (lambda p: p.astype("f2"), ["--probabilities"]),
    ],
    ids=["log", "log of half precision", "log, shifted", "probabilities", "half probabilities"],
)
def test_the_softmax_of_a_logarithm_gives_the_probabilities_back(data, tmp_path, make, options):
    p = shares()
    folder = write(tmp_path / "theirs", make(p))
    assert select(data, tmp_path / "w", folder, *options) == 0
    best = best_cells(data, bits(p))
    assert all(cell in best[scan] for scan, cell in asked(tmp_path / "w").items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.astype("f4"), "150 of 150 points have values in 0..1 with the sum 1"),
        (lambda p: p.astype("f2"), "points have values in 0..1 with the sum 1"),
        (lambda p: np.round(p, 2), "points have values in 0..1 with the sum 1"),
        (lambda p: np.where(np.arange(POINTS)[:, None] % 5 == 0, 0, p), "with the sum 1"),
        (lambda p: 100 * p, "with the sum 100"),
        (lambda p: 1 / (1 + np.exp(3 - 9 * p)), "values of all 150 points lie in 0..1"),
    ],
    ids=["float32", "half precision", "two digits", "some rows of zeros", "percent", "sigmoids"],
)
@pytest.mark.parametrize("strategy", ["entropy", "margin_mean"])
def test_what_looks_like_probabilities_is_asked_about(
    data, tmp_path, capsys, make, words, strategy
):
    folder = write(tmp_path / "theirs", make(shares()))
    assert select(data, tmp_path / "w", folder, strategy=strategy) == 2
    said = capsys.readouterr().err
    assert words in said and "000000.npy" in said
    assert "--probabilities or --logits" in said and len(said) < 500
    assert not (tmp_path / "w").exists()


def softened() -> np.ndarray:
    """Probabilities of a network that is never quite sure."""
    return (shares() + 0.05) / (1 + 0.05 * CLASSES)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("strategy", ["entropy", "vcd"])
def test_negative_logarithms_are_not_taken_for_logits(data, tmp_path, capsys, dtype, strategy):
    costs = -np.log(softened())
    folder = write(tmp_path / "theirs", costs.astype(dtype))
    assert select(data, tmp_path / "w", folder, strategy=strategy) == 2
    said = capsys.readouterr().err
    assert "negative logarithms of probabilities" in said and "000000.npy" in said
    assert "--logits" in said and len(said) < 500
    assert select(data, tmp_path / "w", folder, "--logits", strategy=strategy) == 0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("base", [2, 10])
@pytest.mark.parametrize("make", [shares, softened])
def test_logarithms_to_another_base_are_asked_about(data, tmp_path, capsys, make, base, dtype):
    folder = write(tmp_path / "theirs", (logarithm(make()) / np.log(base)).astype(dtype))
    assert select(data, tmp_path / "w", folder) == 2
    said = capsys.readouterr().err
    assert f"to the base {base}" in said and "000000.npy" in said and "--logits" in said
    assert select(data, tmp_path / "w", folder, strategy="vcd") == 0  # the same class
    assert select(data, tmp_path / "v", folder, "--logits") == 0


@pytest.mark.parametrize("make", [shares, softened])
def test_natural_logarithms_and_those_of_sure_networks_are_logits(data, tmp_path, make):
    sure = np.zeros((2, POINTS, CLASSES))
    sure[..., 0] = 1
    for name, values in (("natural", make()), ("sure", sure)):
        folder = write(tmp_path / name, logarithm(values).astype("f4"))
        assert select(data, tmp_path / f"w {name}", folder) == 0


@pytest.mark.parametrize("shift", ["least", "none", "positive"])
def test_logits_above_zero_are_logits(data, tmp_path, shift):
    logits = 12 * np.random.default_rng(0).normal(size=(2, POINTS, CLASSES))
    if shift == "least":
        logits -= logits.min(-1, keepdims=True)
    if shift == "positive":
        logits -= logits.min() - 0.5
    assert select(data, tmp_path / "w", write(tmp_path / "theirs", logits.astype("f4"))) == 0


def test_only_the_second_file_holds_probabilities(data, tmp_path, capsys):
    p = shares()
    folder = write(tmp_path / "theirs", [np.maximum(logarithm(p[0]), -50), p[1]])
    assert select(data, tmp_path / "w", folder) == 2
    assert "000001.npy" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_numbers_that_are_no_probabilities_are_not_taken_for_them(data, tmp_path, capsys):
    folder = write(tmp_path / "theirs", 100 * shares())
    assert select(data, tmp_path / "w", folder, "--probabilities") == 1
    assert "sums 100 to 100" in capsys.readouterr().err


def test_vcd_takes_the_class_of_the_highest_either_way(data, tmp_path):
    p = shares()
    for name, values in (("p", p), ("log", logarithm(p))):
        folder = write(tmp_path / name, values)
        assert select(data, tmp_path / f"w_{name}", folder, strategy="vcd") == 0
    assert asked(tmp_path / "w_p") == asked(tmp_path / "w_log")


def confused_cells(data: Path, classes: np.ndarray) -> dict[str, tuple]:
    """Of each scan the cell of highest class entropy; it must be a single one."""
    found = {}
    for frame, (scan, own) in enumerate(zip(SCANS, classes, strict=True)):
        raw = np.fromfile(data / f"scans/d/{frame:06d}.bin", "<f4").reshape(-1, 4)
        cells = np.floor(raw[:, :3] / np.float32(SIZE)).astype(int)
        unique, where = np.unique(cells, axis=0, return_inverse=True)
        counts = np.zeros((len(unique), 256))
        known = own != 255
        np.add.at(counts, (where.ravel()[known], own[known]), 1)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        scores = bits(share)
        found[scan] = {tuple(c) for c in unique[scores >= scores.max() - 1e-6].tolist()}
    return found


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda c: (c + 1).astype("u1"), [], "class ids 1 to 3 in 2 .npy files, read as raw ids"),
        (lambda c: (c + 1).astype("i8"), ["--raw-ids"], ""),
        (lambda c: c.astype("u1"), ["--train-ids"], ""),
        (lambda c: c.astype("i4")[:, :, None], ["--train-ids"], ""),
        (lambda c: c.astype("f4"), ["--train-ids"], ""),
        (lambda c: np.where(c == 1, 255, c), [], "read as train ids"),
        (lambda c: np.where(c == 1, -1, c + 1), [], "read as raw ids"),
    ],
    ids=["raw", "raw, told", "train", "a column", "floats", "255 is none", "-1 is none"],
)
def test_classes_as_npy(data, tmp_path, capsys, make, options, words):
    classes = np.random.default_rng(3).integers(0, 3, (2, POINTS))
    given = make(classes)
    assert select(data, tmp_path / "w", write(tmp_path / "t", given), *options, strategy="vcd") == 0
    assert words in "".join(capsys.readouterr())
    missing = words and ("255" in str(given.max()) or given.min() < 0)
    best = confused_cells(data, np.where(classes == 1, 255, classes) if missing else classes)
    assert all(cell in best[scan] for scan, cell in asked(tmp_path / "w").items())


def test_class_ids_that_may_be_either_are_asked_about(data, tmp_path, capsys):
    classes = np.random.default_rng(3).integers(0, 3, (2, POINTS)).astype("u1")
    assert select(data, tmp_path / "w", write(tmp_path / "t", classes), strategy="vcd") == 2
    said = capsys.readouterr().err
    assert "class ids 0 to 2 in 2 .npy files may be train ids" in said
    assert "--train-ids or --raw-ids" in said
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full(POINTS, 77, "i4"), "does not know 77"),
        (np.zeros((POINTS, CLASSES + 1), "f4"), "leave out the column of no class"),
        (np.zeros((CLASSES, POINTS), "f4"), "transpose it"),
        (np.zeros(POINTS, bool), "got bool"),
        (np.full((POINTS, CLASSES), np.nan), "NaN or Inf in 150 rows"),
        (np.full((POINTS, CLASSES), -np.inf), "150 points have it in each class"),
    ],
    ids=["unknown class", "ignored column", "transposed", "bool", "nan", "all -inf"],
)
def test_other_arrays_are_refused_by_their_file(data, tmp_path, capsys, array, words):
    folder = write(tmp_path / "t", [array, array])
    assert select(data, tmp_path / "w", folder, strategy="vcd") in (1, 2)
    said = capsys.readouterr().err
    assert words in said and "000000" in said
    assert not (tmp_path / "w").exists()


def test_a_file_that_is_no_array_is_named(data, tmp_path, capsys):
    folder = write(tmp_path / "t", -shares())
    (folder / f"{SCANS[1]}.npy").write_bytes(b"")
    assert select(data, tmp_path / "w", folder) == 1
    assert "000001.npy: cannot be read as .npy" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_scores_that_are_whole_numbers_are_asked_about(data, tmp_path, capsys):
    scores = np.random.default_rng(0).integers(0, 3, (2, POINTS)).astype("f4")
    folder = write(tmp_path / "t", scores)
    assert select(data, tmp_path / "w", folder) == 2
    assert "--scores" in capsys.readouterr().err
    assert select(data, tmp_path / "w", folder, "--scores") == 0


def test_a_refused_round_leaves_an_earlier_one_as_it_was(data, tmp_path, capsys):
    good, bad = write(tmp_path / "g", logarithm(shares()) - 1), write(tmp_path / "b", shares())
    assert select(data, tmp_path / "w", good) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "w/rounds").rglob("*") if p.is_file()}
    assert select(data, tmp_path / "w", bad) == 2
    assert {p: p.read_bytes() for p in (tmp_path / "w/rounds").rglob("*") if p.is_file()} == before
    assert select(data, tmp_path / "w", good) == 0
    assert (tmp_path / "w/rounds/2/queries.csv").is_file()


def test_the_same_in_python():
    random = np.random.default_rng(0)
    xyz, p = random.uniform(-9, 9, (400, 3)).astype("f4"), random.dirichlet([0.3] * 5, 400)
    p[:50] = [1, 0, 0, 0, 0]
    strategy = a3d.VoxelEntropy(voxel_size=3.0)
    with pytest.raises(a3d.ConfigError, match="prediction_kind='probabilities' or 'logits'"):
        strategy.query(xyz, p)
    given = {"xyz": xyz, "batch_size": 4, "return_utilities": True}
    told, utilities = strategy.query(prediction=p, prediction_kind="probabilities", **given)
    logs, others = strategy.query(prediction=logarithm(p), **given)
    assert [pick.cell for pick in told] == [pick.cell for pick in logs]
    np.testing.assert_allclose(utilities, others, atol=1e-5)
    cells = np.floor(xyz / np.float32(3)).astype(int)
    inside = (cells == told[0].cell).all(1)
    assert told[0].utility == pytest.approx(bits(p)[inside].max(), abs=1e-5)
    with pytest.raises(a3d.ConfigError, match="prediction_kind: expected logits"):
        strategy.query(xyz, p, prediction_kind="probability")
