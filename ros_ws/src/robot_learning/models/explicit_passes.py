"""Forward and backward passes of policy and critics, written out.

At 256 rows through layers of 256 units, a third of autograd's time goes into remembering what was
done and into memory for what nobody asks. These passes fill the same gradients: the tests compare
the two. None of them is differentiable. Where a backward pass is asked for, parameters must have a
`.grad` from the beginning; it is written over. Neither may be moved in memory later.

What was seen is forgotten as soon as it is used: memory that is in the cache gets used again.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.models.actor_critic import Critics, GaussianTanhPolicy
from robot_learning.models.networks import Activation, Dense, EnsembleLinear, EnsembleNorm
from robot_learning.models.products import rounded_factors

_EPSILON = 1e-5  # Of layer_norm.


class ActorPasses:
    """Of a policy without LayerNorm; one backward pass per forward pass."""

    def __init__(self, actor: GaussianTanhPolicy, activation: Activation):
        assert not any(layer.norm for layer in actor.trunk), 'policies here have no LayerNorm'
        self._actor = actor
        self._hidden = _HiddenPasses(activation)
        for layer in actor.trunk:
            assert isinstance(layer, Dense)
            weight, bias = _Slot.of(layer.weight), _Slot.of(layer.bias)
            self._hidden.layers.append(_Layer(weight.transposed(), bias, layer.product_dtype))
        self._last: Tensor = torch.zeros(0)  # [B, H], what the heads saw.
        self._raw: Tensor = torch.zeros(0)  # [B, A], the second head's answer.

    def forward(self, features: Tensor, learns: bool = True) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation before squashing, [B, A] each.

        Args:
            features: [B, D].
            learns: a backward pass will follow, of all rows or of the last ones.
        """
        actor = self._actor
        x = (features - actor.input_mean) / actor.input_std
        self._last = self._hidden.forward(x, learns)
        bias = torch.cat([actor.mean.bias, actor.log_std.bias])
        mean, self._raw = F.linear(self._last, self._head_weights(), bias).chunk(2, dim=-1)
        return mean, self._raw.clamp(*actor.log_std_bounds)

    def backward(self, of_mean: Tensor, of_log_std: Tensor) -> None:
        """Fill `.grad` of all parameters, from the loss's gradient to what `forward` returned.

        Args:
            of_mean: [R, A], of the last R rows; the loss does not know the others.
            of_log_std: as that.
        """
        low, high = self._actor.log_std_bounds
        raw, last = self._raw[-len(of_mean) :], self._last[-len(of_mean) :]
        of_raw = of_log_std * ((raw >= low) & (raw <= high))
        for head, part in ((self._actor.mean, of_mean), (self._actor.log_std, of_raw)):
            torch.mm(part.t(), last, out=head.weight.grad)
            torch.sum(part, 0, out=head.bias.grad)
        self._hidden.backward(torch.cat([of_mean, of_raw], dim=1) @ self._head_weights())

    def _head_weights(self) -> Tensor:
        """Return those of both, for one pass over the last layer: [2A, H]."""
        return torch.cat([self._actor.mean.weight, self._actor.log_std.weight])


class CriticPasses:
    """Of an ensemble of critics; one backward pass per forward pass."""

    def __init__(self, critics: Critics, activation: Activation):
        ensemble = critics.ensemble
        self._weight, self._bias = _Slot.of(ensemble.output.weight), _Slot.of(ensemble.output.bias)
        self._weights = self._weight.value[:, 0].unbind()  # Of each critic, [H].
        self._weight_gradients = self._weight.gradient[:, 0].unbind()
        self._hidden = _HiddenPasses(activation)
        for linear, norm in zip(ensemble.layers, ensemble.norms, strict=True):
            assert isinstance(linear, EnsembleLinear)
            layer = _Layer(_Slot.of(linear.weight), _Slot.of(linear.bias), linear.product_dtype)
            if isinstance(norm, EnsembleNorm):
                layer.gain, layer.offset = _Slot.of(norm.weight), _Slot.of(norm.bias)
            self._hidden.layers.append(layer)
        self._last: Tensor = torch.zeros(0)  # [N, B, H], what the last layers saw.

    def forward(self, features: Tensor, action: Tensor, learns: bool = True) -> Tensor:
        """Return the values [N, B].

        Args:
            features: [B, D].
            action: [B, A].
            learns: a backward pass will follow.
        """
        x = torch.cat([features, action], dim=1)
        last = self._hidden.forward(x.expand(len(self._weights), *x.shape), learns)
        if learns:
            self._last = last
        values = [torch.mv(*each) for each in zip(last.unbind(), self._weights, strict=True)]
        return torch.stack(values).add_(self._bias.value)

    def backward(self, of_values: Tensor) -> None:
        """Fill `.grad` of all parameters, from the loss's gradient to the values [N, B]."""
        torch.sum(of_values, 1, keepdim=True, out=self._bias.gradient)
        members = zip(
            self._last.mT.unbind(), of_values.unbind(), self._weight_gradients, strict=True
        )
        for last, gradient, of_weight in members:
            torch.mv(last, gradient, out=of_weight)
        self._hidden.backward(of_values[..., None] * self._weight.value)

    def action_gradient(self, of_values: Tensor, action_size: int) -> Tensor:
        """Return the loss's gradient to the actions [B, A]; parameters get none."""
        of_last = of_values[..., None] * self._weight.value
        return self._hidden.input_gradient(of_last, action_size).sum(0)


