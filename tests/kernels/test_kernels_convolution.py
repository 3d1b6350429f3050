"""Sparse convolution on every path against dense conv3d in float64: values, gradients, refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import EVERY_PATH, PATHS, VARIANTS, Path
from torch.nn.functional import conv3d, conv_transpose3d

from annotator3d.kernels import (
    cpu,
    reference,
    sparse_convolution,
    strided_rulebook,
    submanifold_rulebook,
)

needs_library = pytest.mark.skipif(cpu.library() is None, reason=cpu.missing_reason())
CPU_PATHS = [p for p in EVERY_PATH if p.id not in ("host", "cuda")]
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5}


class World:
    """Occupied cells of a few scans of side^3 cells, shuffled, and the same as a dense grid."""

    def __init__(self, seed: int, scans: int = 2, side: int = 6, fill: float = 0.3) -> None:
        self.made = torch.Generator().manual_seed(seed)
        occupied = torch.rand(scans, side, side, side, generator=self.made) < fill
        found = occupied.nonzero()
        order = torch.randperm(len(found), generator=self.made)
        order = order[found[order, 0].argsort(stable=True)]
        self.scan, self.cells = found[order, 0], found[order, 1:].int()
        self.splits = torch.bincount(self.scan, minlength=scans).cumsum(0)
        self.splits = torch.cat([torch.zeros(1, dtype=torch.long), self.splits])
        self.shape = (scans, side)

    def rows(self, channels: int, dtype=torch.float64, number: int | None = None) -> torch.Tensor:
        number = len(self.cells) if number is None else number
        return torch.randn(number, channels, generator=self.made, dtype=torch.float64).to(dtype)

    def weight(self, *shape: int, dtype=torch.float64) -> torch.Tensor:
        return torch.randn(*shape, generator=self.made, dtype=torch.float64).to(dtype)


def to_dense(rows, cells, scan, scans, side):
    x, y, z = cells.long().unbind(1)
    dense = rows.new_zeros(scans, side, side, side, rows.shape[1])
    return dense.index_put((scan, x, y, z), rows).permute(0, 4, 1, 2, 3)


def at_cells(dense, cells, scan):
    x, y, z = cells.long().unbind(1)
    return dense.permute(0, 2, 3, 4, 1)[scan, x, y, z]


def dense_convolution(kind, rows, weight, world, parents):
    """The same by torch's dense convolutions; weight [D, K, C]."""
    side = 3 if kind == "subm" else 2
    kernel = weight.unflatten(1, (side, side, side)).permute(0, 4, 1, 2, 3)  # [D, C, k, k, k]
    scans, extent = world.shape
    fine, coarse = (world.cells, world.scan), (parents.cells, parents.scan)
    if kind == "up":
        grid = to_dense(rows, *coarse, scans, extent // 2)
        return at_cells(conv_transpose3d(grid, kernel.transpose(0, 1), stride=2), *fine)
    grid = to_dense(rows, *fine, scans, extent)
    if kind == "subm":
        return at_cells(conv3d(grid, kernel, padding=1), *fine)
    return at_cells(conv3d(grid, kernel, stride=2), *coarse)


def rulebook_of(kind, world):
    parents, down = strided_rulebook(world.cells, world.splits)
    if kind == "subm":
        return submanifold_rulebook(world.cells, world.splits), parents
    return (down if kind == "down" else down.transposed()), parents


def assert_close(found, wanted, bound):
    """Within `bound` of the largest value."""
    assert found.shape == wanted.shape
    if wanted.numel():
        error = (
            found.detach().double() - wanted.detach()
        ).abs().max() / wanted.detach().abs().max().clamp(min=1e-30)
        assert float(error) < bound


def convolved(features, weight, rulebook, upstream):
    """Output, gradient of the features and of the weights."""
    features, weight = features.detach().requires_grad_(), weight.detach().requires_grad_()
    out = sparse_convolution(features, weight, rulebook)
    return out, *torch.autograd.grad(out, (features, weight), upstream)


@pytest.mark.parametrize("path", CPU_PATHS)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["subm", "down", "up"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.004, 0.1, 0.5, 1.0]),
    st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_convolution_and_its_gradients_are_those_of_dense_conv3d(
    path, seed, kind, dtype, depth, columns, fill, scans
):
    """Any width, from empty scans to full ones."""
    world = World(seed, scans, fill=fill)
    with path.used():
        rulebook, parents = rulebook_of(kind, world)
        rows = world.rows(depth, dtype, rulebook.num_in)
        weight = world.weight(columns, rulebook.offsets, depth, dtype=dtype)
        upstream = world.rows(columns, dtype, rulebook.num_out)
        found = convolved(rows, weight, rulebook, upstream)
    inputs = rows.double().requires_grad_(), weight.double().requires_grad_()
    if scans == 0:
        assert [tuple(t.shape) for t in found] == [(0, columns), (0, depth), tuple(weight.shape)]
        return
    dense = dense_convolution(kind, *inputs, world, parents)
    wanted = dense, *torch.autograd.grad(dense, inputs, upstream.double())
    for f, w in zip(found, wanted, strict=True):
        assert f.dtype == dtype
        assert_close(f, w, CLOSE[dtype])


