"""The fused Lovasz loss against its definition in operations that torch differentiates."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, Path

from annotator3d.kernels import cpu, lovasz_softmax

needs_library = pytest.mark.skipif(cpu.library() is None, reason=cpu.missing_reason())


def differentiable(probabilities, target, dtype):
    """As Berman et al. write it, class by class in float64; the gradient is torch's.

    Errors that are equal in `dtype` are equal.
    """
    losses = []
    for c in target.unique().tolist():
        own = (target == c).to(probabilities)
        rounded = (own.to(dtype) - probabilities[:, c].detach().to(dtype)).abs()
        order = rounded.argsort(descending=True, stable=True)
        errors, own = (own - probabilities[:, c]).abs()[order], own[order]
        jaccard = 1 - (own.sum() - own.cumsum(0)) / (own.sum() + (1 - own).cumsum(0))
        losses.append(errors @ jaccard.diff(prepend=jaccard.new_zeros(1)))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("path", PATHS)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.integers(1, 21),
    st.sampled_from([0.1, 1.0, 30.0]),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=40, deadline=None)
def test_loss_and_gradient_are_those_of_the_definition(path, seed, rows, classes, spread, dtype):
    made = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=made, dtype=torch.float64) * spread
    target = torch.randint(0, (classes + 1) // 2, (rows,), generator=made)
    given = logits.softmax(1).to(dtype)
    given, on_path = given.double().requires_grad_(), path.put(given).requires_grad_()
    with path.used():
        found = lovasz_softmax(on_path, path.put(target))
        (gradient,) = torch.autograd.grad(3 * found, on_path)
    wanted = differentiable(given, target, dtype)
    torch.testing.assert_close(found.cpu().double(), wanted.detach(), atol=2e-6, rtol=1e-5)
    (expected,) = torch.autograd.grad(3 * wanted, given)
    error = gradient.cpu().double() - expected
    assert float(error.abs().max()) < (2e-5 if dtype == torch.float32 else 1e-12)


@needs_library
def test_any_number_of_threads_gives_the_same_bits():
    before, made = torch.get_num_threads(), torch.Generator().manual_seed(0)
    given = torch.randn(5000, 7, generator=made).softmax(1).requires_grad_()
    target, found = torch.randint(0, 7, (5000,), generator=made), []
    try:
        with Path("native").used():
            for threads in (1, 2, 4):
                torch.set_num_threads(threads)
                loss = lovasz_softmax(given, target)
                found.append((loss, *torch.autograd.grad(loss, given)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_without_rows_the_loss_is_zero_and_so_is_its_gradient(path):
    given = path.put(torch.zeros(0, 3)).requires_grad_()
    with path.used():
        loss = lovasz_softmax(given, path.put(torch.zeros(0, dtype=torch.int64)))
        loss.backward()
    assert float(loss.detach()) == 0 and given.grad.shape == (0, 3)


@pytest.mark.parametrize("path", PATHS)
def test_a_network_that_diverged_has_a_loss_that_is_no_number(path):
    given = torch.full((4, 2), 0.5)
    given[1, 1] = float("nan")
    with path.used():
        assert lovasz_softmax(*path.put((given, torch.tensor([0, 1, 1, 0])))).isnan()


@pytest.mark.parametrize("path", PATHS)
def test_a_target_that_is_no_class_is_refused(path):
    with path.used():
        given, target = path.put((torch.full((2, 3), 0.3), torch.tensor([1, 3])))
        with pytest.raises(ValueError, match=r"target: expected row numbers 0..2, got 3"):
            lovasz_softmax(given, target)
        with pytest.raises(ValueError, match=r"target: expected shape \[2\]"):
            lovasz_softmax(given, target[:1])
