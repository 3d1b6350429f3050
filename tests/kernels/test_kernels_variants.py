"""The compiled variants of the CPU library agree bit for bit, on any number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_paths import KINDS, VARIANTS, Path, cloud

from annotator3d.kernels import SCORE_ONE, cpu, select_voxels
from annotator3d.kernels.grouping import voxelize
from annotator3d.kernels.scores import entropy_and_margin

needs_library = pytest.mark.skipif(cpu.library() is None, reason=cpu.missing_reason())


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def digests(seeds: range) -> tuple[str, str]:
    """Of what is exact on every path, and of what is rounded."""
    exact, rounded = hashlib.blake2b(), hashlib.blake2b()
    for seed in seeds:
        made = torch.Generator().manual_seed(seed)
        classes, spread = (2, 19, 20, 33, 254, 7)[seed], (3.0, 40.0, 4000.0)[seed % 3]
        splits = torch.tensor([0, 0, 1, 700, 3000])
        points = (torch.rand(3000, 4, generator=made) - 0.5) * spread
        points[::7] = torch.round(points[::7] * 4) / 4  # on the borders of cells
        logits = torch.randn(3000, classes, generator=made) * (1.0, 30.0)[seed % 2]
        found = voxelize(points, 0.25, splits)
        for tensor in (found.cells, found.point_to_voxel, found.members, found.splits):
            exact.update(tensor.numpy().tobytes())
        for scores in entropy_and_margin(logits):
            rounded.update(scores.numpy().tobytes())
        for score in ("vcd", "entropy", "margin", "none"):
            given = logits if score != "none" else None
            ordered = torch.arange(4)
            chosen = select_voxels(
                points, 0.25, given, classes, score=score, k=5, seeds=ordered, splits=splits
            )
            digest = exact if score in ("vcd", "none") else rounded
            for pick in chosen.picks():
                score, rows = int(pick.utility * SCORE_ONE), pick.point_indices.tolist()
                digest.update(f"{pick.cell} {score} {rows}".encode())
    return exact.hexdigest(), rounded.hexdigest()


@pytest.mark.parametrize("threads", [1, 2, 4], indirect=True)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_and_number_of_threads_gives_the_same_bits(variant, threads):
    with Path("generic").used():
        torch.set_num_threads(1)
        expected = digests(range(6))
        torch.set_num_threads(threads)
    with Path(variant).used():
        assert digests(range(6)) == expected


def test_what_is_exact_is_that_of_the_reference():
    with Path("generic").used():
        found, _ = digests(range(6))
    with Path("reference").used():
        assert digests(range(6))[0] == found


@pytest.mark.parametrize("variant", VARIANTS[1:])
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(0, 700), min_size=1, max_size=3),
    st.integers(1, 254),
    st.sampled_from([1e-3, 1.0, 8.0, 60.0, 3e37]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_any_number_of_classes_is_read_alike(variant, kind, lengths, classes, spread, seed):
    """Widths have code of their own, and so have rows that fill no vector."""
    points = cloud(seed, sum(lengths), kind)
    logits = torch.randn(len(points), classes, generator=torch.Generator().manual_seed(seed))
    logits = (logits * 4).round() / 4 * spread
    splits = torch.tensor([0, *lengths]).cumsum(0)
    found = []
    for name in ("generic", variant):
        with Path(name).used():
            scores = entropy_and_margin(logits)
            picked = [
                select_voxels(
                    *(points, 0.25, logits, classes),
                    **{"score": score, "k": 4, "splits": splits, "want_scores": True},
                    seeds=list(range(len(lengths))),
                )
                for score in ("vcd", "margin")
            ]
        found.append([*scores, *(t for p in picked for t in (p.pick_of_point, p.point_utilities))])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@needs_library
@pytest.mark.parametrize("wanted", ["generic", "reference", "fastest"])
def test_the_environment_chooses_what_runs(wanted):
    code = "from annotator3d.kernels import build_info; print(build_info()['variant'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ANNOTATOR3D_KERNELS": wanted},
        capture_output=True,
        text=True,
    )
    if wanted == "fastest":
        assert done.returncode == 1
        assert "ANNOTATOR3D_KERNELS: expected generic, v3, v4 or reference" in done.stderr
        assert "got 'fastest'" in done.stderr
    else:
        assert (done.returncode, done.stdout.split()) == (0, [wanted])
