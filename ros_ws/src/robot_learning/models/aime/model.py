"""The whole AIME model: frames and actions in, what it makes of them and what it expects out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.config import from_mapping
from robot_learning.errors import ModelRefusedError
from robot_learning.models.aime.config import AimeModelConfig
from robot_learning.models.aime.decoder import FrameDecoder
from robot_learning.models.aime.dpgmm import Mixture, MixturePrior
from robot_learning.models.aime.frames import FrameEncoder, FrameScale
from robot_learning.models.aime.perceiver import CodePredictor, Perceiver
from robot_learning.models.aime.slot_attention import AttentionPrior, SlotAttention, Slots
from robot_learning.models.aime.video_tokenizer import (
    Averaged,
    Codebook,
    Tokens,
    VideoTokenizer,
)
from robot_learning.models.aime.vrnn import Carry, Observed, Vrnn

KIND = 'aime'


class Seen(NamedTuple):
    """Frames as the recurrent part needs them."""

    embedding: Tensor  # [B, T, E]
    slots: Slots  # [B, T, K, ...]
    tokens: Tokens  # [B * T, ...], frames in [0, 1].
    latents: Tensor  # [B, T, L, C] of the Perceiver.
    context: Tensor  # [B, T, C], each kept for `context_every` steps.


class AimeOutput(NamedTuple):
    """All that a window says."""

    seen: Seen
    observed: Observed
    prior: Mixture  # [B, T]
    attention_prior: Tensor  # [B, T, K, P]
    reconstruction: Tensor  # [B, T, 3, S, S], of the posterior.
    code_logits: Tensor  # [B, T, P, V], of each frame from those before.


class AimeModel(nn.Module):
    """Predicts video under actions.

    A context is kept for `context_every` steps, in training too: so the prior has learned to do
    with one that is some steps old, which is all there is when the future is imagined.

    Args:
        config: sizes.
        action_size: A; actions are in [-1, 1].
        averaged: means over processes that learn together.
    """

    def __init__(self, config: AimeModelConfig, action_size: int, averaged: Averaged = list):
        super().__init__()
        self.config, self.action_size = config, action_size
        places, size = config.places, config.context_size
        self.scale = FrameScale(config.image_size)
        self.encoder = FrameEncoder(config.depth)
        self.slots = SlotAttention(
            config.channels, places, config.slots, config.slot_size, config.slot_iterations
        )
        codebook = Codebook(
            config.codes, config.code_size, config.code_decay, config.revival_usage, averaged
        )
        self.tokenizer = VideoTokenizer(config.channels, config.depth, codebook, config.code_size)
        self.perceiver = Perceiver(
            config.code_size,
            places,
            config.context_frames,
            config.context_latents,
            size,
            config.context_heads,
            config.context_layers,
        )
        self.code_predictor = CodePredictor(
            size, config.context_heads, action_size, places, config.codes
        )
        self.summary = nn.Conv2d(config.channels, 16, 1)  # Where things are, beside the slots.
        embedding = config.slots * config.slot_size + 16 * places
        self.recurrent = Vrnn(embedding, action_size, config.hidden, config.latent, config.min_std)
        self.prior = MixturePrior(
            config.hidden + size, config.latent, config.components, config.min_std
        )
        self.attention_prior = AttentionPrior(config.hidden, config.slots, places)
        self.decoder = FrameDecoder(config.hidden + config.latent, config.depth, config.side)

    def forward(self, frames: Tensor, actions: Tensor) -> AimeOutput:
        """Look at windows of frames [B, T, 3, S, S] in [0, 1] and actions [B, T, A]."""
        seen = self.see(frames)
        observed = self.recurrent.observe(seen.embedding, actions)
        before = torch.cat((torch.zeros_like(actions[:, :1]), actions[:, :-1]), 1)
        logits = self.code_predictor(seen.latents.flatten(0, 1), before.flatten(0, 1))
        return AimeOutput(
            seen,
            observed,
            self.prior(torch.cat((observed.deter, seen.context), -1)),
            self.attention_prior(observed.deter),
            self.draw(observed.deter, observed.stoch),
            logits.reshape(*actions.shape[:2], *logits.shape[1:]),
        )

    def embed(self, frames: Tensor) -> tuple[Tensor, Slots, Tensor]:
        """Return embeddings [B, T, E], slots and maps [B * T, C, H, W] of [B, T, 3, S, S]."""
        maps = self.encoder(self.scale.normalised(frames).flatten(0, 1))
        slots = self.slots(maps)
        flat = torch.cat((slots.values.flatten(1), self.summary(maps).flatten(1)), -1)
        return flat.reshape(*frames.shape[:2], -1), slots, maps

    def see(self, frames: Tensor) -> Seen:
        """Return what does not depend on actions of frames [B, T, 3, S, S]."""
        window = frames.shape[:2]
        embedding, slots, maps = self.embed(frames)
        tokens = self.tokenizer(maps)
        tokens = tokens._replace(reconstruction=self.scale.restored(tokens.reconstruction))
        codes = tokens.values.detach()
        latents = self.perceiver(codes.reshape(*window, *codes.shape[1:]))
        step = torch.arange(window[1], device=frames.device)
        held = step - step % self.config.context_every
        return Seen(
            embedding,
            Slots(*(part.reshape(*window, *part.shape[1:]) for part in slots)),
            tokens,
            latents,
            latents.mean(2)[:, held],
        )

    def imagine(
        self, carry: Carry, context: Tensor, actions: Tensor, is_drawn: bool = False
    ) -> Tensor:
        """Return the frames [B, H, 3, S, S] that actions [B, H, A] are expected to lead to.

        Args:
            carry: of the last step that was seen.
            context: [B, C], the newest.
            actions: from that step on.
            is_drawn: draw latents; else take the mean of the heaviest component.
        """
        states = []
        for t in range(actions.shape[1]):
            deter = self.recurrent.advance(carry, actions[:, t])
            prior = self.prior(torch.cat((deter, context), -1))
            carry = Carry(deter, prior.sample() if is_drawn else prior.mode())
            states.append(carry)
        deters, latents = (torch.stack(part, 1) for part in zip(*states, strict=True))
        return self.draw(deters, latents)

    def draw(self, deter: Tensor, stoch: Tensor) -> Tensor:
        """Return the frames [..., 3, S, S] that states [..., H] and latents [..., Z] look like."""
        drawn: Tensor = self.scale.restored(self.decoder(torch.cat((deter, stoch), -1)))
        return drawn

    def open_loop(
        self, frames: Tensor, actions: Tensor, num_context: int, num_draws: int = 0
    ) -> Tensor:
        """See `num_context` frames of windows, imagine the rest: [B, T - num_context, 3, S, S].

        Args:
            frames: [B, T, 3, S, S] in [0, 1].
            actions: [B, T, A].
            num_context: how many are seen.
            num_draws: 0: one future, of the heaviest component at each step; a sharp picture.
                Else the mean of so many drawn futures, the better guess in squared error.
        """
        known = frames[:, :num_context]
        seen = self.see(torch.cat((known, known[:, -1:]), 1))  # One more step for its context.
        observed = self.recurrent.observe(seen.embedding[:, :num_context], actions)
        context = seen.latents.mean(2)[:, num_context]
        following = actions[:, num_context - 1 : frames.shape[1] - 1]
        carry = observed.carry_at(num_context - 1)
        if num_draws == 0:
            return self.imagine(carry, context, following)
        times = (part.repeat_interleave(num_draws, 0) for part in (*carry, context, following))
        deter, stoch, context, following = times
        drawn = self.imagine(Carry(deter, stoch), context, following, is_drawn=True)
        mean: Tensor = torch.unflatten(drawn, 0, (len(frames), num_draws)).mean(1)
        return mean


class ActionRange(NamedTuple):
    """What actions of -1 and 1 mean, [A] each, in units of the robot."""

    low: np.ndarray[Any, Any]
    high: np.ndarray[Any, Any]


def load_model(
    tensors: Mapping[str, Any], manifest: Mapping[str, Any], where: str
) -> tuple[AimeModel, ActionRange]:
    """Return the model of a version, ready to look, and the range of its actions.

    Raises:
        ModelRefusedError: the version is no such model, or its tensors do not fit.
    """
    policy = manifest.get('policy') or {}
    if policy.get('kind') != KIND:
        raise ModelRefusedError(
            f'{where}: is of kind {policy.get("kind")!r}, expected {KIND!r}. Name another version.'
        )
    low, high = (np.asarray(policy[key], np.float32) for key in ('action_low', 'action_high'))
    model = AimeModel(from_mapping(AimeModelConfig, policy['model'], where), len(low))
    try:
        model.load_state_dict({key: torch.as_tensor(value) for key, value in tensors.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelRefusedError(
            f'{where}: its tensors do not fit its description ({reason}). Train it again.'
        ) from error
    return model.eval(), ActionRange(low, high)
