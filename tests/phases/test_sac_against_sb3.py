"""The same batch, weights and noise through stable-baselines3 and through ours."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from robot_learning.phases import losses
from robot_learning.phases.phase import PolicySpace
from robot_learning.phases.sac import SacConfig, SoftActorCritic

sb3 = pytest.importorskip('stable_baselines3')
SIZE, ACTIONS, ROWS = 5, 2, 16


@pytest.fixture
def peer():
    class Still(gym.Env):
        observation_space = gym.spaces.Box(-10, 10, (SIZE,))
        action_space = gym.spaces.Box(-1, 1, (ACTIONS,))

    return sb3.SAC(
        'MlpPolicy',
        Still(),
        policy_kwargs={'net_arch': [32, 32]},
        device='cpu',
        seed=0,
        buffer_size=10,
    )


@pytest.fixture
def ours(peer):
    space = PolicySpace(SIZE, -np.ones(ACTIONS, np.float32), np.ones(ACTIONS, np.float32))
    phase = SoftActorCritic(SacConfig(hidden=(32, 32), initial_temperature=0.4), space, 0)
    with torch.no_grad():
        for index, layer in enumerate((peer.actor.latent_pi[0], peer.actor.latent_pi[2])):
            phase.actor.trunk[index].weight.copy_(layer.weight)
            phase.actor.trunk[index].bias.copy_(layer.bias)
        for mine, theirs in (
            (phase.actor.mean, peer.actor.mu),
            (phase.actor.log_std, peer.actor.log_std),
        ):
            mine.load_state_dict(theirs.state_dict())
        for mine, theirs in (
            (phase.critics, peer.critic),
            (phase.target_critics, peer.critic_target),
        ):
            for number, network in enumerate(theirs.q_networks):
                layers = [*mine.ensemble.layers, mine.ensemble.output]
                for layer, linear in zip(
                    layers, (network[0], network[2], network[4]), strict=True
                ):
                    weight = linear.weight if layer is mine.ensemble.output else linear.weight.t()
                    layer.weight[number].copy_(weight)
                    layer.bias[number].copy_(linear.bias)
    return phase


def rows():
    generator = torch.Generator().manual_seed(3)
    return {
        'observation': torch.randn(ROWS, SIZE, generator=generator),
        'next_observation': torch.randn(ROWS, SIZE, generator=generator),
        'action': torch.rand(ROWS, ACTIONS, generator=generator) * 2 - 1,
        'reward': torch.randn(ROWS, generator=generator),
        'discount': torch.full((ROWS,), 0.99) * (torch.arange(ROWS) % 4 != 0),
    }


def peer_sample(peer, observation, seed):
    """SB3 draws from the global generator; ours is given the same numbers."""
    torch.manual_seed(seed)
    return peer.actor.action_log_prob(observation)


def test_target_and_critic_loss_agree(peer, ours):
    data = rows()
    temperature = torch.tensor(0.4)
    with torch.no_grad():
        action, log_prob = peer_sample(peer, data['next_observation'], 11)
        values = torch.cat(peer.critic_target(data['next_observation'], action), 1).min(1)[0]
        expected = data['reward'] + data['discount'] * (values - temperature * log_prob)
        noise = torch.Generator().manual_seed(11)
        *_, next_drawn = ours._draw(data, noise, for_actor=False)
        target = ours._target(data, next_drawn, temperature)
    torch.testing.assert_close(target, expected, rtol=1e-5, atol=1e-4)
    pair = peer.critic(data['observation'], data['action'])
    peer_loss = 0.5 * sum(torch.nn.functional.mse_loss(q[:, 0], expected) for q in pair)
    loss = losses.value_loss(ours.critics(data['observation'], data['action']), target)
    assert loss.item() == pytest.approx(peer_loss.item(), rel=1e-5)


def test_actor_loss_and_its_gradient_agree(peer, ours):
    data = rows()
    temperature = torch.tensor(0.4)
    action, log_prob = peer_sample(peer, data['observation'], 12)
    values = torch.cat(peer.critic(data['observation'], action), 1).min(1)[0]
    peer_loss = (temperature * log_prob - values).mean()
    peer_gradient = torch.autograd.grad(peer_loss, peer.actor.mu.weight)[0]
    sample = ours.actor.sample(data['observation'], torch.Generator().manual_seed(12))
    loss = losses.soft_policy_loss(
        ours.critics(data['observation'], sample.action), sample.log_prob, temperature
    )
    gradient = torch.autograd.grad(loss, ours.actor.mean.weight)[0]
    assert loss.item() == pytest.approx(peer_loss.item(), rel=1e-4)
    torch.testing.assert_close(gradient, peer_gradient, rtol=1e-3, atol=1e-6)


def test_one_whole_update_gives_the_same_weights(peer, ours):
    """Critics after Adam's first step: both move every weight by the learning rate's size."""
    data = rows()
    with torch.no_grad():
        action, log_prob = peer_sample(peer, data['next_observation'], 13)
        values = torch.cat(peer.critic_target(data['next_observation'], action), 1).min(1)[0]
        target = data['reward'] + data['discount'] * (values - 0.4 * log_prob)
    pair = peer.critic(data['observation'], data['action'])
    loss = 0.5 * sum(torch.nn.functional.mse_loss(q[:, 0], target) for q in pair)
    peer.critic.optimizer.zero_grad()
    loss.backward()
    peer.critic.optimizer.step()
    ours._generator.manual_seed(13)
    *_, next_drawn = ours._draw(data, ours._generator, for_actor=False)
    ours._update_critics(data, ours._target(data, next_drawn, torch.tensor(0.4)))
    for number, network in enumerate(peer.critic.q_networks):
        mine = ours.critics.ensemble.layers[1].weight[number]
        torch.testing.assert_close(mine, network[2].weight.t(), rtol=1e-3, atol=2e-5)
