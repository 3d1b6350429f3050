"""The kernels as torch operators: what torch.library asks of them, tracing, and who runs them."""

from __future__ import annotations

import math

import pytest
import torch
from kernel_paths import DEVICES, Path
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from annotator3d import kernels
from annotator3d.kernels import convolution_ops, dispatch, losses, ops
from annotator3d.kernels.convolution import strided_rulebook
from annotator3d.kernels.grouping import group_cells
from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import score_table


def questions() -> dict[str, tuple]:
    """Arguments of each operator, by its name."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(50, 4, generator=generator)
    cells = torch.randint(-3, 3, (50, 3), generator=generator, dtype=torch.int32)
    splits = torch.tensor([0, 20, 50])
    v = group_cells(cells, splits)
    layout = (v.point_to_voxel, v.members, v.splits, v.scan)
    logits = torch.randn(50, 4, generator=generator)
    labels = torch.randint(0, 4, (50,), generator=generator)
    cube = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3).int()
    nothing = torch.zeros(0, dtype=torch.int64)
    asked = (v.cells[:2], torch.tensor([0, 2, 2]), torch.tensor([1, 2]))
    index = torch.randint(-1, 9, (50, 8), generator=generator)
    weight = torch.rand(50, 8, generator=generator)

    def features(rows: int, dtype=torch.float32) -> torch.Tensor:
        return torch.randn(rows, 3, generator=generator).to(dtype).requires_grad_()

    _, book = strided_rulebook(v.cells, v.scan_splits)
    child = torch.arange(len(v))
    kernel = torch.randn(5, 8, 3, generator=generator).requires_grad_()
    rows, fixed = features(len(v)).detach(), kernel.detach()
    coarse, added = (torch.randn(book.num_out, 5, generator=generator) for _ in range(2))

    scoring = (logits, nothing, 4, "entropy", "mean", score_table(50))
    return {
        "voxelize": (points, 0.25, splits),
        "group_cells": (cells, splits),
        "histogram": (labels, *layout, 4),
        "confusion": (logits, *layout, score_table(50), 4),
        "entropy_and_margin": (logits,),
        "select": (points, splits, 0.5, *scoring, *asked, 3, 1, math.inf, True),
        "kernel_map": (v.cells, v.scan_splits, cube, v.cells, v.scan_splits, 1),
        "voxel_mean": (features(50), *layout[:3]),
        "interpolation": (points[:, :3], splits, v.cells, v.scan_splits, 2),
        "devoxelize": (features(9), index, weight),
        "devoxelize_backward": (features(50), index, weight, 9),
        "lovasz_with_gradient": (logits.softmax(1).requires_grad_(), labels),
        "submanifold_pairs": (v.cells, v.scan_splits, cube),
        "sorted_pairs": (child % 8, child, child // 3, 8, len(v)),
        "sparse_convolution": (
            *(features(len(v)), kernel, *book.forward, *book.backward),
            *(False, book.num_out),
        ),
        "sparse_convolution_input_gradient": (coarse, fixed, *book.backward, False, len(v)),
        "sparse_convolution_weight_gradient": (rows, coarse, *book.forward, 8),
        "sparse_convolution_inference": (
            *(rows, fixed, *book.forward, book.num_out),
            *(None, added, True),
        ),
    }


OPERATORS = {
    name: operator
    for module in (ops, convolution_ops, losses)
    for name, operator in vars(module).items()
    if isinstance(operator, torch.library.CustomOpDef | torch._ops.OpOverload)
}


def test_every_operator_is_asked_about():
    assert set(OPERATORS) == set(questions())


def test_the_operator_of_selection_takes_the_fields_of_a_request():
    taken = torch.ops.annotator3d.select.default._schema.arguments
    assert tuple(argument.name for argument in taken) == SelectionRequest._fields


def on(path: Path, args: tuple) -> tuple:
    """On the device of the path, leaves again."""
    moved = [a.detach().to(path.device) if isinstance(a, torch.Tensor) else a for a in args]
    for new, old in zip(moved, args, strict=True):
        if isinstance(old, torch.Tensor) and old.requires_grad:
            new.requires_grad_()
    return tuple(moved)


@pytest.mark.parametrize("path", DEVICES)
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operators_satisfy_torch_library(path, name):
    """Schema, fake implementation, autograd registration and tracing, as torch checks them."""
    with path.used():
        torch.library.opcheck(OPERATORS[name], on(path, questions()[name]))


@pytest.mark.parametrize("path", DEVICES)
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_compile_traces_through_operators(path, name):
    """In one graph, with the results of the plain call; gradients too where there are any."""
    torch._dynamo.reset()
    args = on(path, questions()[name])
    operator = OPERATORS[name]
    compiled = torch.compile(lambda *a: operator(*a), backend="eager", fullgraph=True)
    with path.used():
        found, wanted = compiled(*args), operator(*args)
    found, wanted = ([r] if isinstance(r, torch.Tensor) else r for r in (found, wanted))
    assert all(torch.equal(f, w) for f, w in zip(found, wanted, strict=True))
    if found[0].requires_grad:
        grads = [torch.autograd.grad(r[0].square().sum(), args[0])[0] for r in (found, wanted)]
        assert torch.equal(*grads)


@pytest.mark.parametrize("path", DEVICES)
def test_compile_traces_through_what_a_network_calls(path):
    """The point branch of a network, in one graph: the public functions and their checks."""
    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    cells = path.put(torch.randint(-3, 3, (60, 3), generator=generator, dtype=torch.int32))
    with path.used():
        voxels = group_cells(cells)
        points = path.put(torch.randn(60, 3, generator=generator) * 3)
        index, weight = kernels.interpolation(points, voxels.cells)
        features = path.put(torch.randn(len(voxels), 6, generator=generator)).requires_grad_()

        def branch(f):
            seen = kernels.devoxelize(f, index, weight)
            return kernels.voxel_mean(seen.relu(), voxels) + f

        found = torch.compile(branch, backend="eager", fullgraph=True)(features)
        assert torch.equal(found, branch(features))
        results = (found, branch(features))
        grads = [torch.autograd.grad(r.square().sum(), features)[0] for r in results]
    assert torch.equal(*results) and torch.equal(*grads)


@pytest.mark.parametrize("path", DEVICES)
def test_compile_runs_selection_and_voxelisation(path):
    """Whose sizes depend on the data: graphs may break there, results may not."""
    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    points, logits = path.put(
        (torch.randn(200, 4, generator=generator), torch.randn(200, 5, generator=generator))
    )

    def both(points, logits):
        found = kernels.select_voxels(points, 0.5, logits, 5, k=3, seeds=[4], want_scores=True)
        return found.cells, found.point_utilities, kernels.voxelize(points, 0.5).cells

    with path.used():
        found = torch.compile(both, backend="eager")(points, logits)
        assert all(torch.equal(*pair) for pair in zip(found, both(points, logits), strict=True))


def test_tensors_without_values_are_grouped_into_voxels_without_values():
    """What exports a model runs it so: no kernel may read them."""
    with FakeTensorMode(shape_env=ShapeEnv()):
        points = torch.empty(200, 4)
        voxels = kernels.voxelize(points, 0.5)
        assert kernels.group_cells(torch.empty(7, 3, dtype=torch.int32)).members.shape == (7,)
    assert isinstance(voxels.members, FakeTensor)
    assert voxels.members.shape == (200,)


@pytest.mark.parametrize("name", ["native", "host", "cuda"])
def test_every_library_has_the_kernels_of_selection(name):
    """No quiet detour: what is left to the reference is said by name."""
    module = Path(name).module()
    assert set(dispatch.IN_EVERY_LIBRARY) < set(OPERATORS)
    assert [k for k in dispatch.IN_EVERY_LIBRARY if not hasattr(module, k)] == []
