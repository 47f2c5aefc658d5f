"""Forward and backward passes of policy and critics, written out.

At 256 rows through layers of 256 units, a third of autograd's time goes into remembering what was
done and into memory for what nobody asks. These passes fill the same gradients: the tests compare
the two. None of them is differentiable. Parameters must have a `.grad`, which is written over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.actor_critic import Critics, GaussianTanhPolicy
from robot_learning.models.networks import Activation, Dense, EnsembleLinear, EnsembleNorm
from robot_learning.models.products import rounded_factors

_EPSILON = 1e-5  # Of layer_norm.


class ActorPasses:
    """Of a policy without LayerNorm; one backward pass per forward pass."""

    def __init__(self, actor: GaussianTanhPolicy, activation: Activation):
        self._actor = actor
        norms = [layer.norm for layer in actor.trunk]
        assert not any(norms), 'policies with LayerNorm are left to autograd'
        self._hidden = _HiddenPasses([*actor.trunk], [None] * len(norms), activation)
        self._last: Tensor = torch.zeros(0)
        self._raw: Tensor = torch.zeros(0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation before squashing, [B, A] each."""
        actor = self._actor
        self._last = self._hidden.forward((features - actor.input_mean) / actor.input_std)
        mean, self._raw = F.linear(self._last, *self._heads()).chunk(2, dim=-1)
        return mean, self._raw.clamp(*actor.log_std_bounds)

    def backward(self, of_mean: Tensor, of_log_std: Tensor) -> None:
        """Fill `.grad` of all parameters, from the loss's gradient to what `forward` returned."""
        actor = self._actor
        low, high = actor.log_std_bounds
        of_log_std = of_log_std * ((self._raw >= low) & (self._raw <= high))
        for head, part in zip((actor.mean, actor.log_std), (of_mean, of_log_std), strict=True):
            torch.mm(part.t(), self._last, out=head.weight.grad)
            torch.sum(part, 0, out=head.bias.grad)
        weight, _ = self._heads()
        self._hidden.backward(torch.cat([of_mean, of_log_std], dim=1) @ weight)

    def _heads(self) -> tuple[Tensor, Tensor]:
        """Return both heads as one, for one pass over the last layer: [2A, size] and [2A]."""
        mean, log_std = self._actor.mean, self._actor.log_std
        return torch.cat([mean.weight, log_std.weight]), torch.cat([mean.bias, log_std.bias])


class CriticPasses:
    """Of an ensemble of critics; one backward pass per forward pass."""

    def __init__(self, critics: Critics, activation: Activation):
        ensemble = critics.ensemble
        norms = [norm if isinstance(norm, EnsembleNorm) else None for norm in ensemble.norms]
        self._hidden = _HiddenPasses([*ensemble.layers], norms, activation)
        self._output = ensemble.output
        self._last: Tensor = torch.zeros(0)

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Return the values [N, B]."""
        weight, bias = self._output.weight, self._output.bias  # [N, 1, H] and [N, 1]
        x = torch.cat([features, action], dim=1)
        self._last = self._hidden.forward(x.expand(len(weight), *x.shape))  # [N, B, H]
        values = [torch.mv(self._last[n], weight[n, 0]) for n in range(len(weight))]
        return torch.stack(values).add_(bias)

    def backward(self, of_values: Tensor) -> None:
        """Fill `.grad` of all parameters, from the loss's gradient to the values [N, B]."""
        weight, bias = self._output.weight, self._output.bias
        assert weight.grad is not None, 'see above'
        for n, gradient in enumerate(of_values):
            torch.mv(self._last[n].t(), gradient, out=weight.grad[n, 0])
        torch.sum(of_values, 1, keepdim=True, out=bias.grad)
        self._hidden.backward(of_values[..., None] * weight)

    def action_gradient(self, of_values: Tensor, action_size: int) -> Tensor:
        """Return the loss's gradient to the actions [B, A]; parameters get none."""
        gradient = of_values[..., None] * self._output.weight
        return self._hidden.input_gradient(gradient, action_size).sum(0)


class _Seen(NamedTuple):
    """What the backward pass of a layer needs."""

    x: Tensor  # What the layer got.
    product: Tensor  # Before LayerNorm.
    statistics: tuple[Tensor, ...]  # Of LayerNorm: what it normalised, mean and 1 / deviation.
    activated: Tensor  # After the activation, for relu; before it, for silu.


