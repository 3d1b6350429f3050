"""Sparse convolution on CPU against dense conv3d and against a sorted-key oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import conv3d, conv_transpose3d

from annotator3d.models.minkunet import ConvBlock
from annotator3d.models.sparse import SparseConv, sparse_input

SIDE = 8  # of the dense grid; even, as strided convolutions need it


@pytest.fixture(params=[1, 2, 4])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_batch(channels: int, scans: int = 3, side: int = SIDE, fill: float = 0.2, seed: int = 0):
    """Random occupied cells of a few scans, and the same as a dense grid [B, C, side^3]."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(scans, side, side, side, generator=generator) < fill
    scan, x, y, z = occupied.nonzero(as_tuple=True)
    cells = torch.stack([x, y, z], 1).int().contiguous()
    splits = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(scan).cumsum(0)])
    features = torch.randn(len(cells), channels, generator=generator, dtype=torch.float64)
    return features, cells, splits, scan, (scans, side)


def to_dense(features, cells, scan, shape):
    scans, side = shape
    dense = features.new_zeros(scans, side, side, side, features.shape[1])
    x, y, z = cells.long().unbind(1)
    dense = dense.index_put((scan, x, y, z), features)
    return dense.permute(0, 4, 1, 2, 3)


def at_cells(dense, cells, scan):
    x, y, z = cells.long().unbind(1)
    return dense.permute(0, 2, 3, 4, 1)[scan, x, y, z]


def dense_weight(conv):
    """[out, k, k, k, in] -> conv3d's [out, in, k, k, k]."""
    return conv.weight.permute(0, 4, 1, 2, 3)


def test_submanifold_equals_dense_conv3d_forward_and_backward(threads):
    features, cells, splits, scan, shape = random_batch(5)
    conv = SparseConv(5, 7).double()
    features.requires_grad_()
    out = conv(sparse_input(features, cells, splits)).features
    dense = conv3d(to_dense(features, cells, scan, shape), dense_weight(conv), padding=1)
    expected = at_cells(dense, cells, scan)
    torch.testing.assert_close(out, expected)

    upstream = torch.randn_like(out)
    got = torch.autograd.grad(out, [features, conv.weight], upstream)
    wanted = torch.autograd.grad(expected, [features, conv.weight], upstream)
    torch.testing.assert_close(got, wanted)


def test_strided_and_transposed_equal_dense_conv3d(threads):
    features, cells, splits, scan, shape = random_batch(3)
    down, up = SparseConv(3, 4, "down").double(), SparseConv(4, 6, "up").double()
    features.requires_grad_()
    coarse = down(sparse_input(features, cells, splits))
    fine = up(coarse)

    dense = conv3d(to_dense(features, cells, scan, shape), dense_weight(down), stride=2)
    coarse_cells = coarse.geometry.cells[1]
    coarse_scan = torch.repeat_interleave(torch.arange(shape[0]), coarse.geometry.splits[1].diff())
    expected_coarse = at_cells(dense, coarse_cells, coarse_scan)
    torch.testing.assert_close(coarse.features, expected_coarse)

    masked = to_dense(expected_coarse, coarse_cells, coarse_scan, (shape[0], SIDE // 2))
    weight = up.weight.permute(4, 0, 1, 2, 3)  # conv_transpose3d: [in, out, k, k, k]
    expected_fine = at_cells(conv_transpose3d(masked, weight, stride=2), cells, scan)
    torch.testing.assert_close(fine.features, expected_fine)

    inputs = [features, down.weight, up.weight]
    upstream = torch.randn_like(expected_fine)
    got = torch.autograd.grad(fine.features, inputs, upstream)
    wanted = torch.autograd.grad(expected_fine, inputs, upstream)
    torch.testing.assert_close(got, wanted)


def test_gradients_are_those_of_finite_differences():
    features, cells, splits, _, _ = random_batch(2, scans=2, side=4)
    for kind in ("subm", "down"):
        conv = SparseConv(2, 3, kind).double()
        features.requires_grad_()

        def run(f, w, conv=conv):
            conv.weight.data = w.data
            return torch.func.functional_call(
                conv, {"weight": w}, (sparse_input(f, cells, splits),)
            ).features

        assert torch.autograd.gradcheck(run, (features, conv.weight))


def sorted_key_conv(features, cells, splits, weight):
    """Oracle: pairs by exact 64-bit keys, sorted; nothing of the product is used."""
    out = np.zeros((len(cells), weight.shape[0]))
    scan = np.repeat(np.arange(len(splits) - 1), np.diff(splits))
    low = cells.min(0) - 1
    extent = (cells.max(0) - low + 2).astype(np.int64)

    def key(scan, cells):
        shifted = cells.astype(np.int64) - low
        return ((scan * extent[0] + shifted[:, 0]) * extent[1] + shifted[:, 1]) * extent[
            2
        ] + shifted[:, 2]

    keys = key(scan, cells)
    order = np.argsort(keys)
    for i, j, k in itertools.product(range(3), repeat=3):
        wanted = key(scan, cells + np.array([i - 1, j - 1, k - 1]))
        place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        found = keys[order][place] == wanted
        out[found] += features[order[place[found]]] @ weight[:, i, j, k].T
    return out


def street_like_scan(rng, points: int = 60_000):
    """Cells at 0.05 m of a surface out to 90 m: the extent that overflows 32-bit keys."""
    radius = 2 + 88 * rng.random(points) ** 2
    angle = 2 * np.pi * rng.random(points)
    height = rng.choice([-1.7, 0.5, 3.0], points) + 0.05 * rng.standard_normal(points)
    xyz = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height])
    return np.unique(np.floor(xyz / 0.05).astype(np.int32), axis=0)


