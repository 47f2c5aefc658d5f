import math

import numpy as np
import pytest
import torch
from point_mass import episodes, point_contract
from robot_learning.phases.behavior_cloning import BehaviorCloning, BehaviorCloningConfig
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import PolicySpace, TrainingData, Transitions
from robot_learning.phases.validation import Validation

SPACE = PolicySpace(2, np.array([-2.0], np.float32), np.array([2.0], np.float32))


def make(seed=0, **settings):
    return BehaviorCloning(BehaviorCloningConfig(hidden=(16,), **settings), SPACE, seed)


def batch(size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        'observation': torch.randn(size, 2, generator=generator),
        'action': torch.rand(size, 1, generator=generator) * 1.8 - 0.9,
    }


def constant(phase, mean, log_std):
    """Let the policy answer the same everywhere."""
    with torch.no_grad():
        for parameter in phase.actor.parameters():
            parameter.zero_()
        phase.actor.mean.bias.fill_(mean)
        phase.actor.log_std.bias.fill_(log_std)


def test_likelihood_loss_by_hand():
    phase = make()
    constant(phase, mean=0.3, log_std=-1.0)
    data = {'observation': torch.zeros(1, 2), 'action': torch.tensor([[math.tanh(0.8)]])}
    z = (0.8 - 0.3) / math.exp(-1)
    log_normal = -0.5 * z * z + 1 - 0.5 * math.log(2 * math.pi)
    expected = -(log_normal - math.log(1 - math.tanh(0.8) ** 2))
    assert phase.evaluate(data)['loss'].item() == pytest.approx(expected, rel=1e-5)


def test_squared_error_by_hand_and_in_contract_units():
    phase = make(loss='squared_error')
    constant(phase, mean=math.atanh(0.5), log_std=0.0)
    data = {'observation': torch.zeros(2, 2), 'action': torch.tensor([[0.1], [0.7]])}
    metrics = phase.evaluate(data)
    assert metrics['loss'].item() == pytest.approx((0.4**2 + 0.2**2) / 2, rel=1e-5)
    # Half the command range is 2 m/s.
    assert metrics['action_0_rmse'].item() == pytest.approx(2 * math.sqrt(0.1), rel=1e-5)
    # The mean action 0.4 leaves 2 * 0.3^2, the policy 0.4^2 + 0.2^2.
    assert metrics['explained_variance'].item() == pytest.approx(1 - 0.20 / 0.18, rel=1e-4)


def test_gradients_reach_what_the_loss_can_move():
    for loss, untouched in (('likelihood', set()), ('squared_error', {'log_std'})):
        phase = make(loss=loss)
        before = {name: p.detach().clone() for name, p in phase.actor.named_parameters()}
        phase.update(batch())
        same = {
            name.split('.')[0]
            for name, p in phase.actor.named_parameters()
            if torch.equal(p, before[name])
        }
        assert same == untouched


def test_squared_error_publishes_the_stated_spread():
    phase = make(loss='squared_error', fixed_log_std=-0.7)
    phase.update(batch())
    log_std = phase.actor(torch.randn(5, 2))[1]
    torch.testing.assert_close(log_std, torch.full((5, 1), -0.7))


def test_features_are_normalised_by_the_training_data_and_published():
    rng = np.random.default_rng(0)
    observation = np.stack([rng.normal(5, 2, 4000), np.full(4000, 3.0)], 1).astype(np.float32)
    phase = make()
    phase.prepare(TrainingData(observation, np.zeros((4000, 1), np.float32), np.zeros(1)))
    tensors, _ = phase.policy()
    np.testing.assert_allclose(tensors['input_mean'], [5, 3], atol=0.1)
    np.testing.assert_allclose(tensors['input_std'], [2, 0.001], atol=0.1)
    assert (tensors['input_std'] > 0).all()