class _HiddenPasses:
    """Of hidden layers, [B, D] to [B, H], or [N, B, D] to [N, B, H] of an ensemble."""

    def __init__(
        self,
        linears: Sequence[nn.Module],
        norms: Sequence[EnsembleNorm | None],
        activation: Activation,
    ):
        self._layers: list[tuple[Dense | EnsembleLinear, EnsembleNorm | None]] = []
        for linear, norm in zip(linears, norms, strict=True):
            assert isinstance(linear, Dense | EnsembleLinear)
            self._layers.append((linear, norm))
        self._is_relu = activation == 'relu'
        self._seen: list[_Seen] = []

    def forward(self, x: Tensor) -> Tensor:
        self._seen = []
        for linear, norm in self._layers:
            with _rounding(linear):
                if isinstance(linear, Dense):
                    product = torch.addmm(linear.bias, x, linear.weight.t())
                else:
                    product = torch.baddbmm(linear.bias, x, linear.weight)
            normed = product
            statistics: tuple[Tensor, ...] = ()
            if norm is not None:
                size = [product.shape[-1]]
                statistics = torch.native_layer_norm(product, size, None, None, _EPSILON)
                normed = torch.addcmul(norm.bias, statistics[0], norm.weight)
            output = normed.relu_() if self._is_relu else F.silu(normed)
            self._seen.append(_Seen(x, product, statistics, output if self._is_relu else normed))
            x = output
        return x

    def backward(self, gradient: Tensor) -> None:
        """Fill `.grad` of all parameters; `gradient` is written over."""
        for index in reversed(range(len(self._layers))):
            linear, norm = self._layers[index]
            gradient = self._through(index, gradient, self._fill_norm(norm))
            x = self._seen[index].x
            torch.sum(gradient, -2, keepdim=linear.bias.dim() == 3, out=linear.bias.grad)
            with _rounding(linear):
                if isinstance(linear, Dense):
                    torch.mm(gradient.t(), x, out=linear.weight.grad)
                else:
                    torch.bmm(x.mT, gradient, out=linear.weight.grad)
                if index:
                    gradient = self._times_weight(linear, gradient)

    def input_gradient(self, gradient: Tensor, last_columns: int) -> Tensor:
        """Return the gradient to the last columns of the input, [..., B, columns]."""
        for index in reversed(range(len(self._layers))):
            linear, _ = self._layers[index]
            gradient = self._through(index, gradient, None)
            with _rounding(linear):
                gradient = self._times_weight(linear, gradient, 0 if index else last_columns)
        return gradient

    def _through(
        self, index: int, gradient: Tensor, fill: Callable[[Tensor, Tensor], None] | None
    ) -> Tensor:
        """Return the gradient to a layer's product, from that to its output."""
        _, norm = self._layers[index]
        seen = self._seen[index]
        if self._is_relu:
            torch.ops.aten.threshold_backward.grad_input(
                gradient, seen.activated, 0, grad_input=gradient
            )
        else:
            gradient = torch.ops.aten.silu_backward(gradient, seen.activated)
        if norm is None:
            return gradient
        normalised, mean, inverse_deviation = seen.statistics
        if fill is not None:
            fill(gradient, normalised)
        of_product: Tensor = torch.ops.aten.native_layer_norm_backward(
            gradient * norm.weight,
            seen.product,
            [gradient.shape[-1]],
            mean,
            inverse_deviation,
            None,
            None,
            [True, False, False],
        )[0]
        return of_product

    @staticmethod
    def _fill_norm(norm: EnsembleNorm | None) -> Callable[[Tensor, Tensor], None] | None:
        if norm is None:
            return None

        def fill(gradient: Tensor, normalised: Tensor) -> None:
            torch.sum(gradient * normalised, 1, keepdim=True, out=norm.weight.grad)
            torch.sum(gradient, 1, keepdim=True, out=norm.bias.grad)

        return fill

    @staticmethod
    def _times_weight(
        linear: Dense | EnsembleLinear, gradient: Tensor, last_columns: int = 0
    ) -> Tensor:
        """Return the gradient to what a layer got, or only to the last columns of that."""
        if isinstance(linear, Dense):
            return gradient @ linear.weight[:, -last_columns:]
        return gradient @ linear.weight[:, -last_columns:].mT


def _rounding(linear: Dense | EnsembleLinear) -> AbstractContextManager[None]:
    is_rounded = linear.product_dtype is not None  # See `set_product_dtype`.
    return rounded_factors() if is_rounded else contextlib.nullcontext()
