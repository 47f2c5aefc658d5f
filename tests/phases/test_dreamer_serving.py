"""What a Dreamer does while it learns, and what its published version does on a robot."""

import numpy as np
import pytest
import torch
from dreamer_toys import SPACE, batch, make
from robot_learning.phases.phase import PolicySpace
from robot_learning.serving.policy import build_policy

SEEING = PolicySpace(
    3,
    np.array([-1.0, 0.0], np.float32),
    np.array([1.0, 2.0], np.float32),
    images={'camera': (16, 16, 3)},
)


@pytest.mark.parametrize('space', [SPACE, SEEING], ids=['vector', 'image'])
def test_the_serving_room_does_what_was_learned(space):
    phase = make(space=space)
    for seed in range(2):
        phase.update(batch(seed, space))
    tensors, description = phase.policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    served = build_policy(arrays, {'policy': description}, 'test@1')
    seen, carry, is_first = batch(9, space), None, torch.tensor([True])
    for t in range(4):
        images = {name: seen[f'image/{name}'][:1, t] for name in space.images}
        observation = seen['observation'][:1, t]
        action, carry = phase.act(observation, images, carry, is_first, explore=False)
        is_first = torch.tensor([False])
        output = served.act(
            observation[0].numpy(),
            None,
            {name: image[0].numpy() for name, image in images.items()},
        )
        low, high = space.action_low, space.action_high
        expected = low + (action[0].numpy() + 1) / 2 * (high - low)
        np.testing.assert_allclose(output.action, expected, atol=1e-4)