@pytest.mark.parametrize("path", CPU_PATHS)
def test_wide_layers_on_many_rows_are_as_close(path):
    """More input channels than a panel of weights holds, several blocks of rows."""
    world = World(0, 2, side=14, fill=0.6)
    with path.used():
        rulebook, parents = rulebook_of("subm", world)
        assert rulebook.num_out > 3 * reference.BLOCK_ROWS
        rows, weight = world.rows(300, torch.float32), world.weight(48, 27, 300).float()
        upstream = world.rows(48, torch.float32)
        found = convolved(rows, weight, rulebook, upstream)
    inputs = rows.double().requires_grad_(), weight.double().requires_grad_()
    dense = dense_convolution("subm", *inputs, world, parents)
    wanted = dense, *torch.autograd.grad(dense, inputs, upstream.double())
    for f, w in zip(found, wanted, strict=True):
        assert_close(f, w, 1e-5)


@pytest.mark.parametrize("path", CPU_PATHS)
@pytest.mark.parametrize("kind", ["subm", "down", "up"])
def test_gradients_are_those_of_finite_differences(path, kind):
    world = World(1, 1, side=4)
    with path.used():
        rulebook, _ = rulebook_of(kind, world)
        rows = world.rows(2, number=rulebook.num_in).requires_grad_()
        weight = world.weight(3, rulebook.offsets, 2).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda r, w: sparse_convolution(r, w, rulebook), (rows, weight)
        )


@needs_library
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.sampled_from([0.0, 0.01, 0.3, 1.0]))
@settings(max_examples=30, deadline=None)
def test_rulebooks_are_those_of_the_reference(seed, scans, fill):
    world = World(seed, scans, side=12, fill=fill)
    shift = torch.tensor([2**31 - 12, -(2**31), -5]) * (seed % 2)
    cells = (world.cells + shift).int()
    books = []
    for name in ("reference", "native"):
        with Path(name).used():
            books.append(
                (
                    submanifold_rulebook(cells, world.splits),
                    strided_rulebook(cells, world.splits)[1],
                )
            )
    for first, second in zip(*books, strict=True):
        for a, b in ((first.forward, second.forward), (first.backward, second.backward)):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["subm", "down", "up"])
def test_any_number_of_threads_gives_the_same_bits(variant, kind):
    """Of few wide blocks, which are shared out by columns, and of many."""
    before = torch.get_num_threads()
    try:
        with Path(variant).used():
            for side, depth, columns in ((26, 33, 40), (11, 130, 150)):
                world = World(2, 2, side, fill=0.5)
                rulebook, _ = rulebook_of(kind, world)
                rows = world.rows(depth, torch.float32, rulebook.num_in)
                weight = world.weight(columns, rulebook.offsets, depth).float()
                upstream = world.rows(columns, torch.float32, rulebook.num_out)
                found = []
                for threads in (1, 2, 4):
                    torch.set_num_threads(threads)
                    again, _ = rulebook_of(kind, world)
                    found.append((*convolved(rows, weight, rulebook, upstream), *again.forward))
                for other in found[1:]:
                    assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_number_reaches_its_neighbours_only(path):
    """Not the rows that share a tile, a block or a vector with it."""
    cells = path.put(torch.tensor([[5 * i, 0, 0] for i in range(40)] + [[1, 0, 0]]).int())
    with path.used():
        rulebook = submanifold_rulebook(cells)
        rows, weight = torch.ones(41, 3), torch.ones(5, 27, 3)
        rows[0, 2] = float("nan")
        out = sparse_convolution(*path.put((rows, weight)), rulebook)
    assert out.isnan().any(1).nonzero().flatten().tolist() == [0, 40]


