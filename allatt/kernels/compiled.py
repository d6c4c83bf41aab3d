"""torch.compile, set up for this project's pruned models."""

import functools
from collections.abc import Callable

import torch

from allatt.kernels import persistent


@functools.cache
def compiled(function: Callable) -> Callable:
    """`function` through torch.compile, for the shapes that it is called with; blocks of one shape share the result."""
    # Pruned layers differ in their number of heads, and each number is a separate shape.
    torch.compiler.assume_constant_result(persistent.has_flash)  # asks torch about the GPU, which cannot be traced
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(function, dynamic=False)
