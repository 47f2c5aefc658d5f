import math

import numpy as np
import pytest
import torch
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.models.distributions import clipped_log_prob, squashed_log_prob
from robot_learning.phases.acting import actor_of
from robot_learning.phases.phase import PolicySpace, Rollout, TrainingData
from robot_learning.phases.ppo import PpoConfig, ProximalPolicyOptimization
from robot_learning.serving.policy import build_policy

LIMIT = np.array([2.0, 1.0], np.float32)
SPACE = PolicySpace(3, -LIMIT, LIMIT)
CHOICES = PolicySpace(3, np.zeros(4, np.float32), np.ones(4, np.float32), is_discrete=True)
CONFIG = PpoConfig(hidden=(16, 16), num_steps=40, batch_size=10, num_epochs=3, learning_rate=1e-3)


def phase(space=SPACE, seed=0, **changes):
    return ProximalPolicyOptimization(PpoConfig(**{**vars(CONFIG), **changes}), space, seed)


def rollout(learner, seed=0, rows=2, steps=20):
    """What the present weights draw at random observations."""
    rng = np.random.default_rng(seed)
    size = learner.space.input_size
    observation = rng.normal(size=(rows, steps + 1, size)).astype(np.float32)
    flat = observation[:, :-1].reshape(-1, size)
    acted = actor_of(learner.actor).draw(flat, rng)
    terminated = rng.random((rows, steps)) < 0.1
    arrays = {
        'observation': observation[:, :-1].copy(),
        'next_observation': observation[:, 1:].copy(),
        'action': acted.action.reshape(rows, steps, -1),
        'log_prob': acted.log_prob.reshape(rows, steps),
        'reward': rng.normal(size=(rows, steps)).astype(np.float32),
        'terminated': terminated,
        'is_last': terminated | (rng.random((rows, steps)) < 0.1),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize(
    ('space', 'changes'),
    [(SPACE, {}), (SPACE, {'squash': 'clip'}), (CHOICES, {})],
    ids=['squashed', 'clipped', 'categorical'],
)
def test_of_what_the_present_weights_drew_every_ratio_is_one(space, changes):
    learner = phase(space, **changes)
    metrics = learner.evaluate(rollout(learner))
    assert metrics['ppo/kl'].item() == pytest.approx(0, abs=1e-5)
    assert metrics['ppo/clip_fraction'] == 0


def test_the_likelihood_is_that_of_the_squashed_action():
    learner = phase(state_dependent_std=True)
    rows = rollout(learner)
    observation, action = rows['observation'].flatten(0, 1), rows['action'].flatten(0, 1)
    expected = squashed_log_prob(*learner.actor(observation), action)
    torch.testing.assert_close(rows['log_prob'].flatten(), expected, atol=1e-4, rtol=1e-4)


def test_the_likelihood_is_that_of_the_clipped_action():
    learner = phase(squash='clip', state_dependent_std=True)
    rows = rollout(learner)
    observation, action = rows['observation'].flatten(0, 1), rows['action'].flatten(0, 1)
    assert (action.abs() == 1).any()
    assert action.abs().max() == 1
    expected = clipped_log_prob(*learner.actor(observation), action)
    torch.testing.assert_close(rows['log_prob'].flatten(), expected, atol=1e-4, rtol=1e-4)
    assert learner.evaluate(rows)['ppo/saturated'] == 0  # None has to be guessed.


def test_an_action_at_its_limit_neither_explodes_nor_counts_as_moved():
    learner = phase()
    rows = rollout(learner)
    rows['action'][0, 3, 0] = 1.0
    rows['log_prob'][0, 3] = 40.0  # As its driver knew it, from what was drawn.
    metrics = learner.evaluate(rows)
    assert metrics['ppo/saturated'] == pytest.approx(1 / 40)
    assert metrics['ppo/kl'].item() == pytest.approx(0, abs=1e-5)
    assert all(math.isfinite(float(value)) for value in learner.update(rows).values())


def test_a_policy_that_has_settled_at_a_limit_is_not_thrown_off_by_rounding():
    learner = phase(batch_size=40)
    with torch.no_grad():  # 30 and 9 before squashing are one number after it.
        learner.actor.mean.bias[0] = 30.0
        learner.actor.log_std.bias[:] = -3.0
    rows = rollout(learner)
    assert (rows['action'][..., 0] == 1).all()
    before = learner.actor.mean.bias[0].item()
    for _ in range(5):
        metrics = learner.update(rows)
        assert all(math.isfinite(float(value)) for value in metrics.values())
        assert abs(float(metrics['ppo/kl'])) < 1
    assert learner.actor.mean.bias[0].item() == pytest.approx(before, abs=0.1)


def test_truncation_bootstraps_from_the_final_observation_and_termination_does_not():
    learner = phase(discount=0.5, gae_lambda=0.0)
    rows = rollout(learner)
    rows['terminated'][:], rows['is_last'][:] = False, False
    rows['is_last'][0, 4] = True
    rows['next_observation'][0, 4] = 3.0  # Not what the next row begins with.
    value, final = learner.critic(rows['observation']), learner.critic(torch.full((3,), 3.0))
    prepared, _ = learner._prepared(rows)
    expected = rows['reward'][0, 4] + 0.5 * final - value[0, 4]
    torch.testing.assert_close(prepared.advantage[4], expected)
    rows['terminated'][0, 4] = True
    prepared, _ = learner._prepared(rows)
    torch.testing.assert_close(prepared.advantage[4], rows['reward'][0, 4] - value[0, 4])
    inner = rows['reward'][0, 5] + 0.5 * value[0, 6] - value[0, 5]
    torch.testing.assert_close(prepared.advantage[5], inner)


def gradients(learner, loss):
    named = {
        **{f'actor.{k}': v for k, v in learner.actor.named_parameters()},
        **{f'critic.{k}': v for k, v in learner.critic.named_parameters()},
    }
    trained = {name: tensor for name, tensor in named.items() if tensor.requires_grad}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return {n for n, g in zip(trained, found, strict=True) if g is not None and g.abs().sum() > 0}


@pytest.mark.parametrize('weight', [0.0, 0.5])
def test_the_gradient_reaches_exactly_actor_and_critic(weight):
    learner = phase(value_weight=weight)
    rows, _ = learner._prepared(rollout(learner))
    loss, _ = learner._loss(rows, is_measured=False)
    found = gradients(learner, loss)
    actor = {f'actor.{name}' for name, _ in learner.actor.named_parameters()}
    actor -= {'actor.log_std.weight'}  # One deviation for all observations.
    critic = {f'critic.{name}' for name, _ in learner.critic.named_parameters()}
    assert found == (actor | critic if weight else actor)


def test_the_value_is_clipped_around_what_it_was():
    learner = phase(value_clip=0.1, normalise_advantage=False)
    rows, _ = learner._prepared(rollout(learner))
    far = rows._replace(old_value=rows.old_value + 1.0)
    _, metrics = learner._loss(far, is_measured=True)
    expected = (far.old_value - 0.1 - far.target_value).square().mean()
    torch.testing.assert_close(metrics['ppo/value_loss'], expected)


@pytest.mark.parametrize('space', [SPACE, CHOICES], ids=['gaussian', 'categorical'])
def test_an_entropy_bonus_keeps_the_policy_random(space):
    entropies = []
    for weight in (0.0, 0.5):
        learner = phase(space, entropy_weight=weight, learning_rate=1e-2, initial_log_std=-1.0)
        for number in range(15):
            metrics = learner.update(rollout(learner, number))
        entropies.append(metrics['ppo/entropy'].item())
    assert entropies[1] > entropies[0] + 0.05


def test_the_entropy_is_that_of_the_squashed_gaussian():
    learner = phase(initial_log_std=0.5)
    rows, _ = learner._prepared(rollout(learner, rows=1, steps=4))
    repeated = rows.features.repeat(20_000, 1)
    parameters = learner._head.log_prob(repeated, repeated[:, :2])[1]
    estimate = learner._head.entropy(parameters, torch.Generator().manual_seed(0))
    sample = learner.actor.sample(repeated, torch.Generator().manual_seed(1))
    assert estimate.mean().item() == pytest.approx(-sample.log_prob.mean().item(), abs=0.02)


def test_steps_end_when_the_policy_has_moved_enough():
    free, held = phase(learning_rate=0.02), phase(learning_rate=0.02, target_kl=0.01)
    assert free.update(rollout(free))['ppo/epochs'] == 3
    rows = rollout(held)
    assert held.update(rows)['ppo/epochs'] < 3


def test_inputs_are_scaled_behind_the_steps_that_the_old_scale_drew():
    learner = phase()
    rows = rollout(learner)
    rows['observation'] = rows['observation'] * 5 + 2
    assert torch.equal(learner.actor.input_mean, torch.zeros(3))
    learner.update(rows)
    more = rollout(learner, 1)
    learner.update(more)
    seen = torch.cat([rows['observation'].flatten(0, 1), more['observation'].flatten(0, 1)])
    torch.testing.assert_close(learner.actor.input_mean, seen.mean(0))
    torch.testing.assert_close(learner.actor.input_std, seen.std(0, correction=0))
    assert torch.equal(phase(normalise_observation=False).actor.input_std, torch.ones(3))


@pytest.mark.parametrize('space', [SPACE, CHOICES], ids=['gaussian', 'categorical'])
def test_new_statistics_change_no_answer_but_the_first_ones_do(space):
    learner = phase(space)
    seen = torch.randn(50, 3, generator=torch.Generator().manual_seed(3)) * 4 - 1

    def answers():
        normalised = (seen - learner.actor.input_mean) / learner.actor.input_std
        drawn = torch.zeros(50, space.action_size)
        with torch.no_grad():
            _, parameters = learner._head.log_prob(normalised, drawn)
            return *parameters, learner.critic(normalised)

    first = answers()
    learner._normalise_by(seen * 2)
    second = answers()
    assert not torch.allclose(first[0], second[0])
    learner._normalise_by(seen[:20] - 3)
    for before, after in zip(second, answers(), strict=True):
        torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


def test_first_statistics_come_from_what_others_drove():
    learner = phase()
    rng = np.random.default_rng(0)
    observation = rng.normal(3, 2, (50, 3)).astype(np.float32)
    data = TrainingData(observation, np.zeros((50, 2), np.float32), np.ones(49, np.float32))
    learner.prepare(data)
    np.testing.assert_allclose(learner.actor.input_mean, observation.mean(0), rtol=1e-5)
    with pytest.raises(TrainingError, match='holds no rewards'):
        learner.prepare(data._replace(reward=np.full(49, np.nan, np.float32)))


def test_the_learning_rate_falls_to_nothing():
    learner = phase(decay_updates=2)
    before = learner.state_dict()['actor.mean.weight']
    learner.update(rollout(learner))
    assert learner._optimizer.param_groups[0]['lr'] == pytest.approx(1e-3)
    learner.update(rollout(learner))
    assert learner._optimizer.param_groups[0]['lr'] == pytest.approx(5e-4)
    after = learner.state_dict()['actor.mean.weight']
    learner.update(rollout(learner))
    assert not torch.equal(before, after)
    assert torch.equal(after, learner.state_dict()['actor.mean.weight'])


@pytest.mark.parametrize('space', [SPACE, CHOICES], ids=['gaussian', 'categorical'])
def test_interrupted_and_resumed_equals_uninterrupted_bit_by_bit(space):
    torch.set_num_threads(1)
    one = phase(space, entropy_weight=0.01, decay_updates=9)
    batches = [rollout(one, seed) for seed in range(4)]
    for batch in batches[:2]:
        one.update(batch)
    other = phase(space, seed=7, entropy_weight=0.01, decay_updates=9)
    other.load_state_dict(one.state_dict())
    for batch in batches[2:]:
        one.update(batch)
        other.update(batch)
    first, second = one.state_dict(), other.state_dict()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_the_numpy_policy_serves_what_was_learned():
    learner = phase()
    learner.update(rollout(learner))
    tensors, description = learner.policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    served = build_policy(arrays, {'policy': description}, 'test')
    features = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    with torch.no_grad():
        mean, log_std = learner.actor(torch.from_numpy(features))
        noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
        action = torch.tanh(mean + log_std.exp() * noise)
        log_prob = squashed_log_prob(mean, log_std, action)
    for row in range(6):
        output = served.act(features[row], noise[row].numpy())
        np.testing.assert_allclose(output.action, action[row].numpy() * LIMIT, atol=1e-5)
        assert output.log_prob == pytest.approx(log_prob[row].item(), abs=1e-3)


def test_the_numpy_policy_serves_a_clipped_gaussian_as_it_was_drawn():
    learner = phase(squash='clip')
    learner.update(rollout(learner))
    tensors, description = learner.policy()
    assert description['kind'] == 'gaussian_clipped_mlp'
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    served = build_policy(arrays, {'policy': description}, 'test')
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, 3)).astype(np.float32)
    noise = rng.normal(size=(40, 2))
    outputs = [served.act(*each) for each in zip(features, noise, strict=True)]
    action = SPACE.normalised(np.stack([each.action for each in outputs]))
    assert (np.abs(action) == 1).any()  # At a limit it says so exactly, also on its way here.
    with torch.no_grad():
        mean, log_std = learner.actor(torch.from_numpy(features))
        drawn = (mean + log_std.exp() * torch.from_numpy(noise)).clamp(-1, 1)
        expected = clipped_log_prob(mean, log_std, torch.from_numpy(action))
    np.testing.assert_allclose(action, drawn, atol=1e-5)
    np.testing.assert_allclose([each.log_prob for each in outputs], expected, atol=1e-3)
    central = served.act(features[0])
    np.testing.assert_allclose(central.action, mean[0].clamp(-1, 1).numpy() * LIMIT, atol=1e-5)
    assert math.isnan(central.log_prob)


def test_it_asks_for_rollouts_and_refuses_nonsense():
    assert phase(num_steps=64, max_lag=2).draws == Rollout(64, 2)
    with pytest.raises((ConfigError, ValueError), match='num_steps'):
        phase(num_steps=1)
