"""What AIME is measured against: the model one frame after the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.models.aime.model import AimeModel  # noqa: E402
from robot_learning.models.aime.vrnn import Carry  # noqa: E402

Array = np.ndarray[Any, Any]


def one_by_one(model: AimeModel, frames: torch.Tensor, actions: torch.Tensor) -> Any:
    """Return what `AimeModel.forward` does, frame by frame, as a first version would."""
    deter = model.recurrent.begin(len(frames))
    codes: list[torch.Tensor] = []
    rows = []
    carry: Carry | None = None
    every = model.config.context_every
    context = None
    for t in range(frames.shape[1]):
        embedding, slots, maps = model.embed(frames[:, t : t + 1])
        tokens = model.tokenizer(maps)
        past = torch.stack([*codes, tokens.values.detach()], 1)
        latents = model.perceiver(past)[:, -1]
        codes.append(tokens.values.detach())
        context = latents.mean(1) if t % every == 0 or context is None else context
        if carry is not None:
            deter = model.recurrent.advance(carry, actions[:, t - 1])
        posterior = model.recurrent.see(deter, embedding[:, 0])
        carry = Carry(deter, posterior.sample())
        prior = model.prior(torch.cat((deter, context), -1))
        before = actions[:, t - 1] if t else torch.zeros_like(actions[:, 0])
        rows.append(
            {
                'reconstruction': model.draw(*carry),
                'attention_prior': model.attention_prior(deter),
                'attention': slots.attention,
                'prior_mean': prior.components.mean,
                'codes': model.code_predictor(latents, before),
                'tokens': model.scale.restored(tokens.reconstruction),
            }
        )
    return {name: torch.stack([row[name] for row in rows], 1) for name in rows[0]}


def named(output: Any) -> dict[str, torch.Tensor]:
    """Return of the model's own output what `one_by_one` returns."""
    drawn = output.seen.tokens.reconstruction
    return {
        'reconstruction': output.reconstruction,
        'attention_prior': output.attention_prior,
        'attention': output.seen.slots.attention,
        'prior_mean': output.prior.components.mean,
        'codes': output.code_logits,
        'tokens': drawn.reshape(*output.reconstruction.shape),
    }
