"""Scores of points, features of voxels from their points, and of points from their voxels."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import FAST, KINDS, PATHS, Path, cloud

from annotator3d.kernels import SCORE_ONE, devoxelize, interpolation
from annotator3d.kernels.grouping import group_cells, voxel_features, voxel_mean, voxelize
from annotator3d.kernels.scores import entropy_and_margin

LN2 = math.log(2)


def softmax_scores(row: list[float]) -> tuple[float, float]:
    """Entropy in bits and margin from the definitions, in exact sums of Python floats."""
    weights = [math.exp(value - max(row)) for value in row]
    p = sorted((w / math.fsum(weights) for w in weights), reverse=True)
    entropy = -math.fsum(q * math.log(q) for q in p if q > 0) / LN2
    return entropy, p[0] - (p[1] if len(p) > 1 else 0.0)


@pytest.mark.parametrize("path", PATHS)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 4, 5, 19, 20, 33, 255]),
    st.integers(0, 70),
    st.sampled_from([1e-3, 1.0, 8.0, 60.0, 3e4]),
)
@settings(max_examples=40, deadline=None)
def test_entropy_and_margin_are_those_of_the_softmax(path: Path, seed, classes, n, spread):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, spread, (n, classes)).astype(np.float32))
    logits[::5] = logits[::5].round()  # equal ones
    with path.used():
        entropy, margin = entropy_and_margin(path.put(logits))
    assert entropy.dtype == margin.dtype == torch.int64
    for row, *found in zip(logits.tolist(), entropy.tolist(), margin.tolist(), strict=True):
        wanted = softmax_scores(row)
        assert [f / SCORE_ONE for f in found] == pytest.approx(wanted, abs=1e-6)
        assert found[0] >= 0 and 0 <= found[1] <= SCORE_ONE


@pytest.mark.parametrize("path", PATHS)
def test_entropy_and_margin_at_the_ends(path):
    rows = [
        ([0.0, 0, 0, 0], (2, 0)),
        ([3e38, -3e38, 0, 0], (0, 1)),  # their difference is beyond float32
        ([-3e38, -3e38, -3e38, -3e38], (2, 0)),
        ([88.0, 0, 0, 0], (0, 1)),
        ([-0.0, 0.0, -3e38, -3e38], (1, 0)),
    ]
    with path.used():
        logits = torch.tensor([row for row, _ in rows])
        entropy, margin = entropy_and_margin(path.put(logits))
        single = entropy_and_margin(path.put(torch.tensor([[-7.0], [3e38]])))
        halves = entropy_and_margin(path.put(torch.tensor([[0.5, 0.25]] * 3).half()))
        floats = entropy_and_margin(path.put(torch.tensor([[0.5, 0.25]]).double()))
    for e, m, (_, wanted) in zip(entropy.tolist(), margin.tolist(), rows, strict=True):
        assert (e / SCORE_ONE, m / SCORE_ONE) == pytest.approx(wanted, abs=1e-9)
    assert [t.tolist() for t in single] == [[0, 0], [SCORE_ONE, SCORE_ONE]]
    assert [t[:1].tolist() for t in halves] == [t.tolist() for t in floats]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_voxel_features_are_first_and_mean_of_the_members(path, dtype):
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(-2, 2, (300, 3), generator=generator, dtype=torch.int32)
    features = torch.randn(300, 5, generator=generator).mul(100).to(dtype)
    with path.used():
        voxels = group_cells(path.put(cells), path.put(torch.tensor([0, 120, 120, 300])))
        mean = voxel_mean(path.put(features), voxels)
        first = voxel_features(path.put(features), voxels, "first")
    assert mean.dtype == first.dtype == dtype
    rows = [m.tolist() for m in voxels.members.cpu().split(voxels.counts.tolist())]
    assert first.tolist() == [features[r[0]].tolist() for r in rows]
    exact = torch.stack([features[r].double().sum(0) / len(r) for r in rows])
    assert torch.equal(mean.cpu(), exact.to(dtype))  # whatever the order, to the last bit here


@pytest.mark.parametrize("path", PATHS)
def test_voxel_features_of_nothing_and_of_one_point(path):
    for n in (0, 1):
        with path.used():
            voxels = group_cells(path.put(torch.zeros(n, 3, dtype=torch.int32)))
            features = path.put(torch.ones(n, 4))
            assert voxel_mean(features, voxels).tolist() == [[1.0] * 4] * n
            assert voxel_mean(features[:, :0], voxels).shape == (n, 0)


@pytest.mark.parametrize("path", PATHS)
def test_mean_of_a_crowded_voxel_is_not_lost_in_rounding(path):
    features = torch.full((200_000, 1), 0.1)
    with path.used():
        voxels = group_cells(path.put(torch.zeros(200_000, 3, dtype=torch.int32)))
        assert voxel_mean(path.put(features), voxels).item() == features[0].item()


CORNERS = list(product((0, 1), repeat=3))


def loop_interpolation(points, point_splits, cells, splits, stride):
    """Row by row, the stated order of float32 operations."""
    one, index, weight = np.float32(1), [], []
    for scan in range(len(splits) - 1):
        row = {tuple(cells[i]): i for i in range(splits[scan], splits[scan + 1])}
        for point in points[point_splits[scan] : point_splits[scan + 1]]:
            q = point[:3] / np.float32(stride)
            base = np.floor(q)
            f = q - base
            rows, weights, total = [], [], np.float32(0)
            for corner in CORNERS:
                w = one
                for axis in range(3):
                    part = f[axis] if corner[axis] else one - f[axis]
                    w = part if axis == 0 else w * part
                found = row.get(tuple(int(b) + c for b, c in zip(base, corner, strict=True)), -1)
                rows.append(found)
                weights.append(w if found >= 0 else np.float32(0))
                total = total + weights[-1]
            index.append(rows)
            weight.append([w / total if total > 0 else w for w in weights])
    return index, np.array(weight, np.float32).reshape(-1, 8)


@pytest.mark.parametrize("path", PATHS)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=3),
    st.sampled_from([1, 2, 3, 8]),
    st.sampled_from([k for k in KINDS if k != "far"]),
)
@settings(max_examples=50, deadline=None)
def test_interpolation_is_its_definition_bit_for_bit(path: Path, seed, lengths, stride, kind):
    rng = np.random.default_rng(seed)
    point_splits = np.cumsum([0, *(p for p, _ in lengths)]).tolist()
    points = cloud(seed, point_splits[-1], kind, 1.0)
    points = points + torch.from_numpy(rng.random(points.shape).astype(np.float32))
    known = []
    for scan in range(len(lengths)):  # cells near the points, in an order of their own
        own = points[point_splits[scan] : point_splits[scan + 1], :3].numpy() / stride
        near = np.floor(own) + rng.integers(-1, 2, own.shape)
        near = np.unique(near.astype(np.int32), axis=0)
        known.append(rng.permutation(near)[: lengths[scan][1]])
    splits = np.cumsum([0, *map(len, known)]).tolist()
    cells = np.concatenate([np.zeros((0, 3), np.int32), *known])
    expected = loop_interpolation(points.numpy(), point_splits, cells.tolist(), splits, stride)
    args = (points, torch.from_numpy(cells), torch.tensor(splits), stride)
    with path.used():
        index, weight = interpolation(*path.put(args), point_splits=torch.tensor(point_splits))
        near, one = interpolation(
            *path.put(args), mode="nearest", point_splits=torch.tensor(point_splits)
        )
    assert index.tolist() == expected[0]
    assert np.array_equal(weight.cpu().numpy(), expected[1])
    assert near.shape == (len(points), 1) and near.tolist() == [row[:1] for row in expected[0]]
    assert one.tolist() == [[float(row[0] >= 0)] for row in expected[0]]


@pytest.mark.parametrize("path", PATHS)
def test_interpolation_computed_by_hand(path):
    cells = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=torch.int32)
    values = torch.tensor([[10.0], [20.0], [40.0], [7.0]])
    points = torch.tensor(
        [
            [0.25, 0, 0],  # 3/4 of 10, 1/4 of 20
            [0.0, 0.5, 0.9],  # the upper cells are missing: 1/2 of 10, 1/2 of 40
            [0.5, 0.5, 0],  # one of four is missing: a third of 10, 20, 40
            [-0.5, 0, 0],  # only its right neighbour is there
            [2.0, 2.0, 2.0],  # nothing is
            [5.0, 5.0, 5.0],  # at its cell
            [-1.0, 0, 0],  # cells around it, all of weight 0
        ]
    )
    with path.used():
        index, weight = interpolation(*path.put((points, cells)))
        found = devoxelize(path.put(values), index, weight)[:, 0].tolist()
        halved = interpolation(*path.put((points * 2, cells)), stride=2)
    assert found == pytest.approx([12.5, 25, 70 / 3, 10, 0, 7, 0], abs=1e-5)
    assert all(torch.equal(*pair) for pair in zip((index, weight), halved, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_interpolation_in_a_full_grid_is_torch_trilinear(path):
    generator = torch.Generator().manual_seed(2)
    dense = torch.randn(5, 6, 7, 3, generator=generator)
    cells = torch.cartesian_prod(*map(torch.arange, (5, 6, 7))).int()
    extent = torch.tensor([4.0, 5.0, 6.0])
    points = torch.rand(200, 3, generator=generator) * extent
    unit = (points / extent * 2 - 1).flip(1)[None, None, None]  # grid_sample's z, y, x order
    wanted = F.grid_sample(dense.permute(3, 0, 1, 2)[None], unit, align_corners=True)
    with path.used():
        corners = interpolation(*path.put((points, cells)))
        found = devoxelize(path.put(dense.reshape(-1, 3)), *corners).cpu()
    assert torch.allclose(found, wanted[0, :, 0, 0].t(), atol=1e-5)


def around(generator: torch.Generator, n: int, v: int, k: int) -> tuple[torch.Tensor, ...]:
    index = torch.randint(-1, v, (n, k), generator=generator)
    return index, torch.rand(n, k, generator=generator)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "v", "k", "c"), [(40, 9, 8, 5), (7, 3, 1, 33), (0, 4, 8, 2)])
def test_devoxelize_and_its_gradient_are_slow_loops(path, dtype, n, v, k, c):
    generator = torch.Generator().manual_seed(n)
    index, weight = around(generator, n, v, k)
    features = torch.randn(v, c, generator=generator).to(dtype)
    seen = torch.randn(n, c, generator=generator).to(dtype)
    out, gradient = torch.zeros(n, c).double(), torch.zeros(v, c).double()
    for i, j in product(range(n), range(k)):
        if index[i, j] >= 0:
            out[i] += weight[i, j].double() * features[index[i, j]].double()
            gradient[index[i, j]] += weight[i, j].double() * seen[i].double()
    with path.used():
        given_features = path.put(features).requires_grad_()
        found = devoxelize(given_features, *path.put((index, weight)))
        found.backward(path.put(seen))
    rough = {torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.float32: 1e-5, torch.float64: 1e-13}
    close = {"rtol": rough[dtype], "atol": rough[dtype]}
    assert found.dtype == given_features.grad.dtype == dtype
    assert torch.allclose(found.detach().cpu().double(), out, **close)
    assert torch.allclose(given_features.grad.cpu().double(), gradient, **close)


@pytest.mark.parametrize("path", FAST)
def test_devoxelize_agrees_with_the_reference_to_the_bit(path):
    generator = torch.Generator().manual_seed(5)
    index, weight = around(generator, 3000, 400, 8)
    features = torch.randn(400, 37, generator=generator)
    with Path("reference").used():
        slow = devoxelize(features, index, weight)
    with path.used():
        fast = devoxelize(*path.put((features, index, weight)))
    assert torch.equal(slow, fast.cpu())


@pytest.mark.parametrize("path", PATHS)
def test_devoxelize_from_no_voxels_and_by_no_neighbours(path):
    with path.used():
        none = path.put(torch.full((3, 8), -1))
        zero = path.put(torch.zeros(3, 8))
        assert devoxelize(path.put(torch.zeros(0, 2)), none, zero).tolist() == [[0, 0]] * 3
        assert devoxelize(path.put(torch.ones(4, 2)), none[:, :0], zero[:, :0]).sum() == 0


@pytest.mark.parametrize("path", PATHS)
def test_gradients_are_those_of_the_functions(path):
    """By finite differences in float64; of the gradient itself as well."""
    generator = torch.Generator().manual_seed(1)
    index, weight = path.put(around(generator, 12, 5, 8))
    features = path.put(torch.randn(5, 3, generator=generator).double()).requires_grad_()
    cells = path.put(torch.randint(0, 2, (12, 3), generator=generator, dtype=torch.int32))
    points = path.put(torch.randn(12, 3, generator=generator).double()).requires_grad_()
    with path.used():
        voxels = group_cells(cells)
        assert torch.autograd.gradcheck(lambda f: devoxelize(f, index, weight), features)
        assert torch.autograd.gradgradcheck(lambda f: devoxelize(f, index, weight), features)
        for how in ("mean", "first"):
            assert torch.autograd.gradcheck(lambda f: voxel_features(f, voxels, how), points)  # noqa: B023


@pytest.mark.parametrize("path", PATHS)
def test_a_point_branch_gives_back_what_voxels_gave_it(path):
    """Mean of constant features, read back at their own cells: the identity, and its gradient."""
    points = cloud(0, 400, "dense")
    with path.used():
        voxels = voxelize(path.put(points), 0.25)
        feature = path.put(torch.randn(len(voxels), 4)).requires_grad_()
        index, weight = interpolation(voxels.cells.float(), voxels.cells)
        assert torch.equal(devoxelize(feature, index, weight), feature)
        back = voxel_mean(devoxelize(feature, index, weight)[voxels.point_to_voxel], voxels)
        back.sum().backward()
    assert torch.allclose(feature.grad, torch.ones_like(feature))