class _Slot(NamedTuple):
    """A parameter, or a view of one, and the same view of its gradient."""

    value: Tensor
    gradient: Tensor  # Of one that does not learn: the value.

    @classmethod
    def of(cls, parameter: Tensor) -> _Slot:
        value = parameter.detach()
        return cls(value, value if parameter.grad is None else parameter.grad)

    def transposed(self) -> _Slot:
        return _Slot(self.value.t(), self.gradient.t())


@dataclass
class _Layer:
    weight: _Slot  # [D, H], or [N, D, H] of an ensemble.
    bias: _Slot  # [H] or [N, 1, H]
    product_dtype: torch.dtype | None  # See `set_product_dtype`.
    gain: _Slot | None = None  # Of LayerNorm, as the bias.
    offset: _Slot | None = None

    def rounding(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self.product_dtype is None else rounded_factors()


class _Seen(NamedTuple):
    """What the backward pass of a layer needs."""

    x: Tensor  # [..., B, D], what the layer got.
    product: Tensor  # [..., B, H], before LayerNorm.
    statistics: tuple[Tensor, ...]  # Of LayerNorm: what it normalised, mean and 1 / deviation.
    activation: Tensor  # [..., B, H], what came out of relu, or went into silu.

    def last(self, num_rows: int) -> _Seen:
        """Return the last rows of all."""
        if num_rows == self.x.shape[-2]:
            return self
        x, product, activation = (
            each[..., -num_rows:, :] for each in (self.x, self.product, self.activation)
        )
        statistics = tuple(each[..., -num_rows:, :] for each in self.statistics)
        return _Seen(x, product, statistics, activation)


class _HiddenPasses:
    """Of hidden layers [B, D] to [B, H], or of those of an ensemble [N, B, D] to [N, B, H]."""

    def __init__(self, activation: Activation):
        self.layers: list[_Layer] = []
        self._is_relu = activation == 'relu'
        self._seen: list[_Seen] = []

    def forward(self, x: Tensor, learns: bool) -> Tensor:
        self._seen = []
        for layer in self.layers:
            with layer.rounding():
                affine = torch.addmm if x.dim() == 2 else torch.baddbmm
                product = affine(layer.bias.value, x, layer.weight.value)
            normed = product
            statistics: tuple[Tensor, ...] = ()
            if layer.gain is not None and layer.offset is not None:
                size = [product.shape[-1]]
                statistics = torch.native_layer_norm(product, size, None, None, _EPSILON)
                normed = torch.addcmul(layer.offset.value, statistics[0], layer.gain.value)
            output = normed.relu_() if self._is_relu else F.silu(normed)
            if learns:
                activation = output if self._is_relu else normed
                self._seen.append(_Seen(x, product, statistics, activation))
            x = output
        return x

    def backward(self, gradient: Tensor) -> None:
        """Fill the gradients of all parameters from that to the output, which is written over.

        A gradient of fewer rows than came is that of the last ones.
        """
        num_rows = gradient.shape[-2]
        for index in reversed(range(len(self.layers))):
            layer, seen = self.layers[index], self._seen.pop().last(num_rows)
            gradient = self._through_activation(seen, gradient)
            if layer.gain is not None and layer.offset is not None:
                _sum_rows(gradient, layer.offset.gradient)
                _sum_rows(gradient * seen.statistics[0], layer.gain.gradient)
                gradient = self._through_norm(layer.gain.value, seen, gradient)
            _sum_rows(gradient, layer.bias.gradient)
            with layer.rounding():
                torch.matmul(seen.x.mT, gradient, out=layer.weight.gradient)
                if index:
                    gradient = gradient @ layer.weight.value.mT

    def input_gradient(self, gradient: Tensor, last_columns: int) -> Tensor:
        """Return the gradient to the last columns of the input, [..., B, columns]."""
        for index in reversed(range(len(self.layers))):
            layer, seen = self.layers[index], self._seen.pop()
            gradient = self._through_activation(seen, gradient)
            if layer.gain is not None:
                gradient = self._through_norm(layer.gain.value, seen, gradient)
            weight = layer.weight.value
            with layer.rounding():
                gradient = gradient @ (weight if index else weight[..., -last_columns:, :]).mT
        return gradient

    def _through_activation(self, seen: _Seen, gradient: Tensor) -> Tensor:
        if not self._is_relu:
            through: Tensor = torch.ops.aten.silu_backward(gradient, seen.activation)
            return through
        torch.ops.aten.threshold_backward.grad_input(
            gradient, seen.activation, 0, grad_input=gradient
        )
        return gradient

    @staticmethod
    def _through_norm(gain: Tensor, seen: _Seen, gradient: Tensor) -> Tensor:
        _, mean, inverse_deviation = seen.statistics
        through: Tensor = torch.ops.aten.native_layer_norm_backward(
            gradient * gain,
            seen.product,
            [gradient.shape[-1]],
            mean,
            inverse_deviation,
            None,
            None,
            [True, False, False],
        )[0]
        return through


def _sum_rows(gradient: Tensor, total: Tensor) -> None:
    """Sum [..., B, H] over the rows into [H] or [N, 1, H]."""
    torch.sum(gradient, -2, keepdim=total.dim() == 3, out=total)
