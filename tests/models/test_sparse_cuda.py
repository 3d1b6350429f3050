"""The CUDA path of the wall without a GPU: spconv itself on a CPU, and layers in its place.

`cuda_conv` and its geometry know nothing of the device, so CPU tensors go the same way.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_paths import assert_same_as_on_cpu, batch, layers_of, results
from spconv_on_cpu import LAYERS, TENSOR, Recorder, dense_layers, real_spconv, signatures

from annotator3d.models import sparse_cuda, sparse_library
from annotator3d.models.sparse import SparseConv, sparse_input
from annotator3d.models.sparse_cuda import CudaGeometry, cuda_conv


def has_spconv() -> bool:
    try:
        with real_spconv():
            return True
    except Exception:
        return False


@pytest.fixture(params=["dense", "spconv"])
def package(request):
    """What stands for the library on a GPU."""
    if request.param == "dense":
        yield dense_layers
    elif has_spconv():
        with real_spconv() as spconv:
            yield spconv
    else:
        pytest.skip("spconv cannot be imported here")


@pytest.mark.parametrize(("scans", "side", "low"), [(1, 5, 0), (3, 6, -3), (2, 5, 1001)])
def test_a_network_gives_the_same_on_both_paths(package, monkeypatch, scans, side, low):
    monkeypatch.setattr(sparse_cuda, "sparse_library", lambda: package)
    assert_same_as_on_cpu(scans, scans, side, low)


@settings(max_examples=10)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 6), st.integers(-40, 40))
def test_any_batch_gives_the_same_on_both_paths(seed, scans, side, low):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sparse_cuda, "sparse_library", lambda: dense_layers)
        assert_same_as_on_cpu(seed, scans, side, low)


@pytest.mark.slow
def test_spconv_triton_gives_the_same_in_tritons_interpreter():
    """Its kernels as they are, run on a CPU; wants spconv-triton and triton."""
    for package in ("triton", "spconv_triton"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    script = Path(__file__).parents[1] / "support/triton_on_cpu.py"
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]


def test_the_calls_fit_spconv_and_say_what_it_needs(monkeypatch):
    """Against spconv's own signatures: names, order and values of what it is given."""
    if not has_spconv():
        pytest.skip("spconv cannot be imported here")
    import spconv.pytorch

    recorder = Recorder(dense_layers, signatures(spconv.pytorch))
    monkeypatch.setattr(sparse_cuda, "sparse_library", lambda: recorder)
    features, cells, splits = batch(0, 3, 7, -5)
    results(layers_of(0), features, cells, splits, True)
    (tensor,) = [made for name, made in recorder.calls if name == TENSOR]
    layers = [(name, made) for name, made in recorder.calls if name != TENSOR]
    subm, down, up = LAYERS
    assert [(name, made["indice_key"]) for name, made in layers] == [
        (subm, "subm0"),
        (down, "down0"),
        (subm, "subm1"),
        (down, "down1"),
        (up, "down1"),
        (subm, "subm1"),
        (up, "down0"),
    ]
    assert all(made["bias"] is False for _, made in layers)
    indices, shape = tensor["indices"], torch.tensor(tensor["spatial_shape"])
    assert indices.is_contiguous() and indices.dtype == torch.int32
    assert tensor["batch_size"] == 3 and (shape % 64 == 0).all()
    assert int(indices.min()) >= 0 and (indices[:, 1:] < shape).all()
    scan = torch.repeat_interleave(torch.arange(3), splits.diff())
    assert torch.equal(indices[:, 0].long(), scan)


def test_a_call_that_spconv_does_not_take_is_seen():
    if not has_spconv():
        pytest.skip("spconv cannot be imported here")
    import spconv.pytorch

    recorder = Recorder(dense_layers, signatures(spconv.pytorch))
    with pytest.raises(TypeError, match="index_key"):
        recorder.SubMConv3d(4, 4, 3, bias=False, index_key="subm0")


def test_weights_are_shared_and_made_once(monkeypatch):
    monkeypatch.setattr(sparse_cuda, "sparse_library", lambda: dense_layers)
    features, cells, splits = batch(1, 2, 6, 0)
    layers = layers_of(1)
    first = results(layers, features, cells, splits, True)[0]
    assert all(set(dict(layer.named_parameters())) == {"weight"} for layer in layers)
    with torch.no_grad():
        layers[-1].weight.mul_(2)
    torch.testing.assert_close(results(layers, features, cells, splits, True)[0], first * 2)


