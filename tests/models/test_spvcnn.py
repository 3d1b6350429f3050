"""SPVCNN: size as published, the exchange of points and voxels against loops, gradients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from network_batches import assert_scans_are_independent, batch_of

from annotator3d.models.point_branch import PointView
from annotator3d.models.segmentor import Segmentor
from annotator3d.models.sparse import sparse_input
from annotator3d.models.spvcnn import SPVCNN

SMALL = {"type": "SPVCNN", "planes": [4, 4, 8, 8, 6], "blocks": 1}
FOUR_LEVELS = [4, 4, 6, 8, 10, 9, 7, 5, 3]


def test_the_published_width_has_21_8_million_parameters():
    model = Segmentor({"type": "SPVCNN"}, 20)  # the published head has 20 outputs
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(21.79e6, abs=0.005e6)
    assert model.backbone.out_channels == model.head.in_features == 480


def test_fewer_than_two_levels_are_refused():
    with pytest.raises(ValueError, match="planes: SPVCNN needs at least 2 levels"):
        SPVCNN(planes=[4, 4, 4])


def test_points_and_voxels_meet_where_published(monkeypatch):
    """After the stem, after down 4 and after up 2, and read again after up 4 (level 0)."""
    seen = {"read": [], "write": []}
    for name in seen:
        inner = getattr(PointView, name)

        def watch(self, *args, _inner=inner, _name=name):
            seen[_name].append(next(a.level for a in args if hasattr(a, "level")))
            return _inner(self, *args)

        monkeypatch.setattr(PointView, name, watch)
    model = SPVCNN(planes=FOUR_LEVELS, blocks=1)
    batch = batch_of(60, 40)
    out = model(batch["features"], batch["cells"], batch["splits"])
    assert seen == {"read": [0, 4, 2, 0], "write": [0, 4, 2]}
    assert out.shape == (len(batch["cells"]), 10 + 7 + 3)


def read_slowly(features, coarse, points, stride):
    """Trilinear interpolation of one scan: a dictionary and three loops, in float64."""
    rows = {tuple(cell): row for row, cell in enumerate(coarse)}
    out = np.zeros((len(points), features.shape[1]))
    for n, point in enumerate(points):
        place = [c / stride for c in point]
        base = [math.floor(c) for c in place]
        total = 0.0
        for corner in itertools.product((0, 1), repeat=3):
            row = rows.get(tuple(b + c for b, c in zip(base, corner, strict=True)))
            if row is None:
                continue
            weight = math.prod(
                q - b if c else 1 - (q - b) for q, b, c in zip(place, base, corner, strict=True)
            )
            total += weight
            out[n] += weight * features[row]
        out[n] /= total
    return out


def levels_of(batch, generator):
    """Sparse tensors of levels 1 and 2 with random features, and a view of the finest points."""
    finest = sparse_input(batch["features"], batch["cells"], batch["splits"])
    for level in (1, 2):
        finest.geometry.down(level - 1)
        cells, splits, _ = finest.geometry.occupied(level)
        features = torch.randn(len(cells), 5, generator=generator)
        yield level, cells, splits, type(finest)(features, finest.geometry, level)


def test_points_read_the_voxels_around_them():
    batch = batch_of(70, 0, 50)
    view = PointView(batch["cells"], batch["splits"])
    for level, cells, splits, x in levels_of(batch, torch.Generator().manual_seed(1)):
        got = view.read(x)
        for b in range(3):
            fine = slice(*batch["splits"][b : b + 2].tolist())
            coarse = slice(*splits[b : b + 2].tolist())
            wanted = read_slowly(
                x.features[coarse].double().numpy(),
                cells[coarse].tolist(),
                batch["cells"][fine].tolist(),
                2**level,
            )
            np.testing.assert_allclose(got[fine].numpy(), wanted, atol=1e-5)


def test_voxels_take_the_mean_of_their_points():
    batch = batch_of(70, 0, 50)
    view = PointView(batch["cells"], batch["splits"])
    features = torch.randn(len(batch["cells"]), 3, generator=torch.Generator().manual_seed(2))
    scan = torch.repeat_interleave(torch.arange(3), batch["splits"].diff()).tolist()
    for level, cells, splits, x in levels_of(batch, torch.Generator().manual_seed(1)):
        got = view.write(features, x)
        assert got.level == level
        members = {}
        for n, cell in enumerate(batch["cells"].tolist()):
            parent = (scan[n], *(c // 2**level for c in cell))
            members.setdefault(parent, []).append(features[n].double().numpy())
        rows = torch.repeat_interleave(torch.arange(3), splits.diff()).tolist()
        assert len(members) == len(cells)
        for row, cell in enumerate(cells.tolist()):
            wanted = np.mean(members[(rows[row], *cell)], axis=0)
            np.testing.assert_allclose(got.features[row].numpy(), wanted, atol=1e-6)


def by_hand(layer, values):
    """Linear, batch norm in eval mode, ReLU, written out in float64."""
    linear, norm, _ = layer
    weight, bias = linear.weight.double(), linear.bias.double()
    out = values.double() @ weight.T + bias
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return ((out - norm.running_mean.double()) * scale + norm.bias.double()).clamp(min=0)


def test_the_point_branch_is_the_published_one():
    """z1, z2, z3 of one scan: what is read, plus a layer of what the points had before."""
    torch.manual_seed(1)
    model = SPVCNN(planes=[4, 5, 6, 7, 8], blocks=1)
    batch = batch_of(90)
    model.train()(
        batch["features"], batch["cells"], batch["splits"]
    )  # statistics that are not 0, 1
    model.eval()
    with torch.no_grad():
        got = model(batch["features"], batch["cells"], batch["splits"])
        points = batch["cells"].tolist()

        def read(x):
            cells = x.geometry.occupied(x.level)[0].tolist()
            return torch.from_numpy(
                read_slowly(x.features.double().numpy(), cells, points, 2**x.level)
            )

        def write(values, x):
            cells = x.geometry.occupied(x.level)[0].tolist()
            inside = [tuple(c // 2**x.level for c in point) for point in points]
            rows = [[n for n, cell in enumerate(inside) if cell == tuple(c)] for c in cells]
            return x.with_features(torch.stack([values[r].mean(0) for r in rows]).float())

        stem = model.stem(sparse_input(batch["features"], batch["cells"], batch["splits"]))
        half = model.down[0](stem)
        deep = model.down[1](half)
        z1 = read(deep) + by_hand(model.points[0], stem.features)
        middle = model.up[0](write(z1, deep), half)
        z2 = read(middle) + by_hand(model.points[1], z1)
        end = model.up[1](write(z2, middle), stem)
        z3 = end.features + by_hand(model.points[2], z2)
        wanted = torch.cat([z1, z2, z3], dim=1)
    torch.testing.assert_close(got.double(), wanted, atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_finite_differences():
    """Of the input and of every parameter at once, along random directions, in float64."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = SPVCNN(in_channels=2, planes=[2, 2, 3, 3, 2], blocks=1).double()
    batch = batch_of(30, 20)
    features = torch.randn(len(batch["cells"]), 2, dtype=torch.float64, generator=generator)
    values = [features.requires_grad_(), *model.parameters()]

    def loss():
        out = model(features, batch["cells"], batch["splits"])
        return (out * torch.linspace(-1, 1, out.numel()).double().view_as(out)).sum()

    gradients = torch.autograd.grad(loss(), values)
    step = 1e-6
    for _ in range(3):
        ways = [torch.randn(v.shape, dtype=torch.float64, generator=generator) for v in values]
        with torch.no_grad():
            around = []
            for sign in (1, -1):
                torch._foreach_add_(values, ways, alpha=sign * step)
                around.append(loss())
                torch._foreach_add_(values, ways, alpha=-sign * step)
        numeric = float(around[0] - around[1]) / (2 * step)
        exact = float(sum((g * w).sum() for g, w in zip(gradients, ways, strict=True)))
        assert numeric == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("counts", [(0,), (1,), (0, 1), (2, 0, 3)])