@pytest.mark.parametrize(('balance', 'ratio'), [(0.0, 1.0), (0.5, 3.0), (1.0, 9.0)])
def test_rare_actions_weigh_more(balance, ratio):
    """Nine steps of one action and one of another: full balance makes one count as nine."""
    action = np.array([[0.0]] * 9 + [[0.9]], np.float32)
    phase = make(balance=balance)
    phase.prepare(TrainingData(np.zeros((10, 2), np.float32), action, np.zeros(1)))
    weight = phase._bin_weight[phase._bins(torch.from_numpy(action))]
    assert weight.mean().item() == pytest.approx(1)
    assert (weight[9] / weight[0]).item() == pytest.approx(ratio)


def test_going_on_from_a_state_equals_never_having_stopped():
    whole, first, second = make(), make(), make(seed=9)
    data = TrainingData(
        np.random.default_rng(0).normal(1, 2, (50, 2)).astype(np.float32),
        np.zeros((50, 1), np.float32),
        np.zeros(1),
    )
    for phase in (whole, first):
        phase.prepare(data)
        for index in range(3):
            phase.update(batch(seed=index))
    second.load_state_dict(first.state_dict())
    for phase in (whole, second):
        for index in range(3, 6):
            phase.update(batch(seed=index))
    expected, found = whole.state_dict(), second.state_dict()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize('loss', ['likelihood', 'squared_error'])
def test_learns_a_driver_it_has_not_seen_on_these_episodes(loss):
    def driver(place):
        return float(np.clip(-1.5 * place, -2, 2))

    experience = Experience(point_contract(), 10_000, seed=0)
    experience.append(episodes(80, seed=0, policy=driver), 'driver')
    validation = Validation(experience, episodes(20, seed=1, policy=driver))
    settings = BehaviorCloningConfig(hidden=(32, 32), learning_rate=3e-3, loss=loss)
    phase = BehaviorCloning(settings, experience.space, seed=0)
    phase.prepare(experience.training_data())
    before = validation.measure(phase)
    for _ in range(300):
        phase.update(experience.sample(Transitions(128, 1, 0.99)))
    after = validation.measure(phase)
    assert before['held_out/explained_variance'] < 0.5
    assert after['held_out/explained_variance'] > 0.98
    assert after['held_out/loss'] < before['held_out/loss']


def test_the_loss_weighs_the_steps_that_a_person_drove_by_hand():
    phase = make(loss='squared_error', intervention_weight=3.0, learning_rate=1e-9)
    constant(phase, mean=0.0, log_std=0.0)
    data = {
        'observation': torch.zeros(2, 2),
        'action': torch.tensor([[0.5], [-0.2]]),
        'intervention': torch.tensor([True, False]),
    }
    loss = phase.update(data)['behavior_cloning/loss'].item()
    assert loss == pytest.approx((3 * 0.25 + 0.04) / 4, rel=1e-5)


def test_a_weight_of_one_is_the_loss_of_before_and_needs_no_marks():
    marked = {**batch(), 'intervention': torch.arange(16) < 4}
    first, second = make(), make()
    first.update(batch())
    second.update(marked)
    for a, b in zip(first.actor.parameters(), second.actor.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(('weight', 'expected'), [(1.0, -1.5 / 5), (9.0, 2.5 / 13), (0.0, -0.5)])
def test_cloning_follows_a_persons_corrections_as_far_as_they_weigh(weight, expected):
    """The policy did -0.5 in four of five steps, the person 0.5: the answer is their mean."""
    phase = make(
        loss='squared_error', intervention_weight=weight, learning_rate=1e-2, normalise=False
    )
    is_person = torch.arange(20) % 5 == 0
    data = {
        'observation': torch.ones(20, 2),
        'action': torch.where(is_person, 0.5, -0.5)[:, None],
        'intervention': is_person,
    }
    for _ in range(300):
        phase.update(data)
    mean, _ = phase.actor(data['observation'])
    assert torch.tanh(mean[0, 0]).item() == pytest.approx(expected, abs=0.01)
