"""The compiled variants of the CPU library agree bit for bit, and with the reference.

A variant is chosen when the library is loaded, so each runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from annotator3d.kernels import native

TASK = """
import hashlib, sys
import torch
from annotator3d.kernels import build_info, point_scores, select_voxels, voxelize

torch.set_num_threads(int(sys.argv[1]))
exact, rounded = hashlib.blake2b(), hashlib.blake2b()
for seed in range(6):
    made = torch.Generator().manual_seed(seed)
    classes, spread = (2, 19, 20, 33, 254, 7)[seed], (3.0, 40.0, 4000.0)[seed % 3]
    splits = torch.tensor([0, 0, 1, 700, 3000])
    points = (torch.rand(3000, 4, generator=made) - 0.5) * spread
    points[::7] = torch.round(points[::7] * 4) / 4  # on the borders of cells
    logits = torch.randn(3000, classes, generator=made) * (1.0, 30.0)[seed % 2]
    seeds = torch.arange(4)
    found = voxelize(points, 0.25, splits)
    for tensor in (found.cells, found.point_to_voxel, found.members, found.splits):
        exact.update(tensor.numpy().tobytes())
    for scores in point_scores(logits):
        rounded.update(scores.numpy().tobytes())
    for score in ("vcd", "entropy", "margin", "none"):
        given = logits if score != "none" else None
        chosen = select_voxels(
            points, 0.25, given, classes, score=score, k=5, seeds=seeds, splits=splits
        )
        digest = exact if score in ("vcd", "none") else rounded
        for pick in chosen.picks():
            digest.update(f"{pick.cell} {int(pick.score)} {pick.rows.tolist()}".encode())
print(build_info()["variant"], exact.hexdigest(), rounded.hexdigest())
"""


def run(variant: str, threads: int = 1) -> tuple[str, str, str]:
    """The variant that ran, and the digests of what is exact everywhere and of what is rounded."""
    done = subprocess.run(
        [sys.executable, "-c", TASK, str(threads)],
        env={**os.environ, "ANNOTATOR3D_KERNELS": variant},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode and "this processor runs" in done.stderr:
        pytest.skip(f"this processor has no {variant}")
    assert done.returncode == 0, done.stderr
    return tuple(done.stdout.split())


@pytest.fixture(scope="module")
def generic() -> tuple[str, str, str]:
    if native.library() is None:
        pytest.skip(native.missing_reason())
    return run("generic")


@pytest.mark.parametrize(("variant", "threads"), [("v3", 1), ("v4", 1), ("v4", 4), ("generic", 2)])
def test_every_variant_and_number_of_threads_gives_the_same_bits(generic, variant, threads):
    name, exact, rounded = run(variant, threads)
    assert (name, exact, rounded) == (variant, *generic[1:])


def test_what_is_exact_is_that_of_the_reference(generic):
    name, exact, _ = run("reference")
    assert name == "reference" and exact == generic[1]
