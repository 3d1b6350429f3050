"""Batch norm with what follows it, on every path, against torch's layers in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, VARIANTS, Path
from torch.nn import functional

from annotator3d.kernels import batch_norm, cpu
from annotator3d.models.normalization import BatchNorm, normalize_and_rectify

needs_library = pytest.mark.skipif(cpu.library() is None, reason=cpu.missing_reason())


def rows_of(seed: int, length: int, channels: int, dtype, away: float = 3.0):
    """Rows, weight, bias, residual and the gradient that comes back."""
    made = torch.Generator().manual_seed(seed)
    shapes = [(length, channels), (channels,), (channels,), (length, channels), (length, channels)]
    rows, *others = (torch.randn(s, generator=made, dtype=torch.float64).to(dtype) for s in shapes)
    return rows * 2 + away, *others


def in_layers(rows, weight, bias, residual, relu):
    out = functional.batch_norm(rows, None, None, weight, bias, True)
    out = out if residual is None else out + residual
    return out.relu() if relu else out


@pytest.mark.parametrize("path", PATHS)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 700),
    st.integers(1, 70),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_are_those_of_the_layers(
    path, seed, length, channels, added, relu, dtype
):
    if dtype == torch.float32:  # few rows may be nearly equal: their rounding then counts
        length += 8
    *inputs, back = rows_of(seed, length, channels, dtype)
    inputs[3] = inputs[3] if added else None
    exact = [t if t is None else t.double().requires_grad_() for t in inputs]
    wanted = in_layers(*exact, relu)
    given = [t if t is None else path.put(t).requires_grad_() for t in inputs]
    with path.used():
        found, mean, variance = batch_norm(*given, relu)
        # Where the exact sum is nearly 0, rounding decides what the ReLU lets through.
        back = torch.where((wanted.detach().abs() < 1e-4).to(back.device), 0, back)
        found.backward(path.put(back))
    wanted.backward(back.double())
    close = (
        {"atol": 1e-12, "rtol": 1e-12} if dtype == torch.float64 else {"atol": 5e-5, "rtol": 1e-5}
    )
    torch.testing.assert_close(found.detach().cpu().double(), wanted.detach(), **close)
    torch.testing.assert_close(mean.cpu().double(), exact[0].detach().mean(0), **close)
    torch.testing.assert_close(
        variance.cpu().double(), exact[0].detach().var(0, correction=0), **close
    )
    for ours, theirs in zip(given, exact, strict=True):
        if ours is not None:
            size = max(1.0, float(theirs.grad.abs().max()))
            error = ours.grad.cpu().double() - theirs.grad
            assert float(error.abs().max()) / size < (1e-4 if dtype == torch.float32 else 1e-9)


@needs_library
@pytest.mark.parametrize("relu", [False, True])
def test_every_variant_and_number_of_threads_gives_the_same_bits(relu):
    *given, back = rows_of(0, 70_000, 19, torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for name in VARIANTS:
            for threads in (1, 2, 4):
                torch.set_num_threads(threads)
                inputs = [t.clone().requires_grad_() for t in given]
                with Path(name).used():
                    out, *statistics = batch_norm(*inputs, relu)
                    out.backward(back)
                results.append([out, *statistics, *(t.grad for t in inputs)])
    finally:
        torch.set_num_threads(before)
    for one in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], one, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_rows_far_from_0_keep_their_variance(path):
    """Sums of squares of such rows would have lost it."""
    rows, weight, bias, *_ = rows_of(0, 3000, 3, torch.float32, away=10_000)
    with path.used():
        _, _, variance = batch_norm(path.put(rows), path.put(weight), path.put(bias))
    exact = rows.double().var(0, correction=0)
    torch.testing.assert_close(variance.cpu().double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("path", PATHS)
def test_nan_stays_in_its_channel(path):
    rows, weight, bias, *_ = rows_of(0, 40, 3, torch.float32)
    rows[7, 1] = float("nan")
    with path.used():
        out, _, _ = batch_norm(path.put(rows), path.put(weight), path.put(bias), relu=True)
    assert out.isnan().all(0).tolist() == [False, True, False]
    assert out.isnan().any(0).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": torch.zeros(1, 3)}, "rows: expected at least 2: one has no variance, got 1"),
        ({"rows": torch.zeros(4, 3, dtype=torch.half)}, "rows"),
        ({"weight": torch.zeros(2)}, "weight"),
        ({"bias": torch.zeros(3, dtype=torch.double)}, "bias"),
        ({"residual": torch.zeros(3, 3)}, "residual"),
    ],
)
def test_refusals_name_the_argument(change, words):
    given = {"rows": torch.zeros(4, 3), "weight": torch.zeros(3), "bias": torch.zeros(3)} | change
    with pytest.raises(ValueError, match=words):
        batch_norm(**given)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("track", [True, False])
def test_the_layer_keeps_torchs_running_statistics(momentum, track):
    """As nn.BatchNorm1d, over several batches, recorded or not, and in evaluation after them."""
    ours, theirs = BatchNorm(5, momentum=momentum), torch.nn.BatchNorm1d(5, momentum=momentum)
    for norm in (ours, theirs):
        norm.track_running_stats = track
    for seed in range(3):
        rows, _, _, residual, _ = rows_of(seed, 50 + seed, 5, torch.float32)
        found = normalize_and_rectify(ours, rows, residual)
        wanted = (theirs(rows) + residual).relu()
        torch.testing.assert_close(found, wanted)
    for norm in (ours, theirs):
        norm.track_running_stats = True
        norm.eval()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    torch.testing.assert_close(ours(rows), theirs(rows))


def test_a_layer_of_frozen_statistics_has_a_gradient():
    """In evaluation, as a fine-tuning with a frozen batch norm has it."""
    norm = BatchNorm(5).eval()
    rows, *_ = rows_of(0, 50, 5, torch.float32)
    normalize_and_rectify(norm, rows.requires_grad_()).sum().backward()
    assert rows.grad.abs().sum() > 0
    assert norm.num_batches_tracked == 0
