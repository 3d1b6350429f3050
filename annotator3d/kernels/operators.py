"""How the kernels become torch.library operators ``annotator3d::*`` (`ops`, `convolution_ops`)."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

LIBRARY = torch.library.Library("annotator3d", "FRAGMENT")
_COMPILER = "torch._dynamo"  # loaded when it is first used


def operator(kernel: Callable, schema: str | None = None) -> torch._ops.OpOverload:
    """Register an operator without gradient, as torch.library.custom_op does, but without layers of
    Python around its call: they take longer than the rest of a call with few points.

    Its schema is that of the kernel's signature, unless one is given.
    """
    name = kernel.__name__
    schema = schema or torch.library.infer_schema(kernel, mutates_args=())

    untraced: list[Callable] = []  # made at the first call, because it loads the compiler

    def run_untraced(*args: object) -> object:
        if _COMPILER not in sys.modules:  # nothing can trace: a layer less
            return kernel(*args)
        if not untraced:
            untraced.append(torch.compiler.disable(kernel))
        return untraced[0](*args)

    LIBRARY.define(name + schema)
    LIBRARY.impl(name, run_untraced, "CompositeExplicitAutograd")
    return getattr(torch.ops.annotator3d, name).default


def differentiable(registered: torch._ops.OpOverload, keep: Callable, gradients: Callable) -> None:
    """Give an operator a gradient, as torch.library.register_autograd does, but without layers of
    Python around each call: with few points they take longer than the work itself.

    Args:
        keep: ``keep(ctx, inputs, output)``. gradients: ``gradients(ctx, *of_outputs)``.
    """

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            with torch._C._AutoDispatchBelowAutograd():
                output = registered(*inputs)
            keep(ctx, inputs, output)
            return output

        backward = staticmethod(gradients)

    LIBRARY.impl(registered, Function.apply, "Autograd")


def fake(registered: torch._ops.OpOverload) -> Callable:
    """Decorator: the operator's outputs without their values."""
    return torch.library.register_fake(registered, lib=LIBRARY)
