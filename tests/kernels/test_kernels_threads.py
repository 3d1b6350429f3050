"""The threads on which the C++ library works: those of torch, and its own in a fork."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from annotator3d.kernels import cpu

FORKED = """
import os, torch
from annotator3d.kernels import sparse_convolution, submanifold_rulebook
torch.set_num_threads(2)
cells = torch.cartesian_prod(*[torch.arange(20)] * 3).int()
rows, weight = torch.ones(len(cells), 32), torch.ones(32, 27, 32)
book = submanifold_rulebook(cells)
before = sparse_convolution(rows, weight, book).numpy().tobytes()
child = os.fork()
if child == 0:
    after = sparse_convolution(rows, weight, submanifold_rulebook(cells)).numpy().tobytes()
    os._exit(0 if after == before else 3)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(cpu.library() is None, reason=cpu.missing_reason())
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_convolves_on_two_threads_as_its_parent_did():
    """The threads of the parent are not in its fork, which would wait for them for ever."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=120)
