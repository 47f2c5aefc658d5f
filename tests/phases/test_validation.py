import numpy as np
import pytest
from point_mass import PERIOD_NS, episodes, from_arrays, point_contract
from robot_learning.errors import NotEnoughDataError
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Transitions, Windows
from robot_learning.phases.validation import Validation, split_episodes


class Recorder:
    """Stands in for a phase and keeps what it is measured on."""

    def __init__(self, draws):
        self.draws = draws
        self.batches = []

    @property
    def batch(self):
        (batch,) = self.batches
        return batch

    def evaluate(self, batch):
        self.batches.append(batch)
        return {'loss': batch['reward'].mean()}


def test_no_episode_is_on_both_sides_and_none_is_lost():
    recorded = episodes(40, seed=0)
    split = split_episodes(recorded, 0.2, seed=3)
    numbers = [[e.episode for e in part] for part in split]
    assert sorted(numbers[0] + numbers[1]) == list(range(40))
    share = sum(map(len, split.held_out)) / sum(map(len, recorded))
    assert share == pytest.approx(0.2, abs=0.05)


def test_the_split_follows_its_seed():
    recorded = episodes(40, seed=0)

    def chosen(seed):
        return [e.episode for e in split_episodes(recorded, 0.2, seed).held_out]

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)


def test_a_single_episode_is_cut_at_its_end_and_that_is_said(caplog):
    (recorded,) = [from_arrays(0, np.arange(20.0), [0] * 20, [0] * 20, [False] * 20)]
    split = split_episodes([recorded], 0.25, seed=0)
    assert [len(split.training[0]), len(split.held_out[0])] == [15, 5]
    assert split.held_out[0].observations['place'][0, 0] == 15
    assert 'last 5 of 20 steps' in caplog.text


def test_too_little_data_is_named():
    with pytest.raises(NotEnoughDataError, match='holds 0 steps in 1 episodes'):
        split_episodes([from_arrays(0, [0.0], [0], [0], [False])], 0.1, seed=0)


def test_every_held_out_transition_is_measured_exactly_once():
    experience = Experience(point_contract(), 100, seed=0)
    recorded = episodes(3, seed=0)
    validation = Validation(experience, recorded)
    assert validation.num_transitions == sum(len(episode) - 1 for episode in recorded)
    phase = Recorder(Transitions(4, discount=0.5))
    metrics = validation.measure(phase)
    rewards = np.concatenate([episode.reward[1:] for episode in recorded])
    assert metrics == {'held_out/loss': pytest.approx(rewards.mean())}
    place, speed = phase.batch['observation'], 2 * phase.batch['action']
    np.testing.assert_allclose(phase.batch['next_observation'], place + 0.5 * speed, atol=1e-5)


def test_no_transition_crosses_a_gap():
    recorded = from_arrays(0, [0.0, 0.1, 0.2, 0.3], [0] * 4, [0] * 4, [False] * 4)
    recorded.stamp_ns[2:] += 3 * PERIOD_NS
    experience = Experience(point_contract(), 100, seed=0)
    phase = Recorder(Transitions(4))
    Validation(experience, [recorded]).measure(phase)
    np.testing.assert_allclose(phase.batch['observation'][:, 0], [0.0, 0.2], atol=1e-6)


def test_no_transition_lacks_a_reward_that_is_needed():
    rewards = [np.nan, 1.0, np.nan, 3.0]
    recorded = from_arrays(0, [0.0, 0.1, 0.2, 0.3], [0] * 4, rewards, [False] * 4)
    experience = Experience(point_contract(), 100, seed=0, needs_reward=True)
    metrics = Validation(experience, [recorded]).measure(Recorder(Transitions(4)))
    assert metrics == {'held_out/loss': pytest.approx(1.0)}


def test_windows_hold_every_step_once_and_cross_no_gap():
    place = np.arange(11.0)
    recorded = from_arrays(0, place, [0] * 11, [0] * 11, [False] * 11)
    recorded.stamp_ns[7:] += 3 * PERIOD_NS  # Stretches of 7 and 4 steps.
    experience = Experience(point_contract(), 100, seed=0)
    phase = Recorder(Windows(2, 3))
    Validation(experience, [recorded]).measure(phase)
    shapes = [tuple(batch['observation'].shape) for batch in phase.batches]
    assert shapes == [(2, 3, 1), (1, 3, 1)]  # Single steps left over are no window.
    seen = np.concatenate([batch['observation'].flatten() for batch in phase.batches])
    np.testing.assert_allclose(seen, [0, 1, 2, 3, 4, 5, 7, 8, 9], atol=1e-6)
    for batch in phase.batches:
        assert batch['is_first'][:, 0].all() and not batch['is_first'][:, 1:].any()


def test_the_mean_over_batches_counts_steps_not_batches():
    rewards = [0.0, 1.0, 2.0, 3.0, 10.0, 10.0]
    recorded = from_arrays(0, np.arange(6.0), [0] * 6, rewards, [False] * 6)
    experience = Experience(point_contract(), 100, seed=0)
    metrics = Validation(experience, [recorded]).measure(Recorder(Windows(1, 4)))
    assert metrics == {'held_out/loss': pytest.approx(26 / 6)}
