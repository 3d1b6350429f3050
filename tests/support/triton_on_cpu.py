"""spconv-triton on CPU tensors, its Triton kernels run by Triton's interpreter: not for use.

A script, since it changes torch and triton for its whole process: every kernel takes the first of
its configurations, and tensors say that they are on a GPU. It ends well if a network on the CUDA
path of the wall gives what the CPU path gives, forward and backward.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["TRITON_INTERPRET"] = "1"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import torch  # noqa: E402
import triton  # noqa: E402


class FirstConfiguration:
    """In the place of an autotuner, which would measure on a GPU."""

    def __init__(self, kernel, configurations) -> None:
        self.kernel, self.values = kernel, configurations[0].kwargs

    def __getitem__(self, grid):
        def run(*args, **more):
            def whole(meta):
                return grid({**self.values, **meta}) if callable(grid) else grid

            return self.kernel[whole](*args, **self.values, **more)

        return run


triton.autotune = lambda configs, key=None, **_: lambda kernel: FirstConfiguration(kernel, configs)
torch.get_device_module = lambda device=None: SimpleNamespace(
    get_device_properties=lambda device: SimpleNamespace(multi_processor_count=4)
)

import spconv_triton.pytorch  # noqa: E402
from sparse_paths import assert_same, batch, layers_of, results  # noqa: E402

from annotator3d.models import sparse_cuda  # noqa: E402

if __name__ == "__main__":
    torch.set_num_threads(1)
    sparse_cuda.sparse_library = lambda: spconv_triton.pytorch
    cases = [(1, 1, 5, 0), (2, 3, 6, -3)]
    wanted = [results(layers_of(case[0]), *batch(*case), on_cuda=False) for case in cases]
    torch.Tensor.is_cuda = property(lambda self: True)
    for case, expected in zip(cases, wanted, strict=True):
        assert_same(results(layers_of(case[0]), *batch(*case), on_cuda=True), expected)