def test_rows_of_a_level_are_told_in_the_order_of_scans(monkeypatch):
    """spconv puts coarse voxels in an order of its own; `occupied` says which row is which."""
    monkeypatch.setattr(sparse_cuda, "sparse_library", lambda: dense_layers)
    features, cells, splits = batch(2, 3, 8, -3)
    down = SparseConv(4, 2, "down")
    x, there = down(sparse_input(features, cells, splits)), CudaGeometry(cells, splits)
    ours, level = x.features, x.level
    theirs, _ = cuda_conv(down, features, there, 0)
    coarse, coarse_splits, order = x.geometry.occupied(level)
    assert order is None
    found, found_splits, rows = there.occupied(level)
    assert found_splits.tolist() == coarse_splits.tolist()
    by_cell = {}
    for b in range(3):
        for row in range(int(coarse_splits[b]), int(coarse_splits[b + 1])):
            by_cell[(b, *coarse[row].tolist())] = ours[row]
    for b in range(3):
        for row in range(int(found_splits[b]), int(found_splits[b + 1])):
            expected = by_cell.pop((b, *found[row].tolist()))
            torch.testing.assert_close(theirs[rows[row]], expected, atol=1e-5, rtol=1e-4)
    assert not by_cell


def test_a_batch_without_voxels_and_too_many_levels_are_refused(monkeypatch):
    monkeypatch.setattr(sparse_cuda, "sparse_library", lambda: dense_layers)
    features, cells, splits = batch(3, 1, 2, 0)
    empty = CudaGeometry(cells[:0], torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="needs at least one voxel"):
        cuda_conv(SparseConv(4, 2), features[:0], empty, 0)
    with pytest.raises(ValueError, match="at most 6 levels"):
        cuda_conv(SparseConv(4, 2, "down"), features, CudaGeometry(cells, splits), 6)


@pytest.fixture
def libraries(monkeypatch):
    """Which of the two can be imported is set with ``libraries(spconv=..., triton=...)``."""
    sparse_library._load.cache_clear()
    monkeypatch.delenv(sparse_library.VARIABLE, raising=False)

    def use(**modules):
        for name, found in modules.items():
            package = {"spconv": "spconv", "triton": "spconv_triton"}[name]
            for part in (package, f"{package}.pytorch"):
                monkeypatch.setitem(sys.modules, part, found)

    yield use
    sparse_library._load.cache_clear()


def test_spconv_is_preferred_and_triton_serves_where_it_is_missing(libraries, monkeypatch):
    compiled, triton = object(), object()
    libraries(spconv=compiled, triton=triton)
    assert sparse_library.sparse_library() is compiled
    monkeypatch.setenv(sparse_library.VARIABLE, "spconv-triton")
    assert sparse_library.sparse_library() is triton
    monkeypatch.delenv(sparse_library.VARIABLE)
    sparse_library._load.cache_clear()
    libraries(spconv=None)
    assert sparse_library.sparse_library() is triton
    assert sparse_library.convolution_library().startswith("spconv-triton")


def test_what_was_asked_for_is_not_replaced(libraries, monkeypatch):
    libraries(spconv=None, triton=object())
    monkeypatch.setenv(sparse_library.VARIABLE, "spconv")
    with pytest.raises(RuntimeError, match="nothing can convolve on CUDA; spconv: "):
        sparse_library.sparse_library()


def test_no_library_at_all_says_what_to_install(libraries):
    libraries(spconv=None, triton=None)
    with pytest.raises(RuntimeError) as caught:
        sparse_library.convolution_library()
    words = str(caught.value)
    for part in (sparse_library.SPCONV_PACKAGE, "pip install spconv-triton", "--device cpu"):
        assert part in words
    assert len(words) < 500


def test_an_unknown_library_is_named(monkeypatch):
    monkeypatch.setenv(sparse_library.VARIABLE, "torchsparse")
    with pytest.raises(ValueError, match="ANNOTATOR3D_CONVOLUTION: expected spconv or spconv-tri"):
        sparse_library.sparse_library()
