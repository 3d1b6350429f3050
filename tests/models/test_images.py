"""Networks on images: published sizes, every point of every scan scored, layers by other ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from annotator3d.data.batch import InputRule, collate, make_sample
from annotator3d.data.scan import Scan
from annotator3d.models.dense import BatchNorm, DropBlock, from_images, pixel_rows, to_images
from annotator3d.models.nearest_pixels import NearestPixels
from annotator3d.models.polarnet import HeightHead, PolarNet, RingConv
from annotator3d.models.salsanext import SalsaNext
from annotator3d.models.segmentor import Segmentor

SMALL = {
    "SalsaNext": dict(
        type="SalsaNext", height=10, width=30, fov=[30.0, -30.0], planes=[4, 4, 8, 8, 4]
    ),
    "PolarNet": dict(
        type="PolarNet",
        grid=[9, 14, 4],
        reach=[1.0, 12.0],
        point_planes=[8, 6],
        planes=[4, 6, 8, 6, 5],
    ),
}
KINDS = {"SalsaNext": SalsaNext, "PolarNet": PolarNet}


def network(name: str, **other) -> Segmentor:
    torch.manual_seed(3)
    return Segmentor(SMALL[name] | other, num_classes=5)


def rule_of(name: str) -> InputRule:
    keywords = {key: value for key, value in SMALL[name].items() if key != "type"}
    return InputRule(5, projection=KINDS[name].projection_for(**keywords))


def batch_of(name: str, *counts: int, seed: int = 0, spread: float = 9.0) -> dict:
    rng, samples = np.random.default_rng(seed), []
    for number, count in enumerate(counts):
        xyz = rng.uniform(-spread, spread, (count, 3)).astype(np.float32)
        xyz[:, 2] /= 6
        scan = Scan.from_raw(f"00/{number:06d}", xyz, rng.random(count, np.float32))
        labels = rng.integers(0, 5, count).astype(np.uint8)
        samples.append(make_sample(scan, rule_of(name), labels))
    return collate(samples)


@pytest.mark.parametrize(("name", "millions"), [("SalsaNext", 6.71), ("PolarNet", 13.51)])
def test_the_defaults_have_the_published_size(name, millions):
    with torch.device("meta"):
        model = Segmentor({"type": name}, 19)
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_every_point_has_finite_logits_those_that_share_a_cell_too(name):
    model = network(name).eval()
    batch = batch_of(name, 400, 0, 90)
    assert len(batch["cells"]) < 490  # some share one
    logits = model(batch)
    assert logits.shape == (len(batch["cells"]), 5)
    scans = model(batch, mode="predict")
    assert [tuple(s.shape) for s in scans] == [(400, 5), (0, 5), (90, 5)]
    assert all(bool(s.isfinite().all()) for s in scans)


@pytest.mark.parametrize("name", SMALL)
def test_a_scan_has_the_same_logits_alone_and_beside_another(name):
    model = network(name).eval()
    together = model(batch_of(name, 80, 60), mode="predict")
    rng_order = batch_of(name, 80)
    torch.testing.assert_close(
        model(rng_order, mode="predict")[0], together[0], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", SMALL)
def test_scores_do_not_depend_on_the_random_numbers_and_training_does(name):
    model, batch = network(name, dropout=0.5), batch_of(name, 300)
    assert torch.equal(model.point_logits(batch), model.point_logits(batch))
    assert model.training
    assert not torch.equal(model(batch), model(batch))  # dropout
    torch.manual_seed(1)
    first = model(batch)
    torch.manual_seed(1)
    assert torch.equal(model(batch), first)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("counts", [(0,), (1,), (0, 0)])
def test_training_is_defined_for_scans_of_one_point_and_none(name, counts):
    model, batch = network(name), batch_of(name, *counts)
    losses = model(batch, mode="loss")
    sum(losses.values()).backward()
    assert all(math.isfinite(float(loss.detach())) for loss in losses.values())


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_learns(name):
    model = network(name, dropout=0.0)
    sum(model(batch_of(name, 500, 400), mode="loss").values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", SMALL)
def test_an_image_is_overfitted(name):
    model, batch = network(name, dropout=0.0), batch_of(name, 60)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimiser.zero_grad()
        sum(model(batch, mode="loss").values()).backward()
        optimiser.step()
    assert (model(batch).argmax(1) == batch["target"]).float().mean() > 0.9


def test_a_point_is_read_by_its_polar_column_alone_and_the_largest_number_counts():
    backbone = network("PolarNet").backbone.eval()
    batch, columns = batch_of("PolarNet", 200, 150), {}
    seen = []
    backbone.norm.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    backbone(batch)
    told = backbone.points(batch["points"])
    scan_of_point = torch.repeat_interleave(torch.arange(2), batch["num_points"])
    for row, cell in enumerate(batch["point_to_voxel"].tolist()):
        key = (int(scan_of_point[row]), *batch["cells"][cell, :2].tolist())
        columns.setdefault(key, []).append(told[row])
    wanted = torch.zeros(2, 4, 9, 14)
    for (scan, distance, turn), numbers in columns.items():
        largest = torch.stack(numbers).max(0).values
        wanted[scan, :, distance, turn] = backbone.compress(largest)
    torch.testing.assert_close(seen[0], wanted)


def test_the_head_by_height_is_a_convolution_of_all_heights_read_at_the_cells():
    torch.manual_seed(0)
    head, images = HeightHead(6, 5, 4), torch.randn(2, 6, 7, 3)
    dense = torch.nn.Conv2d(6, 20, 1)
    dense.weight.data = head.weight.reshape(20, 6, 1, 1)
    dense.bias.data = head.bias.reshape(20)
    cells = torch.unique(torch.stack([torch.randint(0, n, (40,)) for n in (7, 3, 4)], 1), dim=0)
    cells = cells[torch.randperm(len(cells))].int()
    splits = torch.tensor([0, 11, len(cells)])
    scan = (torch.arange(len(cells)) >= 11).long()
    features = from_images(images, pixel_rows(cells, splits, (7, 3)))
    x, y, z = cells.long().T
    wanted = dense(images).view(2, 4, 5, 7, 3)[scan, z, :, x, y]
    torch.testing.assert_close(head(features, cells), wanted)


def test_convolutions_on_the_polar_grid_go_around_the_sensor():
    torch.manual_seed(0)
    layer, x = RingConv(3, 4).eval(), torch.randn(2, 3, 6, 8)
    torch.testing.assert_close(layer(x.roll(3, dims=3)), layer(x).roll(3, dims=3))


def test_images_hold_the_features_of_their_pixels_and_nothing_else():
    cells = torch.tensor([[0, 1, 0], [2, 3, 0], [0, 1, 0]]).int()
    splits, features = torch.tensor([0, 2, 2, 3]), torch.arange(1.0, 7).view(3, 2)
    rows = pixel_rows(cells, splits, (3, 4))
    images = to_images(features, rows, 3, (3, 4))
    assert images.shape == (3, 2, 3, 4) and images.sum() == features.sum()
    assert images[0, :, 0, 1].tolist() == [1, 2] and images[0, :, 2, 3].tolist() == [3, 4]
    assert images[2, :, 0, 1].tolist() == [5, 6]
    assert torch.equal(from_images(images, rows), features)


def test_a_channel_is_measured_over_the_seen_pixels_and_empty_ones_stay_zero():
    model = network("SalsaNext")
    samples = []
    for seed in range(3):
        batch = batch_of("SalsaNext", 150, seed=seed)
        samples.append({"points": batch["points"], "first": batch["first"]})
    found = model.backbone.input_statistics(samples)
    seen = np.concatenate([s["points"][s["first"]].numpy() for s in samples]).astype(float)
    np.testing.assert_allclose(found["mean"], seen.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["std"], seen.std(0), rtol=1e-5)
    for name, value in found.items():
        model.backbone.get_buffer(name).copy_(value)
    read = []
    model.backbone.context.register_forward_hook(lambda module, given, out: read.append(given[0]))
    batch = batch_of("SalsaNext", 150)
    model(batch)
    image = read[0][0, :, :10, :30].permute(1, 2, 0)
    filled = torch.zeros(10, 30, dtype=torch.bool)
    filled[tuple(batch["cells"][:, :2].long().T)] = True
    assert (image[~filled] == 0).all()
    raw = batch["points"][batch["first"]]
    at = tuple(batch["cells"][:, :2].long().T)
    torch.testing.assert_close(image[at], (raw - found["mean"]) / found["std"])
    flat = {"points": torch.full((4, 5), 2.0), "first": torch.arange(4)}
    assert model.backbone.input_statistics([flat])["std"].tolist() == [1] * 5
    assert model.backbone.input_statistics([])["std"].tolist() == [1] * 5


def test_given_means_are_used_and_not_measured():
    backbone = network("SalsaNext", mean=[1, 2, 3, 4, 5], std=[2] * 5).backbone
    assert not backbone.measures_input and backbone.mean.tolist() == [1, 2, 3, 4, 5]
    assert "mean" in backbone.state_dict()


def votes_by_loop(nearest, logits, cells, splits, shape, pixel_range, batch) -> list[list[float]]:
    """The mean probability of each point's nearest pixels, one point after the other."""
    half, sigma = nearest.window // 2, nearest.sigma
    steps = [(i, j) for i in range(-half, half + 1) for j in range(-half, half + 1)]
    gauss = [math.exp(-(i * i + j * j) / (2 * sigma**2)) for i, j in steps]
    scan_of = [b for b in range(len(splits) - 1) for _ in range(int(splits[b + 1] - splits[b]))]
    taken = {(scan_of[v], *cells[v, :2].tolist()): v for v in range(len(cells))}
    probabilities, found = logits.double().softmax(1).tolist(), []
    for own, measured in zip(*batch, strict=True):
        row, column = cells[own, :2].tolist()
        near = []
        for place, ((i, j), weight) in enumerate(zip(steps, gauss, strict=True)):
            if (i, j) == (0, 0):
                near.append((0.0, place, own))
                continue
            pixel = taken.get((scan_of[own], row + i, (column + j) % shape[1]))
            if pixel is not None:
                apart = abs(float(pixel_range[pixel]) - float(measured))
                near.append((apart * (1 - weight / sum(gauss)), place, pixel))
        kept = [v for apart, _, v in sorted(near)[: nearest.count] if apart <= nearest.cutoff]
        found.append(
            [sum(c) / len(kept) for c in zip(*(probabilities[v] for v in kept), strict=True)]
        )
    return found


