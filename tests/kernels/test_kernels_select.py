"""The whole selection in one call, on every path, against dictionaries and unbounded integers."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path as File

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import FAST, KINDS, PATHS, Path, cloud

from annotator3d.kernels import SCORE_ONE, select_voxels
from annotator3d.kernels.score_table import score_table
from annotator3d.kernels.scores import entropy_and_margin
from annotator3d.kernels.selection import SCORES

FIELDS = ("cells", "scores", "counts", "pick_of_point", "point_utilities")


LABELS = (torch.uint8, torch.int16, torch.int32, torch.int64)
LOGITS = (torch.float16, torch.bfloat16, torch.float32, torch.float32, torch.float64)


def question_of(score: str, kind: str, lengths: list[int], seed: int) -> dict:
    """Arguments of `select_voxels`, all on the CPU; hypothesis would vary them too little."""
    rng = np.random.default_rng(seed)
    n, size = sum(lengths), float(rng.choice([0.25, 0.05, 1 / 3]))
    classes = int(rng.choice([1, 2, 3, 19, 20, 33, 254]))
    points = cloud(seed, n, kind, size)
    splits = torch.tensor([0, *np.cumsum(lengths).tolist()])
    m = n if rng.random() < 0.5 else int(rng.integers(1, 30))
    rows = None if m == n else torch.from_numpy(rng.integers(0, m, n))
    if score == "none":
        prediction = rows = None
    elif score == "vcd" and rng.random() < 0.4:
        labels = np.where(rng.random(m) < 0.1, 255, rng.integers(0, min(classes, 4), m))
        prediction = torch.from_numpy(labels).to(LABELS[rng.integers(len(LABELS))])
    else:
        coarse = rng.integers(-3, 3, (m, classes)) * 0.75
        fine = rng.integers(0, 3, (m, classes)) * rng.choice([0, 2**-16, 2**-40])
        dtype = LOGITS[rng.integers(len(LOGITS))]  # a lower one would lose something
        prediction = torch.from_numpy(coarse + fine).to(dtype)
    cells = np.floor(points[:, :3].numpy() / np.float32(size)).astype(np.int32)
    some = np.sort(rng.choice(n, rng.integers(0, n // 3 + 1), replace=False)) if n else []
    return {
        "points": points,
        "size": size,
        "prediction": prediction,
        "num_classes": classes,
        "score": score,
        "k": int(rng.integers(0, 10)),
        "seeds": torch.from_numpy(rng.integers(-(2**63), 2**63 - 1, len(lengths))),
        "splits": splits,
        "rows": rows,
        "asked": torch.from_numpy(cells[some].reshape(-1, 3)),
        "asked_splits": torch.from_numpy(np.searchsorted(some, splits.numpy())),
        "reduce": str(rng.choice(["max", "mean"])),
        "min_points": int(rng.integers(0, 3)),
        "max_range": [None, 0.7, 3.0, 1e6][rng.integers(4)],
        "want_scores": True,
    }


def splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def tie(seed: int, cell: tuple[int, ...]) -> int:
    state = splitmix(seed % 2**64)
    for axis in cell:
        state = splitmix(state ^ axis % 2**64)
    return state - 2**64 if state >= 2**63 else state


def twin(q: dict, of_point: list) -> list[dict]:
    """The definition in dictionaries; of_point: class, or fixed-point score, of each point."""
    table, answers = score_table(4096).tolist(), []
    splits, asked_splits = q["splits"].tolist(), q["asked_splits"].tolist()
    for scan, seed in enumerate(q["seeds"].tolist()):
        voxels: dict[tuple[int, ...], list[int]] = {}
        for row in range(splits[scan], splits[scan + 1]):
            quotient = q["points"][row, :3].numpy() / np.float32(q["size"])
            voxels.setdefault(tuple(math.floor(x) for x in quotient), []).append(row)

        def score(rows: list[int]) -> int:
            values = [of_point[row] for row in rows]
            if q["score"] == "none":
                return 0
            if q["score"] == "vcd":
                counts = Counter(v for v in values if v != 255).values()
                n = sum(counts)
                return (table[n] - sum(table[c] for c in counts)) // n if n else 0
            whole = max(values) if q["reduce"] == "max" else sum(values) // len(values)
            return -whole if q["score"] == "margin" else whole

        asked = q["asked"][asked_splits[scan] : asked_splits[scan + 1]].tolist()
        limit = math.inf if q["max_range"] is None else q["max_range"] * q["max_range"]
        size = float(np.float32(q["size"]))
        left = []
        for cell, rows in voxels.items():
            x, y = ((c + 0.5) * size for c in cell[:2])
            if len(rows) >= q["min_points"] and list(cell) not in asked and x * x + y * y <= limit:
                left.append((-score(rows), tie(seed, cell), rows[0], cell, rows))
        answers.append(
            {
                "picks": [
                    (cell, -worst, len(rows), rows)
                    for worst, _, _, cell, rows in sorted(left)[: q["k"]]
                ],
                "scores": {row: score(rows) for rows in voxels.values() for row in rows},
            }
        )
    return answers


def values_of_points(q: dict) -> list:
    if q["score"] == "none":
        return [0] * len(q["points"])
    prediction = q["prediction"]
    if prediction.dim() == 1:
        values = prediction.tolist()
    elif q["score"] == "vcd":
        values = [row.index(max(row)) for row in prediction.tolist()]
    else:
        values = entropy_and_margin(prediction)[q["score"] == "margin"].tolist()
    return values if q["rows"] is None else [values[row] for row in q["rows"].tolist()]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("score", SCORES)
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_selection_is_its_definition(path: Path, score, kind, lengths, seed):
    q = question_of(score, kind, lengths, seed)
    with path.used():
        found = select_voxels(**path.put(q))
        expected = twin(q, values_of_points(path.put(q)))
    scores = found.point_utilities.tolist()
    ranks = [-1] * len(q["points"])
    for scan, answer in enumerate(expected):
        picks = [
            (p.cell, p.utility * SCORE_ONE, p.num_points, p.point_indices.tolist())
            for p in found.picks(scan)
        ]
        assert picks == answer["picks"]
        assert all(scores[row] == value for row, value in answer["scores"].items())
        for rank, (*_, rows) in enumerate(answer["picks"]):
            for row in rows:
                ranks[row] = rank
    assert found.pick_of_point.tolist() == ranks
    assert found.cells.dtype == found.pick_of_point.dtype == torch.int32


def same_selection(path: Path, question: dict) -> bool:
    with Path("reference").used():
        slow = select_voxels(**question)
    with path.used():
        fast = select_voxels(**path.put(question))
    return all(torch.equal(getattr(slow, f), getattr(fast, f).cpu()) for f in FIELDS)


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("labels", [False, True])
def test_confusion_selects_the_same_as_the_reference_on_large_batches(path, labels):
    """Scans of different shapes and densities, tens of thousands of points, tables that grow."""
    rng = np.random.default_rng(4)
    parts = [rng.normal(0, s, (n, 4)) for s, n in ((9, 12_000), (0.2, 5000), (1, 0), (60, 6000))]
    points = torch.from_numpy(np.concatenate(parts).astype(np.float32))
    lengths = torch.tensor([0] + [len(p) for p in parts])
    prediction = torch.from_numpy(rng.normal(0, 1, (len(points), 19)).astype(np.float32))
    question = {
        "points": points,
        "size": 0.25,
        "prediction": prediction.argmax(1).to(torch.uint8) if labels else prediction,
        "num_classes": 19,
        "k": 40,
        "seeds": [1, 2, 3, 4],
        "splits": lengths.cumsum(0),
        "max_range": 50.0,
        "want_scores": True,
    }
    assert same_selection(path, question)
    before = question | {"k": 900}
    with path.used():
        found = select_voxels(**path.put(before))
    asked = [found.cells[b][found.counts[b] > 0].cpu() for b in range(4)]
    splits = torch.tensor([0, *np.cumsum([len(a) for a in asked])])
    assert same_selection(path, question | {"asked": torch.cat(asked), "asked_splits": splits})


@pytest.mark.parametrize("path", PATHS)
def test_a_voxel_of_more_points_than_16_bits_count(path):
    points = torch.zeros(140_000, 4)
    points[-40_000:, 0] = 7.0  # the second voxel
    labels = torch.arange(140_000).remainder(2).to(torch.uint8)
    labels[:70_001] = 2  # 70,001 of 100,000 in one class: beyond 16 bits as well
    with path.used():
        found = select_voxels(*path.put((points, 0.25, labels, 3)), k=2, seeds=[0])
    crowded, other = sorted(found.picks(), key=lambda p: -p.num_points)
    assert (crowded.num_points, other.num_points) == (100_000, 40_000) and other.utility == 1
    shares = (0.70001, 0.149995, 0.149995)  # one odd point more or less
    assert crowded.utility == pytest.approx(-sum(s * math.log2(s) for s in shares), 1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_populations_beyond_the_table_are_refused(path, monkeypatch):
    """With a limit that a test can reach; rows without a class are of the population too."""
    from annotator3d.kernels import score_table as score
    from annotator3d.kernels import selection as api_select

    for module in (api_select, score):
        monkeypatch.setattr(module, "MAX_POPULATION", 1024)
    monkeypatch.setattr(score, "_table", score_table(1024)[:1025].clone())
    monkeypatch.setattr(score, "_copies", {})
    labels = torch.full((1025,), 255, dtype=torch.uint8)
    with path.used():
        select = {"k": 1, "seeds": [0]}
        found = select_voxels(*path.put((torch.zeros(1024, 3), 1.0, labels[:1024], 2)), **select)
        assert found.picks()[0].num_points == 1024
        with pytest.raises(ValueError, match="voxels: expected at most 1024 points in a voxel, go"):
            select_voxels(*path.put((torch.zeros(1025, 3), 1.0, labels, 2)), **select)
        found = select_voxels(path.put(torch.zeros(1025, 3)), 1.0, score="none", **select)
        assert found.picks()[0].num_points == 1025  # nothing to look up


@pytest.mark.parametrize("path", FAST)
@given(
    st.sampled_from(["entropy", "margin"]),
    st.sampled_from([0.0, 1e-3, 1.0, 8.0, 60.0, 3e37]),
    st.sampled_from([0.0, 24.0, -90.0]),
    st.integers(1, 255),
    st.sampled_from([[1500], [0, 700, 1, 900]]),
    st.sampled_from(KINDS),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_the_best_few_are_those_of_all_scores(
    path, score, spread, offset, classes, lengths, kind, seed
):
    """A path may leave out points whose score cannot decide; asked for all scores, it may not."""
    rng = np.random.default_rng(seed)
    n, size = sum(lengths), 0.25
    points = cloud(seed, n, kind, size)
    logits = rng.normal(0, 1, (n, classes)) * spread
    logits[rng.random(n) < 0.3] = 0  # ties, and the highest entropy
    logits += offset
    cells = np.floor(points[:, :3].numpy() / np.float32(size)).astype(np.int32)
    some = np.sort(rng.choice(n, rng.integers(0, 40), replace=False))
    splits = torch.tensor([0, *np.cumsum(lengths).tolist()])
    q = path.put(
        {
            "points": points,
            "size": size,
            "prediction": torch.from_numpy(logits.astype(np.float32)),
            "num_classes": classes,
            "score": score,
            "k": int(rng.integers(0, 7)),
            "seeds": torch.arange(len(lengths)),
            "splits": splits,
            "asked": torch.from_numpy(cells[some]),
            "asked_splits": torch.from_numpy(np.searchsorted(some, splits.numpy())),
            "min_points": int(rng.integers(0, 3)),
            "max_range": [None, 3.0][rng.integers(2)],
        }
    )
    with path.used():
        few, all_of_them = (select_voxels(**q, want_scores=wanted) for wanted in (False, True))
    for part in ("cells", "scores", "counts", "pick_of_point"):
        assert torch.equal(getattr(few, part), getattr(all_of_them, part)), part


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("score", ["entropy", "margin"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_single_bad_logit_is_refused_whatever_can_be_chosen(path: Path, score, value):
    points = torch.rand(1000, 3) * 50
    logits = torch.zeros(1000, 7)
    logits[613, 4] = value
    q = path.put({"points": points, "prediction": logits})
    with path.used(), pytest.raises(ValueError, match=r"prediction: expected finite values"):
        select_voxels(size=0.5, num_classes=7, score=score, k=1, seeds=[0], **q)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_logits_are_compared_in_their_own_precision(path, dtype):
    above = 1 + torch.finfo(dtype).eps
    logits = torch.tensor([[1.0, above], [1.0, 1.0]], dtype=dtype)  # class 1, and 0 of two equal
    with path.used():
        found = select_voxels(*path.put((torch.zeros(2, 3), 1.0, logits, 2)), k=1, seeds=[0])
    assert found.scores.tolist() == [[SCORE_ONE]]


@pytest.mark.parametrize("path", PATHS)
def test_scans_do_not_depend_on_their_batch(path):
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.normal(0, 2, (900, 3)).astype(np.float32))
    logits = torch.from_numpy(rng.normal(0, 1, (900, 5)).astype(np.float32))
    splits, options = torch.tensor([0, 400, 400, 900]), {"k": 6, "score": "entropy"}
    with path.used():
        args = path.put((points, 0.3, logits, 5))
        whole = select_voxels(*args, splits=splits, seeds=[5, 6, 7], **options)
        for scan, (a, b) in enumerate(((0, 400), (400, 400), (400, 900))):
            part = path.put((points[a:b], 0.3, logits[a:b], 5))
            alone = select_voxels(*part, seeds=[5 + scan], **options)
            summary = [[(p.cell, p.utility, p.num_points) for p in s] for s in (alone.picks(),
                       whole.picks(scan))]  # fmt: skip
            assert summary[0] == summary[1] and len(summary[0]) == (6 if b > a else 0)
            rows = [(p.point_indices + a).tolist() for p in alone.picks()]
            assert rows == [p.point_indices.tolist() for p in whole.picks(scan)]


@pytest.mark.parametrize("path", PATHS)
def test_strided_points_and_transposed_logits_are_read_as_they_are(path):
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 9, generator=generator)[:, 2:6]
    logits = torch.randn(4, 200, generator=generator).t()
    for rows in (points, points[::2], torch.randn(4, 200, generator=generator).t()):
        n = len(rows)
        args = (rows, 0.5, logits[:n], 4)
        plain = (rows.contiguous(), 0.5, logits[:n].contiguous(), 4)
        with path.used():
            results = [
                select_voxels(*path.put(a), k=5, seeds=[0], want_scores=True) for a in (args, plain)
            ]
        assert all(torch.equal(*(getattr(r, f) for r in results)) for f in FIELDS)


@pytest.mark.realdata
@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("score", SCORES)
def test_real_scans_select_the_same_on_every_path(path, score):
    root = os.environ.get("ANNOTATOR3D_SEMANTICKITTI")
    if not root:
        pytest.skip("ANNOTATOR3D_SEMANTICKITTI is not set")
    files = sorted(File(root).glob("sequences/*/velodyne/*.bin"))[::22][:2]
    parts = [torch.from_numpy(np.fromfile(f, np.float32).reshape(-1, 4)) for f in files]
    splits = torch.tensor([0] + [len(p) for p in parts]).cumsum(0)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(int(splits[-1]), 20, generator=generator)
    prediction = None if score == "none" else logits
    question = {
        "points": torch.cat(parts),
        "size": 0.25,
        "prediction": prediction,
        "num_classes": 20,
        "score": score,
        "k": 20,
        "seeds": list(range(len(parts))),
        "splits": splits,
        "min_points": 2,
        "want_scores": True,
    }
    if score in ("none", "vcd"):
        assert same_selection(path, question)
        return
    with Path("reference").used():
        slow = select_voxels(**question)
    with path.used():
        fast = select_voxels(**path.put(question))
    apart = (slow.point_utilities - fast.point_utilities.cpu()).abs().max()
    assert int(apart) <= 1e-6 * SCORE_ONE
    picks = (slow.scores - fast.scores.cpu()).abs().max()  # rank by rank
    assert int(picks) <= 1e-6 * SCORE_ONE
