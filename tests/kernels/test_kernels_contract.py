"""What no kernel takes, and the words for it: the same on every path."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import EVERY_PATH, KINDS, PATHS, Path, cloud
from torch import Tensor

from annotator3d import kernels

SPLITS = torch.tensor([0, 10, 10, 40])
BAD = [math.nan, math.inf, -math.inf]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def table(rows: int, columns: int, *bad: tuple[int, int, float], dtype=torch.float32) -> Tensor:
    """Zeros with some values in (row, column)."""
    values = torch.zeros(rows, columns, dtype=dtype)
    for row, column, value in bad:
        values[row, column] = value
    return values


def labels(rows: int, *bad: tuple[int, int], dtype=torch.int64) -> Tensor:
    values = torch.zeros(rows, dtype=dtype)
    for row, value in bad:
        values[row] = value
    return values


def cells(*rows: int) -> Tensor:
    """Cells (row, 0, 0)."""
    values = torch.zeros(len(rows), 3, dtype=torch.int32)
    values[:, 0] = torch.tensor(rows)
    return values


def voxels() -> dict[str, Any]:
    """Built on the path itself: 40 points in voxels of one, in three scans."""
    return {"cells": cells(*range(40)), "splits": SPLITS}


def question(**changes) -> dict[str, Any]:
    """Arguments of `select_voxels` that are right but for the changes."""
    right = {
        "points": table(40, 4),
        "size": 0.25,
        "prediction": table(40, 5),
        "num_classes": 5,
        "k": 2,
        "seeds": [1, 2, 3],
        "splits": SPLITS,
    }
    return right | changes


# Kernel, arguments, words. "voxels" in the place of an argument are those of the 40 points above.
CASES: list[tuple[str, tuple, dict, str]] = [
    *(
        ("voxelize", (table(40, 4, (12, 1, bad), (39, 2, bad)), 0.25, SPLITS), {}, words)
        for bad in BAD
        for words in [r"points: expected finite values, got NaN or Inf in 2 rows of scan 2 of"]
    ),
    *(
        ("voxelize", (table(40, 3, (3, 1, far)), 1.0, SPLITS), {}, words)
        for far in (2.0**31, -3e9, 3e38)
        for words in [r"points: expected coordinates whose cells fit 32 bits.*1 rows.*scan 0"]
    ),
    ("voxelize", (table(2, 3, (0, 0, 1e10)), 0.001), {}, "points: .*32 bits"),
    *(
        ("voxelize", args, {}, words)
        for args, words in [
            (([[0.0] * 3], 0.25), "points: expected a torch tensor, got list"),
            ((torch.zeros(2, 3).double(), 0.25), "points: expected float32, got torch.float64"),
            ((torch.zeros(2, 2), 0.25), r"points: expected shape \[N, 3 or more\], got \[2, 2\]"),
            ((torch.zeros(2, 3), 0.0), "size: expected a number of metres > 0, got 0.0"),
            ((torch.zeros(2, 3), math.nan), "size: .*got nan"),
            ((torch.zeros(2, 3), "0.25"), "size: .*got '0.25'"),
            ((torch.zeros(2, 3), 0.25, torch.tensor([0, 1])), "splits: .*from 0 to 2.*got .0, 1"),
            ((torch.zeros(2, 3), 0.25, torch.tensor([0, 2, 1, 2])), "splits: .*non-decreasing"),
            ((torch.zeros(2, 3), 0.25, torch.tensor([0, 2]).int()), "splits: expected int64"),
        ]
    ),
    ("group_cells", (torch.zeros(2, 3),), {}, "cells: expected int32, got torch.float32"),
    *(
        ("voxel_class_histogram", (given, "voxels", 4), {}, words)
        for given, words in [
            (labels(40, (3, 4), (9, 4)), "labels: expected 0..3 or 255, got 4 at 2 points"),
            (labels(40, (3, 4), dtype=torch.uint8), "labels: expected 0..3 or 255, got 4 at 1 po"),
            (labels(40, (3, -1), dtype=torch.int8), "labels: expected 0..3 or 255, got -1 at 1"),
            (labels(40, (3, 2**40)), "labels: expected 0..3 or 255, got 1099511627776 at 1"),
            (labels(39), r"labels: expected shape \[40\], got \[39\]"),
            (torch.zeros(40), "labels: expected uint8 or .*got torch.float32"),
        ]
    ),
    ("voxel_class_histogram", (labels(40), "voxels", 256), {}, "num_classes: .*1..255, got 256"),
    *(
        ("voxel_confusion", (table(40, 3, (12, 2, b), (39, 0, b), dtype=d), "voxels", 3), {}, words)
        for b in BAD
        for d in FLOATS
        for words in [r"prediction: expected finite values, got NaN or Inf in 2 rows of scan 2 of"]
    ),
    ("voxel_confusion", (labels(40, (3, 4)), "voxels", 4), {}, "prediction: .*got 4 at 1 points"),
    ("voxel_confusion", (table(40, 3), "voxels", 4), {}, r"prediction: expected shape \[40, 4\]"),
    *(
        ("entropy_and_margin", (given,), {}, words)
        for given, words in [
            (table(40, 3, (2, 0, math.nan), (9, 1, math.inf)), "logits: expected finite.*2 rows"),
            (table(40, 3, (2, 0, 1e39), dtype=torch.float64), "logits: expected finite.*1 rows"),
            (table(40, 0), "number of columns of logits: expected an int in 1..255, got 0"),
            (table(40, 256), "number of columns of logits: .*got 256"),
            (labels(40), "logits: expected float16 or "),
        ]
    ),
    *(
        ("voxel_features", args, {}, words)
        for args, words in [
            ((table(39, 2), "voxels"), r"features: expected shape \[40, any\], got \[39, 2\]"),
            ((table(40, 2), "voxels", "max"), "how: expected 'first' or 'mean', got 'max'"),
            ((labels(40), "voxels"), "features: expected float16"),
        ]
    ),
    *(
        ("select_voxels", (), question(**changes), words)
        for changes, words in [
            ({"points": table(40, 4, (12, 1, math.nan))}, "points: .*1 rows of scan 2"),
            ({"points": table(40, 4, (12, 1, 1e30))}, "points: .*32 bits.*1 rows.*scan 2"),
            ({"points": table(40, 4).double()}, "points: expected float32"),
            ({"splits": torch.tensor([0, 10, 40])}, r"seeds: expected shape \[2\], got \[3\]"),
            ({"size": -1}, "size: expected a number of metres > 0, got -1"),
            ({"prediction": None}, "prediction: expected a torch tensor, got NoneType"),
            ({"prediction": table(39, 5)}, r"prediction: expected shape \[40, 5\], got \[39, 5\]"),
            ({"prediction": labels(40), "score": "margin"}, "prediction: expected float16"),
            ({"prediction": labels(40, (2, 5))}, "prediction: expected 0..4 or 255, got 5 at 1"),
            ({"num_classes": 0}, "num_classes: expected an int in 1..255, got 0"),
            ({"score": "least"}, "score: expected 'none' or 'vcd' or .*got 'least'"),
            ({"reduce": "sum"}, "reduce: expected 'max' or 'mean', got 'sum'"),
            ({"k": -1}, "k: expected an int in 0..2147483647, got -1"),
            ({"k": 1.5}, "k: expected an int"),
            ({"seeds": torch.zeros(3)}, "seeds: expected int64, got torch.float32"),
            ({"min_points": -1}, "min_points: expected an int in 0..2147483648, got -1"),
            ({"max_range": -1}, "max_range: expected metres >= 0, got -1"),
            ({"max_range": math.nan}, "max_range: expected metres >= 0, got nan"),
            ({"asked": torch.zeros(1, 2)}, "asked: expected int32"),
            ({"asked": cells(1)}, "asked_splits: expected 3 scans, got 1"),
            ({"asked_splits": SPLITS}, "asked, asked_splits: expected both or neither"),
            ({"rows": torch.zeros(39).long()}, r"rows: expected shape \[40\], got \[39\]"),
            ({"rows": torch.zeros(40)}, "rows: expected int64"),
        ]
    ),
    *(
        ("select_voxels", (), question(score=s, prediction=table(40, 5, (12, 4, b))), words)
        for s in ("vcd", "entropy", "margin")
        for b in BAD
        for words in ["prediction: expected finite values, got NaN or Inf in 1 rows of scan 2 of"]
    ),
    *(
        ("select_voxels", (), question(rows=rows, prediction=given, score=s), words)
        for s in ("vcd", "entropy")
        for rows, given, words in [
            (labels(40, (3, 7)), table(7, 5), r"rows: expected row numbers 0..6, got 7 .1 wrong"),
            (labels(40, (3, -1)), table(7, 5), r"rows: expected row numbers 0..6, got -1 .1 wr"),
            (labels(40), table(0, 5), r"rows: expected row numbers 0..-1, got 0 .40 wrong"),
            (labels(40, (3, 6)), table(7, 5, (6, 1, math.nan)), "finite.* 1 rows of scan 0 of"),
            (labels(40), table(7, 5, (6, 1, math.nan)), "finite values, got NaN or Inf in 1 rows"),
        ]
    ),
    ("select_voxels", (), question(rows=labels(40), prediction=labels(7, (6, 9))), "got 9 at 1 po"),
    *(
        ("kernel_map", args, {}, words)
        for args, words in [
            ((cells(0, 1, 0), torch.tensor([0, 3]), cells(0)), "cells: expected unique.*got 1 rep"),
            ((cells(0, 1), torch.tensor([0, 1]), cells(0)), "scan_splits: .*from 0 to 2"),
            ((cells(0, 1), torch.tensor([0, 2]), cells(0).long()), "offsets: expected int32"),
        ]
    ),
    *(
        ("interpolation", (table(40, 3, *bad), cells(*around)), more, words)
        for bad, around, more, words in [
            ([(3, 0, math.nan)], (0, 1), {}, "points: expected finite.*1 rows of scan 0"),
            ([(3, 0, math.inf)], (), {}, "points: expected finite.*1 rows of scan 0"),
            ([(3, 0, 2.0**31)], (0, 1), {}, "points: .*32 bits.*1 rows"),
            ([(3, 0, 2.0**32)], (0, 1), {"stride": 2}, "points: .*32 bits.*1 rows"),
            ([], (0, 1, 0), {}, "cells: expected unique cells within a scan, got 1 repeated"),
            ([], (0, 1), {"stride": 0}, "stride: expected an int in 1..1048576, got 0"),
            ([], (0, 1), {"mode": "cubic"}, "mode: expected 'trilinear' or 'nearest', got 'cub"),
            ([], (0, 1), {"splits": torch.tensor([0, 1, 2])}, "point_splits: expected 2 scans, go"),
        ]
    ),
    *(
        ("voxel_reduce", (values, "voxels", how), {}, words)
        for values, how, words in [
            (torch.zeros(40), "sum", "how: expected 'max' or 'mean', got 'sum'"),
            (torch.zeros(39), "max", r"values: expected shape \[40\], got \[39\]"),
            (labels(40, dtype=torch.int32), "max", "values: expected float16 or .*int64, got"),
            (table(40, 1, (12, 0, math.nan))[:, 0], "max", "values: .*1 rows of scan 2"),
            (table(40, 1, (12, 0, math.inf))[:, 0], "mean", "values: .*1 rows of scan 2"),
            (torch.full((40,), 2.0**31), "mean", "values: expected a sum over each voxel below"),
        ]
    ),
    *(
        ("top_voxels", (scores, "voxels", k, seeds, *more), {}, words)
        for scores, k, seeds, more, words in [
            (table(40, 1, (2, 0, math.nan))[:, 0], 1, labels(3), (), "scores: expected no NaN, go"),
            (labels(39), 1, labels(3), (), r"scores: expected shape \[40\], got \[39\]"),
            (labels(40), -1, labels(3), (), "k: expected an int in 0..2147483647, got -1"),
            (labels(40), 1, labels(2), (), r"seeds: expected shape \[3\], got \[2\]"),
            (labels(40), 1, labels(3), (labels(40),), "exclude: expected bool, got torch.int64"),
        ]
    ),
    ("cells_in_range", (cells(1), 0.25, -1.0), {}, "max_range: expected metres >= 0, got -1.0"),
    ("cells_in_range", (cells(1).long(), 0.25, 1.0), {}, "cells: expected int32"),
    *(
        ("devoxelize", (table(5, 2), index, weight), {}, words)
        for index, weight, words in [
            (torch.full((3, 8), 5), table(3, 8), r"index: expected row numbers -1..4, got 5 .24"),
            (torch.full((3, 8), -2), table(3, 8), r"index: expected row numbers -1..4, got -2"),
            (torch.full((3, 8), 0), table(3, 7), r"weight: expected shape \[3, 8\], got \[3, 7\]"),
            (torch.full((3, 8), 0).int(), table(3, 8), "index: expected int64"),
            (torch.full((3, 8), 0), table(3, 8).half(), "weight: expected float32 or float64"),
        ]
    ),
]


def words_of(path: Path, kernel: str, args: tuple, more: dict) -> str:
    """What the error says; any other outcome fails."""
    with path.used():
        if "voxels" in [a for a in args if isinstance(a, str)]:
            known = kernels.group_cells(**path.put(voxels()))
            args = tuple(known if isinstance(a, str) and a == "voxels" else a for a in args)
        with pytest.raises(ValueError) as caught:
            getattr(kernels, kernel)(*path.put(args), **path.put(more))
    assert caught.type is ValueError
    return str(caught.value)


@pytest.mark.parametrize("path", EVERY_PATH)
@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)]
)
def test_bad_input_is_refused_in_the_same_words(path, case):
    *call, words = case
    said = words_of(path, *call)
    assert re.search(words, said), said
    if path.name != "reference":
        assert said == words_of(Path("reference"), *call)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_right_about_the_questions_that_were_refused(path):
    """Else the cases above might be refused for another reason."""
    with path.used():
        for change in ({}, {"score": "entropy"}, {"score": "none", "prediction": None}):
            found = kernels.select_voxels(**path.put(question(**change)))
            assert [len(found.picks(scan)) for scan in range(3)] == [1, 0, 1]
        many = kernels.select_voxels(**path.put(question(k=2**31 - 1)))
        assert many.counts.sum() == 40


@pytest.mark.parametrize("path", EVERY_PATH)
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(1, 60), min_size=1, max_size=3),
    st.sampled_from([math.nan, math.inf, -math.inf, 3e38, -(2.0**40), 2.0**29]),
    st.sampled_from(["points", "prediction"]),
    st.sampled_from(["vcd", "entropy", "margin"]),
    st.integers(1, 254),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_bad_values_anywhere_are_refused_in_the_same_words(
    path, kind, lengths, bad, where, score, classes, seed
):
    """One to all rows of a cloud, in any scan: no number, or a cell beyond 32 bits."""
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    values = {"points": cloud(seed, n, kind), "prediction": torch.zeros(n, classes)}
    rows = rng.choice(n, rng.integers(1, n + 1), replace=False)
    values[where][rows, rng.integers(0, 3 if where == "points" else classes)] = bad
    refused = where == "points" or not math.isfinite(bad)
    asked = values | {"size": 0.25, "num_classes": classes, "score": score, "k": 3}
    asked |= {"splits": torch.tensor([0, *lengths]).cumsum(0), "seeds": [1] * len(lengths)}
    said = []
    for one in (path, Path("reference")):
        with one.used():
            try:
                kernels.select_voxels(**one.put(asked))
                said.append("")
            except ValueError as error:
                said.append(str(error))
    assert said[0] == said[1]
    assert said[0].startswith(f"{where}: expected ") if refused else said[0] == ""


@pytest.mark.parametrize("path", PATHS)
def test_more_than_can_be_counted_is_refused(path):
    """Rows that lie in no memory."""
    rows = path.put(torch.zeros(1, 4)).expand(2**31, 4)
    few, words = {"k": 1, "seeds": [0]}, "expected at most 2147483647 rows, got 2147483648"
    longs, whole = rows[:1, :3].int().expand(2**31, 3), rows[:1, 0].long().expand(2**31)
    with path.used():
        for name, call in [
            ("points", lambda: kernels.voxelize(rows, 0.25)),
            ("points", lambda: kernels.select_voxels(rows, 0.25, score="none", **few)),
            ("cells", lambda: kernels.group_cells(longs)),
            ("logits", lambda: kernels.entropy_and_margin(rows)),
            ("cells", lambda: kernels.kernel_map(longs, whole[:2], longs[:1])),
            ("points", lambda: kernels.interpolation(rows, longs[:1])),
            ("features", lambda: kernels.devoxelize(rows, whole[:1, None], rows[:1, :1])),
        ]:
            with pytest.raises(ValueError, match=f"{name}: {words}"):
                call()
        sums = (rows[: 2**27], 0.25, rows[: 2**27, :1], 1)
        with pytest.raises(ValueError, match="splits: expected fewer than 2.27 points in a scan"):
            kernels.select_voxels(*sums, score="entropy", reduce="mean", **few)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["prediction", "rows"])
def test_tensors_of_two_devices_are_refused(path, name):
    given = path.put(question(rows=labels(40)))
    with path.used():
        with pytest.raises(
            ValueError, match=f"{name}: expected a tensor on {path.device}.*on meta"
        ):
            kernels.select_voxels(**given | {name: given[name].to("meta")})
