"""The CUDA code on host threads: any number of them, in any order, gives the reference's bits."""

from __future__ import annotations

from unittest.mock import patch

import kernels_host
import numpy as np
import pytest
import torch
from host_cases import batch, question, same
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import KINDS
from torch import Tensor

from annotator3d.kernels import SCORE_ONE, cpu, reference
from annotator3d.kernels.reference import selection
from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import score_table

pytestmark = pytest.mark.skipif(
    kernels_host.missing_reason() is not None, reason=str(kernels_host.missing_reason())
)
THREADS = (1, 2, 4)


def specified(arguments: SelectionRequest, kernels) -> tuple[Tensor, ...]:
    """What the reference selects from this path's scores of points: exact for every strategy."""
    with patch.object(selection, "entropy_and_margin", kernels.entropy_and_margin):
        return reference.select(arguments)


@pytest.mark.parametrize("threads", THREADS)
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 400), max_size=4),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_grouping_is_the_references_on_any_number_of_threads(threads, kind, lengths, seed):
    points, splits = batch(lengths, kind, seed)
    kernels = kernels_host.kernels(threads)
    slow = reference.voxelize(points, 0.25, splits)
    assert same(kernels.voxelize(points, 0.25, splits), slow)
    cells = slow[0][slow[2]]
    assert same(kernels.group_cells(cells, splits), slow)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("score", ["none", "vcd", "entropy", "margin"])
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 300), min_size=1, max_size=3),
    st.sampled_from(["max", "mean"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=12, deadline=None)
def test_selection_is_the_references_on_any_number_of_threads(
    threads, score, kind, lengths, reduce, seed
):
    kernels = kernels_host.kernels(threads)
    arguments = question(*batch(lengths, kind, seed), score, reduce=reduce)
    assert same(kernels.select(arguments), specified(arguments, kernels))


@pytest.mark.parametrize("k", [1, 64, 900, 5000])
def test_places_that_every_voxel_fights_for(k):
    """All scores are equal, so nobody is turned away by score; few or all voxels are picked."""
    points, splits = batch([4000, 0, 1000], "spread", 1)
    slow = reference.select(question(points, splits, "none", k=k))
    for threads in THREADS:
        kernels = kernels_host.kernels(threads)
        for _ in range(3):
            assert same(kernels.select(question(points, splits, "none", k=k)), slow)


@pytest.mark.parametrize("threads", THREADS)
def test_members_of_segments_of_every_length_around_a_merge(threads):
    """Runs are sorted up to 64 members and then merged by pairs; 70,000 exceed 16 bits."""
    lengths = [1, 2, 63, 64, 65, 127, 128, 129, 192, 257, 4097, 70_000]
    for several in (lengths[:4], lengths[:6], lengths[:9], lengths):
        cells = torch.zeros(sum(several), 3, dtype=torch.int32)
        cells[:, 1] = torch.arange(len(several)).repeat_interleave(torch.tensor(several))
        cells = cells[torch.randperm(len(cells), generator=torch.Generator().manual_seed(3))]
        splits = torch.tensor([0, len(cells)])
        found = kernels_host.kernels(threads).group_cells(cells, splits)
        assert same(found, reference.group_cells(cells, splits))


def hashed(cells: np.ndarray) -> np.ndarray:
    """Table::key of csrc/cuda for cells [N, 3] of scan 0, [N] uint64."""
    x, y, z = cells.astype(np.uint32).astype(np.uint64).T
    k = x * np.uint64(0x9E3779B97F4A7C15) + y * np.uint64(0xC2B2AE3D27D4EB4F)
    k = k + z * np.uint64(0x165667B19E3779F9)
    k = (k ^ (k >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    k = (k ^ (k >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return k ^ (k >> np.uint64(32))


def test_cells_of_equal_hash_stay_apart():
    """The 32 bits of the hash that a slot holds are no proof: pairs that share them and their
    first slot in a table for two rows."""
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(-(2**31), 2**31, (600_000, 3)).astype(np.int32), axis=0)
    key = hashed(cells)
    order = np.argsort(key & np.uint64(0xFFFFFFFF), kind="stable")
    low, high = key[order] & np.uint64(0xFFFFFFFF), key[order] >> np.uint64(62)  # 4 slots
    twins = np.flatnonzero((low[1:] == low[:-1]) & (high[1:] == high[:-1]))
    assert len(twins) > 2
    splits = torch.tensor([0, 2])
    for at in twins:
        pair = torch.from_numpy(cells[order[[at, at + 1]]])
        found = kernels_host.group_cells(pair, splits)
        assert found[0].tolist() == pair.tolist() and found[2].tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [1, 2, 22, 23, 24, 25, 31, 32, 33, 46, 47, 48, 49, 254])
def test_rows_of_every_width_are_read_right(dtype, classes):
    """Up to 47 float32 or 23 float64 classes go through fast memory; the last tile is not full."""
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(70, classes, generator=generator, dtype=dtype)
    voxels = reference.group_cells(
        torch.arange(70)[:, None].expand(-1, 3).int() // 3, torch.tensor([0, 70])
    )
    layout = (voxels[2], voxels[3], voxels[4], voxels[1])
    slow = reference.confusion(logits, *layout, score_table(3), classes)
    for threads in THREADS:
        kernels = kernels_host.kernels(threads)
        assert torch.equal(kernels.confusion(logits, *layout, score_table(3), classes), slow)
    exact, found = (
        reference.entropy_and_margin(logits.float()),
        kernels_host.entropy_and_margin(logits),
    )
    assert all(
        int((a - b).abs().max()) <= 1e-6 * SCORE_ONE for a, b in zip(exact, found, strict=True)
    )
    for row, column in ((0, 0), (31, classes - 1), (69, classes // 2)):
        bad = logits.clone()
        bad[row, column] = float("nan")
        with pytest.raises(
            ValueError, match="logits: expected finite values, got NaN or Inf in 1 r"
        ):
            kernels_host.entropy_and_margin(bad)


@pytest.mark.skipif(not hasattr(cpu, "entropy_and_margin"), reason="the C++ library has none")
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 255),
    st.integers(0, 100),
    st.sampled_from([1e-3, 1.0, 8.0, 60.0, 3e37]),
)
@settings(max_examples=60, deadline=None)
def test_scores_of_points_are_the_cpp_librarys_bits(seed, classes, n, spread):
    if cpu.library() is None:
        pytest.skip(cpu.missing_reason())
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, spread, (n, classes)).astype(np.float32))
    assert same(kernels_host.entropy_and_margin(logits), cpu.entropy_and_margin(logits))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("wide", [False, True])
def test_gradients_are_added_in_the_references_order(threads, wide):
    """Rows that nobody reads, that many read, that one point reads twice."""
    generator = torch.Generator().manual_seed(5)
    dtype = torch.float64 if wide else torch.float32
    index = torch.randint(-1, 40, (3000, 8), generator=generator)
    index[:1500] = index[:1500].clamp(max=1)  # thousands of entries in two rows
    index[index == 17] = 3
    weight = torch.rand(3000, 8, generator=generator)
    grad = torch.randn(3000, 5, generator=generator, dtype=dtype)
    kernels = kernels_host.kernels(threads)
    slow = reference.devoxelize_backward(grad, index, weight, 40)
    assert torch.equal(kernels.devoxelize_backward(grad, index, weight, 40), slow)


BAD_QUESTIONS = {
    "a point": lambda q: q.points.__setitem__((30, 2), float("nan")),
    "a cell": lambda q: q.points.__setitem__((30, 1), 1e30),
    "a logit": lambda q: q.prediction.__setitem__((30, 5), float("inf")),
}


@pytest.mark.parametrize("what", BAD_QUESTIONS)
def test_a_refused_value_is_in_the_status_and_does_not_last(what):
    points, splits = batch([60], "dense", 2)
    right = question(points, splits, "vcd")
    wrong = question(points.clone(), splits, "vcd")
    BAD_QUESTIONS[what](wrong)
    assert int(kernels_host.select(wrong)[5]) == 1
    assert int(kernels_host.select(right)[5]) == 0


def test_a_population_beyond_the_table_and_rows_of_nothing_are_refused():
    points, splits = torch.zeros(60, 4), torch.tensor([0, 60])
    assert (
        int(kernels_host.select(question(points, splits, "vcd", table=score_table(60)[:61]))[5])
        == 0
    )
    assert (
        int(kernels_host.select(question(points, splits, "vcd", table=score_table(60)[:60]))[5])
        == 1
    )
    for row in (-1, 60, 2**40):
        rows = torch.arange(60).index_fill(0, torch.tensor([9]), row)
        assert int(kernels_host.select(question(points, splits, "entropy", rows=rows))[5]) == 1


def test_a_workspace_that_is_too_small_is_an_error_and_nothing_runs():
    logits = torch.zeros(4, 3)
    kernels, small = kernels_host.kernels(1), torch.empty(1, dtype=torch.uint8)
    call = kernels._call
    with patch.object(kernels, "_call", lambda *a, **k: call(*a, **{**k, "workspace": small})):
        with pytest.raises(RuntimeError, match="annotator3d kernels: the workspace is too small"):
            kernels.entropy_and_margin(logits)