@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_points_get_the_mean_probability_of_the_nearest_pixels(count, seed):
    batch = batch_of("SalsaNext", 260, 0, 120, seed=seed)
    shape, nearest = (10, 30), NearestPixels(count, window=5, sigma=1.2, cutoff=2.0)
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(len(batch["cells"]), 4, generator=generator)
    distance = batch["points"][:, 0]
    pixel_range = distance[batch["first"]]
    rows = pixel_rows(batch["cells"], batch["splits"], shape)
    found = nearest.blend(logits, pixel_range, rows, shape, batch["point_to_voxel"], distance)
    if count == 1:
        assert torch.equal(found.argmax(1), logits.argmax(1)[batch["point_to_voxel"]])
    wanted = votes_by_loop(
        nearest, logits, batch["cells"], batch["splits"], shape, pixel_range,
        (batch["point_to_voxel"].tolist(), distance.tolist()),
    )  # fmt: skip
    torch.testing.assert_close(found.exp(), torch.tensor(wanted), atol=2e-5, rtol=1e-4)


def test_a_point_behind_a_pole_is_that_of_the_wall_around_it():
    wall = [(10.0, y / 5, z / 5) for y in range(-10, 11) for z in range(-4, 5)]
    pole = [(3.0, 0.0, z / 17) for z in range(-6, 7)]
    scan = Scan.from_raw(
        "a/b", np.array(wall + pole, np.float32), np.zeros(len(wall + pole), np.float32)
    )
    image = SalsaNext.projection_for(height=16, width=240, fov=[10.0, -10.0])
    batch = collate([make_sample(scan, InputRule(2, projection=image))])
    is_pole = batch["first"] >= len(wall)
    logits = torch.stack([~is_pole, is_pole], 1).float() * 4
    backbone = SalsaNext(height=16, width=240, fov=[10.0, -10.0], planes=[4, 4, 4])
    behind = is_pole[batch["point_to_voxel"]][: len(wall)]
    assert behind.any()  # points of the wall that share their pixel with the pole, which is nearer
    assert (backbone.at_points(logits, batch).argmax(1)[: len(wall)] == 0).all()


