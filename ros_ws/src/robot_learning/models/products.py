"""Products inside networks whose gradients are written out, where autograd's take far longer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def rounded_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return bias + x @ weight in float32; see `RoundedProduct`."""
    product: Tensor = RoundedProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return product


class RoundedProduct(torch.autograd.Function):
    """bias + x @ weight; all products, also of the gradients, round their factors to bfloat16.

    x [..., D] and weight [D, size], or x [N, B, D] and weight [N, D, size].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return [..., size] in float32."""
        ctx.save_for_backward(x, weight)
        ctx.bias_shape = bias.shape
        with rounded_factors():
            if weight.dim() == 3:
                return torch.baddbmm(bias, x, weight)
            product = x.new_empty(*x.shape[:-1], weight.shape[1])
            rows = product.view(-1, weight.shape[1])  # Returned, a view could not be changed.
            torch.addmm(bias, x.flatten(0, -2), weight, out=rows)
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of what learns, in float32; the weight's lies in memory as it does."""
        x, weight = ctx.saved_tensors
        leading, (gradient,) = x.shape[:-1], gradients  # [..., size]
        if weight.dim() == 2:
            x, gradient = x.flatten(0, -2), gradient.flatten(0, -2)
        of_x = of_weight = of_bias = None
        with rounded_factors():
            if ctx.needs_input_grad[0]:
                of_x = (gradient @ weight.mT).view(*leading, -1)
            if ctx.needs_input_grad[1]:
                is_transposed = weight.stride(-1) != 1  # Adam wants both strides alike.
                of_weight = (gradient.mT @ x).mT if is_transposed else x.mT @ gradient
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(-2).view(ctx.bias_shape)
        return of_x, of_weight, of_bias


@contextlib.contextmanager
def rounded_factors() -> Iterator[None]:
    """Let the factors of float32 products be rounded on their way to the unit.

    On the processor oneDNN rounds them to bfloat16; GPUs have no such product and round to
    TensorFloat-32, 3 bits more. Sums and results stay in float32 and nothing is cast in memory.
    Two products of 256^3 took 0.12 ms on a CPU where float32 took 0.45; a CPU without bfloat16
    does not round. The setting is the process's, other threads included.
    """
    on_cpu = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    on_gpu = torch.backends.cuda.matmul
    before = on_cpu.fp32_precision, on_gpu.fp32_precision
    on_cpu.fp32_precision, on_gpu.fp32_precision = 'bf16', 'tf32'
    try:
        yield
    finally:
        on_cpu.fp32_precision, on_gpu.fp32_precision = before
