import numpy as np
import pytest
from robot_learning.errors import NotEnoughDataError
from robot_learning.evaluation.offline import offline_error
from robot_learning.trajectory.episode import Episode


class Doubler:
    """Predicts twice the observed value; its likelihood is a standard normal around that."""

    def mode(self, observations, is_first, action):
        return 2 * observations['value']

    def log_prob(self, observations, is_first, action):
        error = action - self.mode(observations, is_first, action)
        return -0.5 * (error**2).sum(1) - 0.5 * np.log(2 * np.pi)


def episode(values, actions, gaps=(), is_complete=True):
    count = len(values)
    false = np.zeros(count, bool)
    present = np.ones(count, bool)
    present[list(gaps)] = False
    action = np.asarray(actions, np.float32)[:, None]
    return Episode(
        episode=0,
        offset=0,
        stamp_ns=np.arange(count),
        observations={'value': np.asarray(values, np.float32)[:, None]},
        field_stamp_ns={'value': np.arange(count)},
        present={'value': present},
        action=action,
        commanded=action,
        altered=false,
        log_prob=np.zeros(count, np.float32),
        model_version=np.zeros(count, np.int64),
        reward=np.zeros(count, np.float32),
        terminated=false,
        truncated=false,
        is_first=np.arange(count) == 0,
        is_complete=is_complete,
    )


def test_errors_are_those_counted_by_hand():
    # Compared are steps 1 and 2: the first has no action before it, the last none at all.
    result = offline_error(Doubler(), ['value'], [episode([0, 1, 2, 9], [1, 3, 3, 0])])
    assert (result.num_steps, result.num_skipped) == (2, 1)
    assert result.mean_absolute_error == pytest.approx([(1 + 1) / 2])
    assert result.mean_error == pytest.approx([0])  # Both actions are 3.
    assert result.persistence_error == pytest.approx([(2 + 0) / 2])
    assert result.log_likelihood == pytest.approx(-0.5 - 0.5 * np.log(2 * np.pi))


def test_the_mean_may_come_from_the_training_data():
    data = [episode([0, 1, 2, 9], [1, 3, 3, 0])]
    result = offline_error(Doubler(), ['value'], data, mean_action=np.array([1.0]))
    assert result.mean_error == pytest.approx([2])


def test_steps_with_gaps_are_skipped_and_counted():
    result = offline_error(Doubler(), ['value'], [episode([0, 1, 2, 9], [1, 3, 3, 0], gaps=[2])])
    assert (result.num_steps, result.num_skipped) == (1, 2)


def test_an_unfinished_piece_still_uses_its_last_action():
    piece = episode([0, 1, 2], [1, 3, 3], is_complete=False)
    assert offline_error(Doubler(), ['value'], [piece]).num_steps == 2


def test_data_without_a_usable_step_is_named():
    with pytest.raises(NotEnoughDataError, match='holds no step with the fields value'):
        offline_error(Doubler(), ['value'], [episode([0, 1], [1, 1], gaps=[0, 1])])


def test_the_interval_of_the_error_holds_it_and_shrinks_with_more_episodes():
    rng = np.random.default_rng(0)

    def width(count):
        data = [episode(rng.normal(size=60), rng.normal(size=60)) for _ in range(count)]
        result = offline_error(Doubler(), ['value'], data)
        ((low, high),) = result.error_interval_95
        assert low < result.mean_absolute_error[0] < high
        assert result.num_episodes == count
        return high - low

    assert width(80) < 0.5 * width(8)


def test_what_cannot_be_told_is_none():
    doubler = Doubler()
    doubler.log_prob = lambda observations, is_first, action: None
    data = [episode([0, 1, 2, 9], [1, 3, 3, 0])]
    assert offline_error(doubler, ['value'], data).log_likelihood is None


class Counter:
    """Predicts how many steps of the episode it has seen, this one included."""

    def mode(self, observations, is_first, action):
        counts = []
        for begins in is_first:
            counts.append(1 if begins else counts[-1] + 1)
        return np.asarray(counts, np.float32)[:, None]

    def log_prob(self, observations, is_first, action):
        return np.zeros(len(action))


def test_a_policy_with_memory_sees_each_episode_from_its_start():
    data = [episode([0] * 4, [1, 2, 3, 0]), episode([0] * 5, [1, 2, 3, 4, 0], gaps=[1])]
    result = offline_error(Counter(), ['value'], data)
    # The second episode lacks its step 1: what follows is one step less seen than driven.
    assert result.num_steps == 2 + 2
    assert result.mean_absolute_error == pytest.approx([(0 + 0 + 1 + 1) / 4])
