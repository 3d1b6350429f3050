"""Kernel maps, the choice between library and reference, and the operators."""

from __future__ import annotations

import subprocess
import sys
import warnings
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import PATHS, Path

from annotator3d.kernels import build_info, cpu, cpu_library, dispatch, kernel_map
from annotator3d.kernels.grouping import group_cells, voxelize

needs_library = pytest.mark.skipif(cpu.library() is None, reason=cpu.missing_reason())
CUBE = torch.tensor(list(product((-1, 0, 1), repeat=3)), dtype=torch.int32)


def twin(cells, splits, offsets, out_cells, out_splits, stride) -> list[list[int]]:
    table = [[-1] * len(out_cells) for _ in offsets]
    for scan in range(len(splits) - 1):
        row = {tuple(cells[i]): i for i in range(splits[scan], splits[scan + 1])}
        for k, offset in enumerate(offsets):
            for v in range(out_splits[scan], out_splits[scan + 1]):
                wanted = tuple(c * stride + o for c, o in zip(out_cells[v], offset, strict=True))
                table[k][v] = row.get(wanted, -1)
    return table


def axes(low: int, high: int) -> st.SearchStrategy[tuple[int, int, int]]:
    return st.tuples(*[st.integers(low, high)] * 3)


FAR = st.tuples(*[st.sampled_from([-(2**31), 1 - 2**31, -1, 0, 2**31 - 2, 2**31 - 1])] * 3)
scans = st.lists(
    st.tuples(
        st.lists(axes(-4, 5) | FAR, max_size=40, unique=True),
        st.lists(axes(-3, 3) | FAR, max_size=9),
    ),
    max_size=3,
)


@pytest.mark.parametrize("path", PATHS)
@given(scans, st.lists(axes(-2, 2) | axes(-9, 9), max_size=8), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_map_equals_dictionaries(path: Path, batch, offsets, stride):
    def packed(part: int) -> tuple[list, list[int]]:
        rows = [cell for scan in batch for cell in scan[part]]
        lengths = [len(scan[part]) for scan in batch]
        return rows, [sum(lengths[:b]) for b in range(len(lengths) + 1)]

    def tensor(rows: list) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.int32).reshape(-1, 3)

    (cells, splits), (out, out_splits) = packed(0), packed(1)
    args = (tensor(cells), torch.tensor(splits), tensor(offsets))
    outs = (tensor(out), torch.tensor(out_splits))
    expected = twin(cells, splits, offsets, out, out_splits, stride)
    with path.used():
        table = kernel_map(*path.put((*args, *outs)), stride)
        own = kernel_map(*path.put(args), stride=stride)
    assert table.dtype == torch.int64 and table.shape == (len(offsets), len(out))
    assert table.tolist() == expected
    assert own.tolist() == twin(cells, splits, offsets, cells, splits, stride)


def test_map_of_two_touching_cells():
    cells = torch.tensor([[3, 0, 0], [4, 0, 0]], dtype=torch.int32)  # across a 4-cell block
    table = kernel_map(cells, torch.tensor([0, 2]), torch.tensor([[1, 0, 0], [0, 0, 0]]).int())
    assert table.tolist() == [[1, -1], [0, 1]]


@pytest.mark.parametrize("path", PATHS)
def test_strided_cells_beyond_32_bits_do_not_wrap_round_onto_others(path):
    cells, out = torch.zeros(1, 3, dtype=torch.int32), torch.zeros(2, 3, dtype=torch.int32)
    out[0, 0], one = 2**30, torch.tensor([0, 1])
    args = (cells, one, CUBE[13:14], out, torch.tensor([0, 2]), 16)
    with path.used():
        assert kernel_map(*path.put(args)).tolist() == [[-1, 0]]


def test_centre_is_the_identity_and_opposite_offsets_are_inverse():
    points = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1)) * 4
    v = voxelize(points, 0.5, torch.tensor([0, 1500, 1500, 4000]))
    table = kernel_map(v.cells, v.scan_splits, CUBE)
    assert torch.equal(table[13], torch.arange(len(v)))
    for k in range(27):
        hit = table[k] >= 0
        assert torch.equal(table[26 - k][table[k][hit]], hit.nonzero()[:, 0])
        assert torch.equal(v.scan[table[k][hit]], v.scan[hit])


def test_map_refuses_repeated_cells_and_wrong_arguments():
    cells = torch.tensor([[0, 0, 0], [1, 1, 1], [0, 0, 0]], dtype=torch.int32)
    with pytest.raises(ValueError, match="cells: expected unique cells within a scan, got 1 rep"):
        kernel_map(cells, torch.tensor([0, 3]), CUBE)
    apart = torch.tensor([0, 2, 3])
    assert kernel_map(cells, apart, CUBE[13:14]).tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match="offsets: expected int32"):
        kernel_map(cells, apart, CUBE.long())
    with pytest.raises(ValueError, match="scan_splits: .*from 0 to 3"):
        kernel_map(cells, torch.tensor([0, 2]), CUBE)
    with pytest.raises(ValueError, match="out_cells, out_splits: expected both or neither"):
        kernel_map(cells, apart, CUBE, cells)
    with pytest.raises(ValueError, match="out_splits: expected 2 scans, got 1"):
        kernel_map(cells, apart, CUBE, cells, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="stride: expected an int"):
        kernel_map(cells, apart, CUBE, stride=0)


@pytest.mark.parametrize("path", PATHS)
def test_kernel_map_reads_transposed_cells_as_they_are(path):
    cells = torch.tensor([[0, 1, 2, 9], [0, 0, 0, 9], [5, 5, 5, 9]], dtype=torch.int32).t()
    one, cube = torch.tensor([0, 4]), path.put(CUBE)
    with path.used():
        table = kernel_map(path.put(cells), one, cube)
        assert torch.equal(table, kernel_map(path.put(cells.contiguous()), one, cube))


def test_without_the_library_the_reference_runs_and_says_so_once(monkeypatch):
    cells = torch.zeros(3, 3, dtype=torch.int32)
    monkeypatch.setattr(cpu_library, "_load", lambda: (None, "the C++ library is not built"))
    dispatch._warn_once.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert group_cells(cells).counts.tolist() == [3]
    assert ["not built" in str(w.message) for w in caught] == [True]
    assert build_info()["variant"] == "reference" and build_info()["library"] is None


@needs_library
def test_build_info_names_the_library():
    info = build_info()
    assert info["variant"] in ("generic", "v3", "v4") and "libannotator3d" in info["library"]
    assert "-ffp-contract=off" in info["flags"]


@needs_library
def test_library_is_found_from_inside_a_folder_that_shadows_the_package(tmp_path):
    """As in a checkout after a plain install: the sources come first and hold no library."""
    from pathlib import Path as File

    shadow = tmp_path / "annotator3d"
    shadow.symlink_to(File(cpu.__file__).parents[1], target_is_directory=True)
    code = (  # without the hook of an editable install, which would find the sources first
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'Redirecting' not in str(f)];"
        "from annotator3d.kernels import build_info, cpu;"
        "print(cpu.__file__, build_info()['library'], sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    source, library = result.stdout.split()
    assert File(source).is_relative_to(tmp_path)
    assert File(library).samefile(build_info()["library"])
