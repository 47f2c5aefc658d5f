"""The recurrent state-space model: a state that observations correct and actions carry on.

Hafner et al. 2019 ("PlaNet") with the categorical state of DreamerV2 and the block-diagonal
recurrence of DreamerV3 (Nature 640, 2025; layer norm instead of its root mean square: torch has
that one fused on the CPU).

    deter_t = recurrence(deter_t-1, stoch_t-1, action_t-1)
    prior     p(stoch_t | deter_t)
    posterior q(stoch_t | deter_t, embedding_t)

The parameters' names are the published weights format.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.latent import CategoricalLatent, GaussianLatent, Latent
from robot_learning.models.networks import Dense


@dataclass(frozen=True)
class RssmConfig:
    """Sizes; the defaults are those of DreamerV3's size1m."""

    deter: int = 512  # D
    hidden: int = 64  # Width of the layers around the recurrence.
    groups: int = 32  # S
    classes: int = 4  # C; not read by a Gaussian state.
    blocks: int = 8  # G of the recurrence; 1 is an ordinary, dense one.
    latent: Literal['categorical', 'gaussian'] = 'categorical'
    prior_layers: int = 2
    uniform_share: float = 0.01
    min_std: float = 0.1


class State(NamedTuple):
    """Where the model is; every tensor begins with the same axes, [B] or [B, T]."""

    deter: Tensor  # [..., D]
    stoch: Tensor  # [..., S * C] one-hot vectors, flattened; [..., S] where Gaussian.
    parameters: Tensor  # Stoch was drawn from; [..., S, C] or [..., S, 2], see `latent`.


class Carry(NamedTuple):
    """What `observe` needs of the past."""

    state: State  # [B, ...], posterior at the last step.
    action: Tensor  # [B, A] chosen from that step.


class Observed(NamedTuple):
    """What `observe` finds."""

    posterior: State  # [B, T, ...]
    prior: Tensor  # [B, T, ...], parameters before the observation was seen.
    carry: Carry  # For the windows that follow.


