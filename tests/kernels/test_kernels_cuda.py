"""The CUDA library on a GPU: the bits of its host build, launches, streams, sizes, and who uses it.

What it computes is tested on every path in the other files about kernels.
"""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import kernels_host
import pytest
import torch
from host_cases import batch, question, same
from tiny_runs import tiny_config
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from annotator3d import kernels
from annotator3d.kernels import cuda_library, reference
from annotator3d.kernels.request import SelectionRequest
from annotator3d.kernels.score_table import score_table
from annotator3d.kernels.selection import SCORES

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        kernels_host.missing_reason() is not None, reason=str(kernels_host.missing_reason())
    ),
]
NAMES = (
    "voxelize",
    "group_cells",
    "voxel_mean",
    "histogram",
    "confusion",
    "entropy_and_margin",
    "select",
)
NAMES = (*NAMES, "interpolation", "devoxelize", "devoxelize_backward")


@pytest.fixture
def cuda():
    if cuda_library.library() is None:
        pytest.fail("a GPU, but no CUDA library: install with nvcc on the PATH")
    return cuda_library


def on_gpu(values: tuple) -> tuple:
    moved = [v.cuda() if isinstance(v, Tensor) else v for v in values]
    return SelectionRequest(*moved) if isinstance(values, SelectionRequest) else tuple(moved)


