"""A Dreamer small enough for tests, batches for it, and a place to drive."""

import dataclasses

import numpy as np
import torch
from point_mass import NUM_ACTIONS
from robot_learning.models.world_model import WorldModelConfig
from robot_learning.phases.dreamer import Dreamer, DreamerConfig
from robot_learning.phases.phase import PolicySpace

MODEL = WorldModelConfig(
    deter=32,
    hidden=32,
    depth=2,
    groups=4,
    classes=4,
    blocks=2,
    encoder_layers=1,
    decoder_layers=1,
    prior_layers=1,
    num_bins=63,
)
SPACE = PolicySpace(3, np.array([-1.0, 0.0], np.float32), np.array([1.0, 2.0], np.float32))
TINY = DreamerConfig(
    model=MODEL,
    actor_layers=1,
    critic_layers=1,
    batch_size=4,
    length=6,
    horizon=3,
    learning_rate=1e-3,
    warmup_updates=0,
)


def make(seed=0, space=SPACE, **settings):
    return Dreamer(dataclasses.replace(TINY, **settings), space, seed)


def batch(seed=0, space=SPACE, size=4, length=6):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(size, length, *shape, generator=generator)

    action = torch.tanh(draw(space.action_size))
    if space.is_discrete:
        action = torch.eye(space.action_size)[action.argmax(-1)]
    no = torch.zeros(size, length, dtype=torch.bool)
    found = {
        'observation': draw(space.input_size),
        'action': action,
        'reward': draw(),
        'terminated': no.clone(),
        'truncated': no.clone(),
        'is_first': no.clone(),
        'intervention': no,
    }
    found['is_first'][:, 0] = True
    found['reward'][:, 0] = torch.nan  # Nothing is received at a start.
    for name, shape in space.images.items():
        found[f'image/{name}'] = torch.randint(
            0, 256, (size, length, *shape), dtype=torch.uint8, generator=generator
        )
    return found


def drive_points(phase, explore=False, count=40):
    """Return the mean reward per step of `count` points driven by the phase."""
    place = np.random.default_rng(99).uniform(-1.5, 1.5, count)
    carry, is_first, rewards = None, torch.ones(count, dtype=torch.bool), []
    driving = np.ones(count, bool)
    for _ in range(NUM_ACTIONS):
        seen = torch.tensor(place[:, None], dtype=torch.float32)
        action, carry = phase.act(seen, {}, carry, is_first, explore)
        is_first = torch.zeros(count, dtype=torch.bool)
        place = place + 0.5 * 2 * action[:, 0].numpy()
        rewards.extend(-(place[driving] ** 2))
        driving &= abs(place) <= 3
    return float(np.mean(rewards))