class Rssm(nn.Module):
    """The model's parameters and its two ways through time.

    Args:
        embedding_size: E, of what an encoder makes of an observation.
        action_size: A.
        config: sizes; `blocks` must divide `deter`.
    """

    def __init__(self, embedding_size: int, action_size: int, config: RssmConfig):
        super().__init__()
        self.config = config
        self.latent = _latent(config)
        self.action_size = action_size
        self.feature_size = config.deter + self.latent.size
        hidden = config.hidden
        self.deter_input = Dense(config.deter, hidden, 'silu', layer_norm=True)
        self.stoch_input = Dense(self.latent.size, hidden, 'silu', layer_norm=True)
        self.action_input = Dense(action_size, hidden, 'silu', layer_norm=True)
        self.recurrence = BlockRecurrence(3 * hidden, config.deter, config.blocks)
        sizes = [config.deter, *[hidden] * config.prior_layers]
        self.prior_trunk = nn.Sequential(
            *(Dense(a, b, 'silu', layer_norm=True) for a, b in itertools.pairwise(sizes))
        )
        self.prior_output = nn.Linear(sizes[-1], self.latent.raw_size)
        self.posterior_embedding = nn.Linear(embedding_size, hidden)
        self.posterior_deter = nn.Linear(config.deter, hidden, bias=False)
        self.posterior_norm = nn.LayerNorm(hidden)
        self.posterior_output = nn.Linear(hidden, self.latent.raw_size)

    def initial(self, batch_size: int) -> State:
        """Return the state before anything was seen: zeros, and the parameters of raw zeros."""
        like = self.prior_output.weight
        raw = like.new_zeros(batch_size, self.latent.raw_size)
        return State(
            like.new_zeros(batch_size, self.config.deter),
            like.new_zeros(batch_size, self.latent.size),
            self.latent.parameters(raw),
        )

    def features(self, state: State) -> Tensor:
        """Return what heads read: deter and stoch side by side, [..., F]."""
        return torch.cat([state.deter, state.stoch], -1)

    def observe(
        self,
        embedding: Tensor,
        action: Tensor,
        is_first: Tensor,
        carry: Carry | None = None,
        generator: torch.Generator | None = None,
    ) -> Observed:
        """Follow real steps.

        Step t sees embedding[t] and action[t - 1]; where is_first[t], state and action before
        it are forgotten.

        Args:
            embedding: [B, T, E].
            action: [B, T, A], action[t] chosen from step t.
            is_first: [B, T] bool.
            carry: of the steps before; None: there were none.
            generator: of the state's noise. Going on with it equals one longer call on the
                CPU; None: torch's own.
        """
        batch_size, num_steps = is_first.shape
        if carry is None:
            carry = Carry(self.initial(batch_size), action.new_zeros(batch_size, self.action_size))
        before = torch.cat([carry.action[:, None], action[:, :-1]], 1)  # [B, T, A]
        before = (before * ~is_first[..., None]).transpose(0, 1)  # [T, B, A]
        driven = self.recurrence.input_share(self.action_input(before), 2).unbind(0)
        seen = self.posterior_embedding(embedding.transpose(0, 1)).unbind(0)
        noise = self.noise((num_steps, batch_size), generator).unbind(0)
        keep = (~is_first.T[..., None]).to(embedding.dtype).unbind(0)
        # Asking a GPU would wait for it.
        resets = [True] * num_steps if is_first.is_cuda else is_first.any(0).tolist()
        deter, stoch = carry.state.deter, carry.state.stoch
        deters, stochs, raws = [], [], []
        for t in range(num_steps):
            if resets[t]:
                deter, stoch = deter * keep[t], stoch * keep[t]
            deter = self._next_deter(deter, stoch, driven[t])
            raw = self._posterior_raw(deter, seen[t])
            stoch = self.latent.sample(raw, noise[t])
            deters.append(deter)
            stochs.append(stoch)
            raws.append(raw)
        deter, stoch = torch.stack(deters, 1), torch.stack(stochs, 1)
        posterior = State(deter, stoch, self.latent.parameters(torch.stack(raws, 1)))
        last = State(*(tensor[:, -1] for tensor in posterior))
        return Observed(posterior, self.prior(deter), Carry(last, action[:, -1]))

    def prior(self, deter: Tensor) -> Tensor:
        """Return the parameters [...] of the next stoch where only `deter` [..., D] is known."""
        return self.latent.parameters(self._prior_raw(deter))

    def imagine(
        self, state: State, action: Tensor, generator: torch.Generator | None = None
    ) -> State:
        """Return the state [B] that the prior expects after `action` [B, A] from `state` [B]."""
        noise = self.noise((len(action),), generator)
        return self._imagine(state, self.action_input(action), noise)

    def imagine_actions(
        self, state: State, actions: Tensor, generator: torch.Generator | None = None
    ) -> State:
        """Return the H states [B, H] that follow `state` [B] under actions [B, H, A].

        actions[:, 0] is chosen from `state`; index 0 of the result is where it leads.
        """
        noise = self.noise((actions.shape[1], len(actions)), generator)
        hidden = self.action_input(actions.transpose(0, 1))  # [H, B, hidden]
        states = []
        for index in range(len(hidden)):
            state = self._imagine(state, hidden[index], noise[index])
            states.append(state)
        return State(*(torch.stack(parts, 1) for parts in zip(*states, strict=True)))

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Draw what `latent.sample` needs for states of `shape`, in the order of memory."""
        uniform = torch.rand(
            (*shape, *self.latent.noise_shape),
            generator=generator,
            device=self.prior_output.weight.device,
        )
        return self.latent.shaped_noise(uniform)

    def _imagine(self, state: State, action_hidden: Tensor, noise: Tensor) -> State:
        driven = self.recurrence.input_share(action_hidden, 2)
        deter = self._next_deter(state.deter, state.stoch, driven)
        raw = self._prior_raw(deter)
        return State(deter, *self.latent.draw(raw, noise))

    def _next_deter(self, deter: Tensor, stoch: Tensor, driven: Tensor) -> Tensor:
        hidden = torch.cat([self.deter_input(deter), self.stoch_input(stoch)], -1)
        following: Tensor = self.recurrence(deter, hidden, driven)
        return following

    def _posterior_raw(self, deter: Tensor, seen: Tensor) -> Tensor:
        hidden = self.posterior_norm(seen + F.linear(deter, self.posterior_deter.weight))
        raw: Tensor = self.posterior_output(F.silu(hidden))
        return raw

    def _prior_raw(self, deter: Tensor) -> Tensor:
        raw: Tensor = self.prior_output(self.prior_trunk(deter))
        return raw


def _latent(config: RssmConfig) -> Latent:
    if config.latent == 'categorical':
        return CategoricalLatent(config.groups, config.classes, config.uniform_share)
    return GaussianLatent(config.groups, config.min_std)


class BlockRecurrence(nn.Module):
    """A gated recurrent unit whose own products are block-diagonal.

    Block g of the state sees itself and the whole input; gates see their block only. With one
    block it is dense. The order of a block's gates is reset, candidate, update.

    Args:
        input_size: of three inputs of equal width, for deter, stoch and action.
        size: of the state, D.
        num_blocks: G.
    """

    def __init__(self, input_size: int, size: int, num_blocks: int):
        assert size % num_blocks == 0, f'{num_blocks} blocks must divide {size}'
        super().__init__()
        block = size // num_blocks
        self.input = nn.Linear(input_size, size)
        self.state = BlockWeight(num_blocks, block, block)
        self.norm = nn.LayerNorm(size)
        self.gates = BlockWeight(num_blocks, block, 3 * block)
        self.gates_bias = nn.Parameter(torch.zeros(num_blocks, 1, 3 * block))
        self._num_blocks = num_blocks

    def input_share(self, hidden: Tensor, index: int) -> Tensor:
        """Return what input number `index` [..., hidden] of three adds, [..., D]; bias with 2."""
        width = hidden.shape[-1]
        weight = self.input.weight[:, index * width : (index + 1) * width]
        return F.linear(hidden, weight, self.input.bias if index == 2 else None)

    def forward(self, deter: Tensor, hidden: Tensor, driven: Tensor) -> Tensor:
        """Return the next state [B, D].

        Args:
            deter: [B, D].
            hidden: [B, 2 * hidden], of deter and stoch.
            driven: [B, D], `input_share` of the action.
        """
        blocks, width = self._num_blocks, self.state.weight.shape[1]
        weight = self.input.weight[:, : hidden.shape[-1]]
        x = torch.addmm(driven, hidden, weight.t())
        grouped = deter.view(-1, blocks, width)  # [B, G, D / G]
        own = torch.bmm(grouped.transpose(0, 1), self.state.weight).transpose(0, 1)
        x = self.norm((x.view(-1, blocks, width) + own).flatten(1))
        x = F.silu(x).view(-1, blocks, width).transpose(0, 1)  # [G, B, D / G]
        gates = torch.baddbmm(self.gates_bias, x, self.gates.weight).transpose(0, 1)
        reset, candidate, update = gates.chunk(3, -1)  # [B, G, D / G]
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        # -1: a new unit forgets slowly.
        return torch.lerp(grouped, candidate, torch.sigmoid(update - 1)).flatten(1)


class BlockWeight(nn.Module):
    """G matrices [G, input, output] on the diagonal of a large one."""

    def __init__(self, num_blocks: int, input_size: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_blocks, input_size, size))