def test_eight_real_sized_scans_in_one_batch_equal_a_sorted_key_oracle():
    rng = np.random.default_rng(0)
    scans = [street_like_scan(rng) for _ in range(8)]
    cells = np.concatenate(scans)
    splits = np.cumsum([0, *map(len, scans)])
    extent = (cells.max(0) - cells.min(0) + 1).astype(np.int64)
    assert 8 * extent.prod() > 2**31, "the case must be one that overflows a 32-bit key"
    features = rng.standard_normal((len(cells), 2))
    conv = SparseConv(2, 3).double()
    out = conv(
        sparse_input(torch.from_numpy(features), torch.from_numpy(cells), torch.from_numpy(splits))
    )
    expected = sorted_key_conv(features, cells, splits, conv.weight.detach().numpy())
    np.testing.assert_allclose(out.features.detach().numpy(), expected, atol=1e-12)


def test_repeated_runs_give_the_same_bits(threads):
    features, cells, splits, _, _ = random_batch(16, side=16)
    conv = SparseConv(16, 16)
    runs = []
    for _ in range(3):
        leaf = features.float().requires_grad_()
        out = conv(sparse_input(leaf, cells, splits)).features
        runs.append((out, *torch.autograd.grad(out.square().sum(), [leaf, conv.weight])))
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_input_that_does_not_fit_is_refused_by_name():
    cells = torch.zeros(4, 3, dtype=torch.int32)
    features, splits = torch.zeros(4, 2), torch.tensor([0, 4])
    with pytest.raises(ValueError, match="cells: expected int32"):
        sparse_input(features, cells.long(), splits)
    with pytest.raises(ValueError, match="features: expected one row for each of the 4 cells"):
        sparse_input(features[:3], cells, splits)
    with pytest.raises(ValueError, match="splits: end at 3"):
        sparse_input(features, cells, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="kind: expected subm, down or up"):
        SparseConv(2, 2, "sideways")


def test_no_voxel_at_all_is_defined():
    empty = sparse_input(
        torch.zeros(0, 2), torch.zeros(0, 3, dtype=torch.int32), torch.tensor([0, 0])
    )
    coarse = SparseConv(2, 3, "down")(SparseConv(2, 2)(empty))
    assert SparseConv(3, 4, "up")(coarse).features.shape == (0, 4)


@pytest.mark.cuda
def test_spconv_on_cuda_equals_the_cpu_path():
    features, cells, splits, _, _ = random_batch(16, side=16)
    layers = [SparseConv(16, 8), SparseConv(8, 8, "down"), SparseConv(8, 8), SparseConv(8, 4, "up")]
    results = []
    for device in ("cpu", "cuda"):
        x = sparse_input(features.float().to(device), cells.to(device), splits.to(device))
        for layer in layers:
            layer.to(device)
            x = layer(x)
        results.append(x.features.cpu())
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["subm", "down"])
def test_inference_in_one_pass_equals_the_separate_layers(kind):
    """Convolution, batch norm, shortcut and ReLU are one kernel where no gradient is wanted."""
    features, cells, splits, _, _ = random_batch(6, side=8)
    block = ConvBlock(6, 9, kind).double().eval()
    with torch.no_grad():
        block.norm.running_mean.normal_()
        block.norm.running_var.uniform_(0.2, 3)
        block.norm.weight.normal_()
        block.norm.bias.normal_()
    x = sparse_input(features, cells, splits)
    separate = block(x)  # with a graph
    shortcut = torch.randn_like(separate.features)
    with torch.no_grad():
        torch.testing.assert_close(block(x).features, separate.features)
        added = block(x, shortcut)
    assert added.level == separate.level
    torch.testing.assert_close(added.features, block(x, shortcut).features.detach())
    with torch.inference_mode():
        assert torch.equal(block(x, shortcut).features, added.features)