@pytest.mark.parametrize("path", PATHS)
def test_rows_and_weights_need_not_be_contiguous(path):
    world = World(3)
    with path.used():
        cells, splits = path.put((world.cells, world.splits))
        rulebook = submanifold_rulebook(cells.t().contiguous().t(), splits)
        rows, weight = path.put((world.rows(6).float(), world.weight(5, 27, 6).float()))
        upstream = path.put(world.rows(5).float())
        found = convolved(
            rows.t().contiguous().t(),
            weight.permute(2, 1, 0).contiguous().permute(2, 1, 0),
            rulebook,
            upstream.t().contiguous().t(),
        )
        wanted = convolved(rows, weight, rulebook, upstream)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("path", PATHS)
def test_what_needs_no_gradient_gets_none(path):
    world = World(4)
    with path.used():
        rulebook = submanifold_rulebook(*path.put((world.cells, world.splits)))
        rows, weight = path.put((world.rows(4), world.weight(3, 27, 4).requires_grad_()))
        sparse_convolution(rows, weight, rulebook).sum().backward()
        assert rows.grad is None and weight.grad is not None
        rows, weight = rows.clone().requires_grad_(), weight.detach()
        sparse_convolution(rows, weight, rulebook).sum().backward()
        assert rows.grad is not None and weight.grad is None


@pytest.mark.parametrize("path", CPU_PATHS)
@pytest.mark.parametrize("columns", [3, 16, 41])
def test_what_is_fused_for_inference_is_added_in_turn(path, columns):
    world = World(5)
    with path.used(), torch.no_grad():
        rulebook, _ = rulebook_of("subm", world)
        rows, weight = world.rows(7), world.weight(columns, 27, 7)
        bias, residual = world.weight(columns), world.rows(columns)
        plain = sparse_convolution(rows, weight, rulebook)
        for b in (None, bias):
            for r in (None, residual):
                for relu in (False, True):
                    found = sparse_convolution(rows, weight, rulebook, b, r, relu)
                    wanted = plain + (0 if b is None else b) + (0 if r is None else r)
                    torch.testing.assert_close(found, wanted.relu() if relu else wanted)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(path, dtype):
    world = World(6)
    with path.used():
        rulebook = submanifold_rulebook(*path.put((world.cells, world.splits)))
        rows, weight = path.put((world.rows(9, dtype), world.weight(5, 27, 9, dtype=dtype)))
        upstream = path.put(world.rows(5, dtype))
        found = convolved(rows, weight, rulebook, upstream)
        wanted = convolved(rows.float(), weight.float(), rulebook, upstream.float())
    for f, w in zip(found, wanted, strict=True):
        assert f.dtype == dtype
        torch.testing.assert_close(f.float(), w.to(dtype).float())