def test_tiny_batches_train(counts):
    model = Segmentor(SMALL, 3).train()
    batch = batch_of(*counts)
    losses = model(batch, mode="loss")
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in grads)
    assert [len(s) for s in model.eval()(batch, mode="predict")] == batch["num_points"].tolist()


def test_scans_of_a_batch_do_not_see_each_other():
    assert_scans_are_independent(Segmentor(SMALL, 3).eval())


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["SPVCNN", "MinkUNet"])
def test_weights_move_between_devices_and_give_the_same_scores(name):
    pytest.importorskip("spconv")
    backbone = {"type": name, "planes": FOUR_LEVELS, "blocks": 1}
    here, there = Segmentor(backbone, 3).eval(), Segmentor(backbone, 3).eval().cuda()
    batch = batch_of(300, 200)
    there.load_state_dict(here.state_dict())
    on_cuda = {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    with torch.no_grad():
        torch.testing.assert_close(there(on_cuda).cpu(), here(batch), atol=1e-4, rtol=1e-3)
    back = Segmentor(backbone, 3)
    back.load_state_dict({k: v.cpu() for k, v in there.state_dict().items()})
    assert all(torch.equal(v, back.state_dict()[k]) for k, v in here.state_dict().items())


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["SPVCNN", "MinkUNet"])
def test_a_step_in_mixed_precision_is_near_that_in_float32(name, dtype):
    pytest.importorskip("spconv")
    torch.manual_seed(0)
    backbone = {"type": name, "planes": FOUR_LEVELS, "blocks": 1}
    model = Segmentor(backbone, 3).cuda().train()
    batch = {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in batch_of(900).items()}
    found = {}
    for precision in (None, getattr(torch, dtype)):
        model.zero_grad()
        with torch.autocast("cuda", dtype=precision, enabled=precision is not None):
            loss = sum(model(batch, mode="loss").values())
        (loss * 1024).backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert grads.dtype == torch.float32 and grads.isfinite().all()
        found[precision] = float(loss), grads
    (loss, grads), (near, near_grads) = found.values()
    assert near == pytest.approx(loss, rel=0.05)
    assert torch.cosine_similarity(grads, near_grads, dim=0) > 0.9
