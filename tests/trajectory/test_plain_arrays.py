import h5py
import numpy as np
import pytest
from robot_learning.errors import DataError
from robot_learning.trajectory.datasets import read_episodes

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (5, 8, 8, 3), np.uint8)
ACTIONS = RNG.uniform(-1, 1, (5, 2)).astype(np.float32)
REWARDS = np.arange(5.0) + 1


def write(path, groups=('',), **arrays):
    """Write the arrays at the root, or into groups."""
    content = {'frames': FRAMES, 'actions': ACTIONS, 'rewards': REWARDS} | arrays
    with h5py.File(path, 'w') as file:
        for group in groups:
            for name, values in content.items():
                if values is not None:
                    file[f'{group}/{name}'] = values
    return path


def test_rewards_and_ends_are_those_received_on_arriving(tmp_path):
    (episode,) = read_episodes(write(tmp_path / 'a.hdf5', dones=np.array([0, 0, 0, 0, 1])))
    np.testing.assert_array_equal(episode.observations['camera'], FRAMES)
    np.testing.assert_array_equal(episode.action, ACTIONS)
    # What the last action earned, and where it led, is not in the file.
    assert episode.reward.tolist() == [0, 1, 2, 3, 4]
    assert episode.truncated.tolist() == [False] * 4 + [True]
    assert not episode.terminated.any()
    assert episode.is_complete


def test_a_task_that_ended_is_told_from_time_that_was_up(tmp_path):
    ends = np.array([0, 0, 0, 0, 1])
    (episode,) = read_episodes(write(tmp_path / 'a.h5', terminated=ends, truncated=0 * ends))
    assert episode.terminated.tolist() == [False] * 4 + [True]
    assert not episode.truncated.any()


def test_episodes_behind_each_other_are_cut_where_they_end(tmp_path):
    path = write(tmp_path / 'a.hdf5', dones=np.array([[0], [1], [0], [0], [0]]))
    first, second = read_episodes(path)
    assert (len(first), len(second)) == (2, 3)
    assert second.reward.tolist() == [0, 3, 4]
    np.testing.assert_array_equal(second.observations['camera'], FRAMES[2:])
    assert (first.episode, second.episode) == (0, 1)


def test_one_group_per_episode(tmp_path):
    episodes = list(read_episodes(write(tmp_path / 'a.hdf5', ('ep_0', 'ep_1', 'ep_2'))))
    assert [episode.episode for episode in episodes] == [0, 1, 2]
    assert all(len(episode) == 5 for episode in episodes)


def test_pictures_with_channels_first_and_vectors(tmp_path):
    vectors = RNG.normal(size=(5, 4))
    path = write(tmp_path / 'a.hdf5', frames=FRAMES.transpose(0, 3, 1, 2), observations=vectors)
    (episode,) = read_episodes(path)
    np.testing.assert_array_equal(episode.observations['camera'], FRAMES)
    np.testing.assert_array_equal(episode.observations['observation'], vectors.astype('f4'))
    (only,) = read_episodes(path, fields=['observation'])
    assert list(only.observations) == ['observation']


def test_without_rewards_none_are_made_up(tmp_path):
    (episode,) = read_episodes(write(tmp_path / 'a.hdf5', rewards=None))
    assert np.isnan(episode.reward[1:]).all()


@pytest.mark.parametrize(
    ('arrays', 'text'),
    [
        ({'rewards': REWARDS[:3]}, r'frames 5, actions 5, rewards 3'),
        ({'actions': ACTIONS[:, 0]}, r'actions have shape \[5\], expected \[T, A\]'),
        ({'frames': FRAMES.astype(float)}, r'frames is float64 \[5, 8, 8, 3\], expected uint8'),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, arrays, text):
    with pytest.raises(DataError, match=text):
        list(read_episodes(write(tmp_path / 'a.hdf5', **arrays)))


def test_a_field_that_is_absent_is_named(tmp_path):
    with pytest.raises(DataError, match='holds no scan, only camera'):
        list(read_episodes(write(tmp_path / 'a.hdf5'), fields=['scan']))