@pytest.mark.parametrize("path", PATHS)
def test_what_does_not_fit_is_refused_by_name(path):
    cells = path.put(torch.tensor([[0, 0, 0], [0, 0, 1], [9, 9, 9]]).int())
    rows, weight = path.put((torch.ones(3, 2), torch.ones(4, 27, 2)))
    with path.used():
        book = submanifold_rulebook(cells)
        with pytest.raises(ValueError, match=r"features: expected shape \[3, any\]"):
            sparse_convolution(rows[:2], weight, book)
        with pytest.raises(ValueError, match=r"weight: expected shape \[any, 27, 2\]"):
            sparse_convolution(rows, weight[..., :1], book)
        with pytest.raises(ValueError, match="weight: expected float32, got torch.float64"):
            sparse_convolution(rows, weight.double(), book)
        with pytest.raises(ValueError, match=r"bias: expected shape \[4\]"):
            sparse_convolution(rows, weight, book, rows[0])
        with pytest.raises(ValueError, match=r"residual: expected shape \[3, 4\]"):
            sparse_convolution(rows, weight, book, residual=rows)
        with pytest.raises(ValueError, match="no_grad"):
            sparse_convolution(rows, weight.clone().requires_grad_(), book, relu=True)
        with pytest.raises(ValueError, match="unique cells"):
            submanifold_rulebook(cells[[0, 1, 1]])
        with pytest.raises(ValueError, match="transposed: expected a strided rulebook"):
            book.transposed()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "part, place, value, words",
    [
        (0, 1, 3, r"rows_in: expected row numbers 0..2, got 3"),
        (0, 0, -1, r"rows_in: expected row numbers 0..2, got -1"),
        (1, 4, 3, r"rows_out: expected row numbers 0..2, got 3"),
        (1, 0, -7, r"rows_out: expected row numbers 0..2, got -7"),
        (2, 0, 1, r"starts: expected non-decreasing numbers from 0 to 5"),
        (2, 9, 6, r"starts: expected non-decreasing numbers from 0 to 5"),
        (2, -1, 4, r"starts: expected non-decreasing numbers from 0 to 5"),
    ],
)
def test_a_rulebook_with_rows_that_are_none_is_refused(path, part, place, value, words):
    """Forward and for both gradients: a wrong row must never be read or written."""
    cells = path.put(torch.tensor([[0, 0, 0], [0, 0, 1], [9, 9, 9]]).int())
    rows, weight = path.put((torch.ones(3, 2), torch.ones(4, 27, 2)))
    with path.used():
        book = submanifold_rulebook(cells)
        pairs = [t.clone() for t in book.forward]
        pairs[part][place] = value
        with pytest.raises(ValueError, match=words):
            sparse_convolution(rows, weight, replace(book, forward=tuple(pairs)))
        with pytest.raises(ValueError, match=words):
            torch.ops.annotator3d.sparse_convolution_weight_gradient(
                rows, torch.ones_like(rows), *pairs, 27
            )
        out = sparse_convolution(
            rows.requires_grad_(), weight, replace(book, backward=tuple(pairs))
        )
        with pytest.raises(ValueError, match=words):
            out.sum().backward()


MEMORY = """
import torch
from pathlib import Path
from annotator3d.kernels import sparse_convolution, submanifold_rulebook
torch.set_num_threads(1)
cells = torch.cartesian_prod(*[torch.arange(48)] * 3).int()  # every cell has 26 neighbours
book = submanifold_rulebook(cells)
rows, weight = torch.zeros(len(cells), 64).fill_(1), torch.zeros(64, 27, 64).fill_(1)
rows.requires_grad_(), weight.requires_grad_()
def peak():
    text = Path("/proc/self/status").read_text()
    return [int(text.split(name)[1].split()[0]) * 1024 for name in ("VmHWM:", "VmRSS:")]
sparse_convolution(rows[:0], weight, submanifold_rulebook(cells[:0])).sum().backward()
Path("/proc/self/clear_refs").write_text("5")
before = peak()[1]
out = sparse_convolution(rows, weight, book)
out.backward(out.detach())
print((peak()[0] - before) / (rows.numel() * 4))
"""


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_step_takes_little_more_memory_than_its_results():
    """Output and gradient of the rows, each once; partial sums of the weights at most half of the
    rows. A gathered matrix alone would be 27 times the rows."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3.5


@needs_library
def test_a_rulebook_takes_eight_bytes_a_pair():
    world = World(0, 1, side=20)
    with Path("native").used():
        book = submanifold_rulebook(world.cells)
    pairs = len(book.forward[0])
    assert sum(t.nbytes for t in book.forward) <= 8 * pairs + 8 * (27 * 5 + 1)
    assert all(a is b for a, b in zip(book.forward, book.backward, strict=True))
