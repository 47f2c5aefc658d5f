import math

import numpy as np
import pytest
import torch
from point_mass import from_arrays, point_contract
from robot_learning.phases.behavior_cloning import BehaviorCloning, BehaviorCloningConfig
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import PolicySpace, TrainingData
from robot_learning.phases.sequence_cloning import (
    SequenceCloning,
    SequenceCloningConfig,
    executed,
)
from robot_learning.phases.validation import Validation

SPACE = PolicySpace(2, np.array([-2.0], np.float32), np.array([2.0], np.float32))
NUM_ACTIONS = 9


def make(seed=0, **settings):
    settings = {'hidden': (16,), 'memory_size': 8, 'batch_size': 4, 'length': 6, **settings}
    return SequenceCloning(SequenceCloningConfig(**settings), SPACE, seed)


def batch(batch_size=4, length=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    flag = torch.zeros(batch_size, length, dtype=torch.bool)
    is_first = flag.clone()
    is_first[:, 0] = True
    return {
        'observation': torch.randn(batch_size, length, 2, generator=generator),
        'action': torch.rand(batch_size, length, 1, generator=generator) * 1.8 - 0.9,
        'is_first': is_first,
        'terminated': flag.clone(),
        'truncated': flag.clone(),
        'intervention': flag.clone(),
    }


def constant(phase, mean, log_std):
    """Let the policy answer the same everywhere."""
    with torch.no_grad():
        for parameter in phase.actor.parameters():
            parameter.zero_()
        phase.actor.mean.bias.fill_(mean)
        phase.actor.log_std.bias.fill_(log_std)


def cued(count, seed):
    """Episodes that show what to do at their first step only, and nothing after it."""
    rng = np.random.default_rng(seed)
    episodes = []
    for number in range(count):
        cue = rng.choice([-1.0, 1.0])
        places = [cue] + [0.0] * NUM_ACTIONS
        speeds = [cue * 1.5] * NUM_ACTIONS + [0.0]
        ends = [False] * (NUM_ACTIONS + 1)
        episodes.append(from_arrays(number, places, speeds, [0.0] * (NUM_ACTIONS + 1), ends))
    return episodes


def test_ends_of_runs_were_not_executed():
    data = batch(3, 6)
    data['terminated'][0, 2] = True
    data['is_first'][0, 3] = True
    data['truncated'][1, 5] = True
    data['is_first'][2, 4] = True  # A gap: the steps before and behind it are not neighbours.
    expected = [[1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 1, 1]]
    assert executed(data).tolist() == [[bool(value) for value in row] for row in expected]
    assert data['terminated'].sum() == 1  # The batch is not written to.


def test_squared_error_by_hand_leaves_out_what_was_not_executed():
    phase = make(loss='squared_error')
    constant(phase, mean=math.atanh(0.5), log_std=0.0)
    data = batch(1, 3)
    data['action'] = torch.tensor([[[0.1], [0.7], [-0.9]]])
    data['truncated'][0, 2] = True
    metrics = phase.evaluate(data)
    assert metrics['loss'].item() == pytest.approx((0.4**2 + 0.2**2) / 2, rel=1e-5)
    # Half the command range is 2 m/s.
    assert metrics['action_0_rmse'].item() == pytest.approx(2 * math.sqrt(0.1), rel=1e-5)
    # The mean action 0.4 leaves 2 * 0.3^2, the policy 0.4^2 + 0.2^2.
    assert metrics['explained_variance'].item() == pytest.approx(1 - 0.20 / 0.18, rel=1e-4)


def test_likelihood_by_hand():
    phase = make()
    constant(phase, mean=0.3, log_std=-1.0)
    data = batch(1, 2)
    data['action'] = torch.tensor([[[math.tanh(0.8)], [0.0]]])
    data['terminated'][0, 1] = True
    z = (0.8 - 0.3) / math.exp(-1)
    log_normal = -0.5 * z * z + 1 - 0.5 * math.log(2 * math.pi)
    expected = -(log_normal - math.log(1 - math.tanh(0.8) ** 2))
    assert phase.evaluate(data)['loss'].item() == pytest.approx(expected, rel=1e-5)


def test_steps_that_a_person_drove_weigh_by_hand():
    phase = make(loss='squared_error', intervention_weight=3.0)
    constant(phase, mean=0.0, log_std=0.0)
    data = batch(1, 3)
    data['action'] = torch.tensor([[[0.5], [-0.2], [0.9]]])
    data['intervention'][0, 0] = True
    data['terminated'][0, 2] = True
    loss = phase.update(data)['sequence_cloning/loss'].item()
    assert loss == pytest.approx((3 * 0.25 + 0.04) / 4, rel=1e-5)


def test_what_was_not_executed_gives_no_gradient():
    first, second = make(), make()
    data, other = batch(), batch()
    for entry in (data, other):
        entry['terminated'][:, -1] = True
    other['action'][:, -1] = 0.0
    other['observation'][:, -1] = 9.0
    for phase, entry in ((first, data), (second, other)):
        phase.update(entry)
    for a, b in zip(first.actor.parameters(), second.actor.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('memory', ['gru', 'lstm'])
def test_gradients_reach_what_the_loss_can_move(memory):
    for loss, untouched in (('likelihood', set()), ('squared_error', {'log_std'})):
        phase = make(loss=loss, memory=memory)
        before = {name: p.detach().clone() for name, p in phase.actor.named_parameters()}
        phase.update(batch())
        same = {
            name.split('.')[0]
            for name, p in phase.actor.named_parameters()
            if torch.equal(p, before[name])
        }
        assert same == untouched


@pytest.mark.parametrize('memory', ['gru', 'lstm'])
def test_going_on_from_a_state_equals_never_having_stopped(memory):
    whole, first, second = (make(seed=seed, memory=memory) for seed in (0, 0, 9))
    observation = np.random.default_rng(0).normal(1, 2, (50, 2)).astype(np.float32)
    data = TrainingData(observation, np.zeros((50, 1), np.float32), np.zeros(1))
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


def test_held_out_episodes_are_measured_whole():
    """In windows of 4 the later ones would not show the cue."""
    experience = Experience(point_contract(), 10_000, seed=0)
    validation = Validation(experience, cued(3, seed=1))
    phase = SequenceCloning(SequenceCloningConfig(length=4), experience.space, 0)
    (whole,) = validation.batches(phase.measures)
    assert whole['action'].shape == (3, NUM_ACTIONS + 1, 1)
    assert whole['is_first'].sum() == 3
    assert 'held_out/loss' in validation.measure(phase)


def learned(phase_class, config):
    """Return what a phase scores on held-out episodes after learning from others."""
    experience = Experience(point_contract(), 10_000, seed=0)
    experience.append(cued(60, seed=0), 'driver')
    validation = Validation(experience, cued(40, seed=1))
    phase = phase_class(config, experience.space, 0)
    phase.prepare(experience.training_data())
    for _ in range(150):
        phase.update(experience.sample(phase.draws))
    return validation.measure(phase)['held_out/explained_variance']


@pytest.mark.parametrize('memory', ['gru', 'lstm'])
@pytest.mark.parametrize('loss', ['likelihood', 'squared_error'])
def test_remembers_a_cue_that_only_the_first_step_shows(memory, loss):
    config = SequenceCloningConfig(
        hidden=(16,),
        memory=memory,
        memory_size=16,
        batch_size=16,
        length=20,
        learning_rate=1e-2,
        loss=loss,
    )
    assert learned(SequenceCloning, config) > 0.95


def test_without_a_memory_no_more_than_the_first_step_can_be_known():
    """Behind it all observations are equal: one step of nine is the most that can be explained."""
    config = BehaviorCloningConfig(hidden=(32,), learning_rate=1e-2, loss='squared_error')
    assert learned(BehaviorCloning, config) < 1 / NUM_ACTIONS + 0.05
