"""What AIME is measured against: the model one frame after the other, and a scripted expert."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.commands.collect_dmc import as_episode  # noqa: E402
from robot_learning.models.aime.model import AimeModel  # noqa: E402
from robot_learning.models.aime.vrnn import Carry  # noqa: E402
from robot_learning.simulation.dmc_trajectories import DmcTask  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402

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


def noises(count: int) -> list[float]:
    """Return how much noise is on the expert's actions: from little to nothing but noise."""
    return [float(noise) for noise in np.linspace(0.3, 2.0, count)]


def expert(observation: Mapping[str, Array]) -> Array:
    """Balance the pole, cart in the middle: a linear state feedback."""
    x, cosine, sine = observation['position']
    velocity, turning = observation['velocity']
    angle = np.arctan2(sine, cosine)
    push = 0.5 * x + 0.8 * velocity + 6.0 * angle + 1.2 * turning
    return np.clip([push], -1, 1).astype(np.float32)


def drive(task: DmcTask, noise: float, seed: int) -> tuple[Episode, float]:
    """Return an episode of the expert under noise, and its return."""
    rng = np.random.default_rng(seed)

    def choose(observation: Mapping[str, Array]) -> Array:
        share = min(noise, 1.0)
        return (1 - share) * expert(observation) + noise * rng.uniform(-1, 1, 1)

    trajectory = task.trajectory(choose, seed)
    return as_episode(trajectory, task.contract, seed), float(trajectory.reward.sum())
