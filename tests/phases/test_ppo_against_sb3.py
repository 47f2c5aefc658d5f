"""The same rollout and weights through stable-baselines3 and through ours."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from robot_learning.phases.phase import PolicySpace
from robot_learning.phases.ppo import PpoConfig, ProximalPolicyOptimization

sb3 = pytest.importorskip('stable_baselines3')
SIZE, CHOICES, ROWS = 5, 3, 64


class Still(gym.Env):
    observation_space = gym.spaces.Box(-10, 10, (SIZE,))
    action_space = gym.spaces.Discrete(CHOICES)

    def reset(self, *, seed=None, options=None):
        return np.zeros(SIZE, np.float32), {}


SETTINGS = {'num_steps': ROWS, 'batch_size': ROWS, 'num_epochs': 1, 'max_grad_norm': 0.5}


def pair(**options):
    """Both learners with the same weights."""
    peer = sb3.PPO(
        'MlpPolicy',
        Still(),
        n_steps=ROWS,
        batch_size=ROWS,
        n_epochs=1,
        ent_coef=0.01,
        policy_kwargs={'net_arch': [32, 32], 'activation_fn': torch.nn.ReLU},
        seed=0,
        device='cpu',
        **options,
    )
    space = PolicySpace(
        SIZE, np.zeros(CHOICES, np.float32), np.ones(CHOICES, np.float32), is_discrete=True
    )
    config = PpoConfig(
        hidden=(32, 32), entropy_weight=0.01, normalise_observation=False, **SETTINGS
    )
    ours = ProximalPolicyOptimization(config, space, 0)
    networks = (
        (ours.actor.trunk, ours.actor.logits, peer.policy.mlp_extractor.policy_net, 'action_net'),
        (ours.critic.trunk, ours.critic.output, peer.policy.mlp_extractor.value_net, 'value_net'),
    )
    for trunk, output, theirs, head in networks:
        for mine, linear in zip(trunk, (theirs[0], theirs[2]), strict=True):
            mine.load_state_dict(linear.state_dict())
        output.load_state_dict(getattr(peer.policy, head).state_dict())
    return peer, ours


def fill(peer, seed=0):
    """Fill the peer's buffer with a rollout and return the same one as we take it.

    The recorded likelihoods are moved off, so that some ratios are clipped.
    """
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(ROWS + 1, SIZE)).astype(np.float32)
    choice = rng.integers(CHOICES, size=ROWS)
    reward = rng.normal(size=ROWS).astype(np.float32)
    ended = rng.random(ROWS) < 0.1
    with torch.no_grad():
        values, log_prob, _ = peer.policy.evaluate_actions(
            torch.from_numpy(observation[:-1]), torch.from_numpy(choice)
        )
        last = peer.policy.predict_values(torch.from_numpy(observation[-1:]))
    log_prob = log_prob + 0.3 * torch.from_numpy(rng.normal(size=ROWS).astype(np.float32))
    starts = np.concatenate([[True], ended])
    peer.rollout_buffer.reset()
    for t in range(ROWS):
        peer.rollout_buffer.add(
            observation[t : t + 1],
            choice[t : t + 1, None],
            reward[t : t + 1],
            starts[t : t + 1],
            values[t],
            log_prob[t : t + 1],
        )
    peer.rollout_buffer.compute_returns_and_advantage(last, ended[-1:])
    arrays = {
        'observation': observation[:-1],
        'next_observation': observation[1:],
        'action': np.eye(CHOICES, dtype=np.float32)[choice],
        'log_prob': log_prob.numpy(),
        'reward': reward,
        'terminated': ended,
        'is_last': ended,
    }
    return {name: torch.from_numpy(array.copy())[None] for name, array in arrays.items()}


def test_one_whole_update_reports_the_same_losses_and_gives_the_same_weights():
    peer, ours = pair()
    batch = fill(peer)
    peer.set_logger(sb3.common.logger.configure(None, []))
    peer._update_current_progress_remaining(0, 1)
    metrics = ours.update(batch)
    peer.train()
    theirs = peer.logger.name_to_value
    assert 0.05 < metrics['ppo/clip_fraction'] < 0.95
    for mine, name in (
        ('ppo/policy_loss', 'train/policy_gradient_loss'),
        ('ppo/value_loss', 'train/value_loss'),
        ('ppo/kl', 'train/approx_kl'),
        ('ppo/clip_fraction', 'train/clip_fraction'),
        ('ppo/explained_variance', 'train/explained_variance'),
    ):
        assert metrics[mine].item() == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name
    assert -metrics['ppo/entropy'].item() == pytest.approx(theirs['train/entropy_loss'], rel=1e-4)
    extractor = peer.policy.mlp_extractor
    for mine, linear in (
        (ours.actor.trunk[1], extractor.policy_net[2]),
        (ours.critic.trunk[1], extractor.value_net[2]),
        (ours.actor.logits, peer.policy.action_net),
        (ours.critic.output, peer.policy.value_net),
    ):
        torch.testing.assert_close(mine.weight, linear.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(mine.bias, linear.bias, rtol=1e-4, atol=1e-5)