def on_cpu(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(v.cpu() for v in values)


def scans(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four scans of tens of thousands of points; one is empty, one lies in few voxels."""
    generator = torch.Generator().manual_seed(seed)
    parts = [
        torch.randn(n, 4, generator=generator) * spread
        for n, spread in ((30_000, 20.0), (0, 1.0), (20_000, 0.05), (40_001, 60.0))
    ]
    return torch.cat(parts), torch.tensor([0] + [len(p) for p in parts]).cumsum(0)


def large_question(score: str, **changes) -> SelectionRequest:
    points, splits = scans()
    logits = torch.randn(len(points), 19, generator=torch.Generator().manual_seed(1))
    changes = {"prediction": logits, "num_classes": 19, "k": 50} | changes
    return question(points, splits, score, **changes)


@pytest.mark.parametrize("reduce", ["max", "mean"])
@pytest.mark.parametrize("score", SCORES)
def test_selection_has_the_bits_of_the_host_build_every_time(cuda, score, reduce):
    arguments = large_question(score, reduce=reduce)
    expected = kernels_host.select(arguments)
    arguments = on_gpu(arguments)
    for _ in range(10):
        assert same(on_cpu(cuda.select(arguments)), expected)


@pytest.mark.parametrize("kind", ["f32", "f64", "u8", "i32", "i64"])
def test_every_prediction_has_the_bits_of_the_host_build(cuda, kind):
    logits = torch.randn(90_001, 19, generator=torch.Generator().manual_seed(2))
    labels = logits.argmax(1)
    labels[::7] = 255
    prediction = {
        "f32": logits,
        "f64": logits.double(),
        "u8": labels.to(torch.uint8),
        "i32": labels.int(),
        "i64": labels,
    }[kind]
    rows = torch.randint(0, 90_001, (90_001,), generator=torch.Generator().manual_seed(3))
    arguments = large_question("vcd", prediction=prediction, rows=rows)
    expected = kernels_host.select(arguments)
    assert same(on_cpu(cuda.select(on_gpu(arguments))), expected)
    voxels = reference.voxelize(arguments.points, 0.25, arguments.splits)
    layout = (voxels[2], voxels[3], voxels[4], voxels[1])
    args = (prediction, *layout, score_table(90_001), 19)
    assert torch.equal(cuda.confusion(*on_gpu(args)).cpu(), kernels_host.confusion(*args))


@pytest.mark.parametrize("classes", [1, 2, 19, 20, 47, 48, 255])
def test_scores_of_points_have_the_bits_of_the_host_build(cuda, classes):
    logits = torch.randn(10_007, classes, generator=torch.Generator().manual_seed(4)) * 5
    expected = kernels_host.entropy_and_margin(logits)
    assert same(on_cpu(cuda.entropy_and_margin(logits.cuda())), expected)


def test_grouping_is_the_references_every_time(cuda):
    points, splits = scans()
    points[:70_000:2] = points[0]  # beyond 16 bits, many merges
    expected = reference.voxelize(points, 0.25, splits)
    for _ in range(5):
        assert same(on_cpu(cuda.voxelize(points.cuda(), 0.25, splits.cuda())), expected)
    cells = expected[0][expected[2]]
    assert same(on_cpu(cuda.group_cells(cells.cuda(), splits.cuda())), expected)
    features = torch.randn(len(points), 5)
    mean = cuda.voxel_mean(*on_gpu((features, *expected[2:5])))
    assert torch.equal(mean.cpu(), reference.voxel_mean(features, *expected[2:5]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_points_and_voxels_exchange_features_as_in_the_reference(cuda, dtype):
    """The gradient too: its sums have one order."""
    points, splits = batch([3000, 0, 2000], "dense", 0)
    cells, scan, *_, known = reference.voxelize(points, 2.0, splits)
    expected = reference.interpolation(points, splits, cells, known, 2)
    found = cuda.interpolation(*on_gpu((points, splits, cells, known)), 2)
    assert same(on_cpu(found), expected)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(cells), 33, generator=generator).to(dtype)
    grad = torch.randn(len(points), 33, generator=generator).to(dtype)
    there = cuda.devoxelize(features.cuda(), *found)
    back = cuda.devoxelize_backward(grad.cuda(), *found, len(cells))
    assert torch.equal(there.cpu(), reference.devoxelize(features, *expected))
    assert torch.equal(back.cpu(), reference.devoxelize_backward(grad, *expected, len(cells)))


def launches(work) -> Counter[str]:
    """What `work` runs on the device, and what the host calls to wait for it."""
    work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        work()
    seen: Counter[str] = Counter()
    for event in profiled.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            copies = "Memcpy" in event.name
            seen["copies" if copies else "launches"] += 1
        elif "Synchronize" in event.name or event.name == "cudaMemcpy":
            seen["waits"] += 1
    return seen


@pytest.mark.parametrize("score", SCORES)
def test_selection_takes_eight_launches_at_most_and_waits_for_nothing(cuda, score):
    arguments = on_gpu(large_question(score))
    seen = launches(lambda: cuda.select(arguments))
    assert 5 <= seen["launches"] <= 8 and seen["copies"] == 0
    # The profiler itself waits once, when it stops.
    assert seen["waits"] <= launches(lambda: None)["waits"]


def test_voxelisation_waits_once_for_its_sizes(cuda):
    points, splits = on_gpu(scans())
    seen = launches(lambda: cuda.voxelize(points, 0.25, splits))
    idle = launches(lambda: None)
    assert seen["copies"] == 1 and seen["waits"] - idle["waits"] <= 1


@pytest.mark.parametrize("score", SCORES)
def test_selection_can_be_captured_and_replayed(cuda, score):
    """A graph takes no call that waits; the replay reads what then lies in its inputs."""
    arguments = on_gpu(large_question(score))
    other = scans(seed=5)[0].cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        cuda.select(arguments)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = cuda.select(arguments)
    for points in (arguments.points.clone(), other):
        arguments.points.copy_(points)
        graph.replay()
        assert same(on_cpu(captured), on_cpu(cuda.select(arguments)))


def test_everything_runs_on_the_current_stream(cuda):
    """Its inputs are written late on a stream of their own: another stream would read zeros."""
    right = large_question("entropy")
    expected = kernels_host.select(right)
    grouped = reference.voxelize(right.points, 0.25, right.splits)
    late = on_gpu(right)
    points, logits = late.points.clone(), late.prediction.clone()
    late.points.zero_()
    late.prediction.zero_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # cycles
        late.points.copy_(points)
        late.prediction.copy_(logits)
        found = cuda.select(late)
        voxels = cuda.voxelize(late.points, 0.25, late.splits)
    stream.synchronize()
    assert same(on_cpu(found), expected) and same(on_cpu(voxels), grouped)


def test_another_device_is_used_and_the_current_one_stays(cuda):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    arguments = large_question("vcd")
    moved = [v.to("cuda:1") if isinstance(v, Tensor) else v for v in arguments]
    there = SelectionRequest(*moved)
    found = cuda.select(there)
    assert torch.cuda.current_device() == 0 and found[0].device == torch.device("cuda:1")
    assert same(on_cpu(found), kernels_host.select(arguments))


def test_a_refused_value_does_not_last(cuda):
    points, splits = batch([60], "dense", 2)
    bad = points.clone()
    bad[30, 2] = float("nan")
    for given, status in ((bad, 1), (points, 0), (bad, 1)):
        arguments = on_gpu(question(given, splits, "vcd"))
        assert int(cuda.select(arguments)[5]) == status
    with pytest.raises(ValueError, match="points: expected finite values, got NaN or Inf in 1 row"):
        kernels.voxelize(bad.cuda(), 0.25)


def test_more_than_2_31_logits_are_indexed_right(cuda):
    """The last rows lie beyond 2^31 elements."""
    rows, classes = 8_700_000, 250
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("wants 40 GiB of free GPU memory")
    assert rows * classes > 2**31
    logits = torch.zeros(rows, classes, device="cuda")
    last = rows - 1000
    logits[last:, 7] = 9.0
    points = torch.zeros(rows, 3, device="cuda")
    points[:, 0] = torch.arange(rows, device="cuda") // 1000
    found = kernels.select_voxels(points, 1.0, logits, classes, k=2, seeds=[0], want_scores=True)
    assert int(found.counts.sum()) == 2000 and int(found.scores.abs().sum()) == 0
    entropy, margin = kernels.entropy_and_margin(logits)
    assert entropy[0] == entropy[last - 1] > 7 * kernels.SCORE_ONE > entropy[last]
    assert entropy[last:].unique().numel() == 1 and margin[last - 1] == 0 < margin[last]
    logits[rows - 1, classes - 1] = float("inf")
    with pytest.raises(ValueError, match="finite values, got NaN or Inf in 1 rows"):
        kernels.entropy_and_margin(logits)


class Spies:
    """Counts the calls of a path's kernels; the reference must not run but to raise."""

    def __init__(self, module) -> None:
        self.module, self.calls = module, Counter()

    def __enter__(self) -> Counter[str]:
        def spied(name, function):
            def call(*args):
                self.calls[name] += 1
                return function(*args)

            return call

        functions = {n: spied(n, getattr(self.module, n)) for n in NAMES}
        self._patches = patch.multiple(self.module, **functions)
        self._patches.start()
        return self.calls

    def __exit__(self, *_) -> None:
        self._patches.stop()


def test_cuda_tensors_go_to_the_library(cuda, monkeypatch):
    points, splits = on_gpu(batch([300, 200], "dense", 0))
    features = torch.randn(500, 4, device="cuda", requires_grad=True)
    for name in NAMES:
        monkeypatch.setattr(reference, name, None)
    with Spies(cuda) as calls:
        voxels = kernels.voxelize(points, 0.25, splits)
        kernels.group_cells(voxels.cells, voxels.scan_splits)
        kernels.voxel_class_histogram(torch.zeros(500, dtype=torch.uint8, device="cuda"), voxels, 4)
        kernels.voxel_confusion(features, voxels, 4)
        kernels.entropy_and_margin(features)
        kernels.select_voxels(points, 0.25, features, 4, k=3, seeds=[1, 2], splits=splits)
        around = kernels.interpolation(
            points, voxels.cells, voxels.scan_splits, point_splits=splits
        )
        out = kernels.devoxelize(kernels.voxel_mean(features, voxels), *around)
        out.sum().backward()
    assert {n for n, count in calls.items() if count} == set(NAMES)


def test_training_and_selection_use_the_library(cuda, make_kitti, tmp_path):
    """A run of the tiny point-voxel network: its rounds select, its point branch exchanges."""
    pytest.importorskip("spconv")
    from annotator3d.engine.run import train

    root = make_kitti(sequences=("00", "01", "02", "03"), scans=2, points=300)
    backbone = {"type": "SPVCNN", "planes": [4, 4, 8, 8, 6], "blocks": 1}
    config = tiny_config(root, "al", device="cuda", model={"backbone": backbone})
    with Spies(cuda) as calls:
        train(config, tmp_path / "run")
    assert calls["select"] >= 8  # 4 scans in 2 rounds; the first one asks at random, on the CPU
    for name in ("interpolation", "devoxelize", "devoxelize_backward", "voxel_mean"):
        assert calls[name] > 0, name