def test_logits_of_certain_pixels_stay_finite():
    logits = torch.tensor([[5000.0, 0, 0], [0, 5000.0, 0]])
    rows, pixel = torch.tensor([0, 1]), torch.tensor([0, 1])
    found = NearestPixels(2, 3).blend(logits, torch.ones(2), rows, (1, 2), pixel, torch.ones(2))
    assert found.isfinite().all() and found.exp().sum(1).tolist() == pytest.approx([1, 1])


def test_dropped_squares_are_whole_in_all_channels_and_the_mean_stays():
    torch.manual_seed(0)
    layer, x = DropBlock(0.3, 3), torch.ones(4, 3, 40, 40)
    out = layer(x)
    gone = out == 0
    assert (gone.all(1) == gone.any(1)).all() and 0.1 < gone.float().mean() < 0.5
    assert out.mean() == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(layer.eval()(x), x)


def test_batch_norm_of_a_single_value_uses_what_it_has_recorded():
    norm = BatchNorm(2)
    norm.running_mean += 1.0
    out = norm(torch.ones(1, 2, 1, 1))
    assert out.abs().max() < 1e-6 and norm.num_batches_tracked == 0
    assert norm(torch.empty(0, 2, 4, 4)).shape == (0, 2, 4, 4)


@pytest.mark.parametrize(
    ("name", "keywords", "words"),
    [
        ("SalsaNext", {"planes": [4, 4]}, "planes: expected 2 L"),
        ("SalsaNext", {"planes": [4, 6, 4]}, "multiple of 4, got 6"),
        ("SalsaNext", {"planes": [4, 9000, 4]}, "from 1 to 8,192"),
        ("SalsaNext", {"planes": [4] * 27}, "at most 12 levels"),
        ("SalsaNext", {"dropout": 1.0}, "dropout: expected a share"),
        ("SalsaNext", {"window": 4}, "window: expected an odd number"),
        ("SalsaNext", {"neighbours": 26}, "neighbours: expected 1 to 25"),
        ("SalsaNext", {"sigma": 0.0}, "sigma: expected"),
        ("SalsaNext", {"cutoff": -1.0}, "cutoff: expected"),
        ("SalsaNext", {"mean": [0.0] * 5}, "give both"),
        ("SalsaNext", {"mean": [0.0] * 4, "std": [1.0] * 4}, "expected 5 numbers"),
        ("SalsaNext", {"mean": [0.0] * 5, "std": [0.0] * 5}, "above 0"),
        ("PolarNet", {"planes": [4, 4, 4, 4]}, "planes: expected 2 L"),
        ("PolarNet", {"planes": [4] * 9}, "must be at least 16, got"),
        ("PolarNet", {"point_planes": []}, "point_planes: expected widths"),
        ("PolarNet", {"dropout": -0.1}, "dropout: expected a share"),
    ],
)
def test_sizes_that_make_no_network_are_refused(name, keywords, words):
    with pytest.raises(ValueError, match=words):
        network(name, **keywords)
