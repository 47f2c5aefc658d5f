import numpy as np
import pytest
import torch
from robot_learning.phases.phase import PolicySpace
from robot_learning.phases.ppo import PpoConfig, ProximalPolicyOptimization

LIMIT = np.ones(3, np.float32)
GAUSSIAN = PolicySpace(5, -LIMIT, LIMIT)
CHOICES = PolicySpace(5, 0 * LIMIT, LIMIT, is_discrete=True)


def table(space, limits, count=48):
    """Minibatch columns with ratios on both sides of the clip, and far beyond.

    With `limits`, some of what was drawn was clipped.
    """
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(count, 5, generator=generator)
    drawn = torch.randn(count, 3, generator=generator)
    if space.is_discrete:
        drawn = torch.eye(3)[drawn.argmax(1)]
    if limits:
        drawn = drawn.clamp(-1, 1)
        assert 0.2 < (drawn.abs() == 1).float().mean() < 0.8
    rest = torch.randn(count, 4, generator=generator)
    return torch.cat([features, drawn, rest], dim=1)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    ('space', 'changes'),
    [
        (GAUSSIAN, {}),
        (GAUSSIAN, {'normalise_advantage': False, 'initial_log_std': -0.7}),
        (GAUSSIAN, {'squash': 'clip', 'initial_log_std': -0.4}),
        (CHOICES, {}),
        (CHOICES, {'entropy_weight': 0.3, 'value_weight': 2.0}),
    ],
)
def test_it_equals_autograd_of_the_loss(space, changes, seed):
    config = PpoConfig(hidden=(16, 8), **changes)
    learner = ProximalPolicyOptimization(config, space, seed)
    part = table(space, limits=config.squash == 'clip')
    with torch.no_grad():
        learner._flat.vector += 0.3 * torch.randn_like(learner._flat.vector)
        log_prob, _ = learner._head.log_prob(part[:, :5], part[:, 5:8])
        part[:, 8] = log_prob + 0.3 * part[:, 8]
    loss, metrics = learner._loss(learner._minibatch(part), is_measured=True)
    assert 0.2 < metrics['ppo/clip_fraction'] < 0.8
    learner._flat.differentiate(loss)
    expected = learner._flat.gradient.clone()
    learner._flat.gradient.fill_(float('nan'))
    learner._fill(learner._gradient, part.numpy())
    torch.testing.assert_close(learner._flat.gradient, expected, rtol=1e-3, atol=3e-5)


def test_what_it_cannot_do_is_left_to_autograd():
    for changes in ({'activation': 'silu'}, {'value_clip': 0.2}, {'entropy_weight': 0.1}):
        learner = ProximalPolicyOptimization(PpoConfig(**changes), GAUSSIAN, 0)
        assert learner._gradient is None
