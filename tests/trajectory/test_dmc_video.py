import h5py
import numpy as np
import pytest
from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.dmc_video import Bounds, DMCVideoDataset, episodes_of_arrays
from robot_learning.trajectory.formats.foreign import regular_stamps, whole_episode


def episode(count=20, size=8, number=0):
    """Every number says which step it belongs to."""
    steps = np.arange(count)
    frames = np.broadcast_to(steps[:, None, None, None], (count, size, size, 3)).astype(np.uint8)
    actions = np.stack([steps / 10.0, -steps / 5.0], 1)
    return whole_episode(
        number, {'camera': frames.copy()}, actions, steps, regular_stamps(count, 50_000_000), 'toy'
    )


def test_windows_are_consecutive_and_normalised():
    data = DMCVideoDataset([episode()], length=4, image_size=8)
    assert len(data) == 17 and data.action_size == 2 and data.num_steps == 20
    window = data[3]
    assert {name: value.shape for name, value in window.items()} == {
        'observations': (4, 3, 8, 8), 'actions': (4, 2), 'rewards': (4,),
        'terminated': (4,), 'truncated': (4,),
    }  # fmt: skip
    assert window['observations'].dtype == np.float32
    np.testing.assert_allclose(window['observations'][:, 0, 0, 0] * 255, [3, 4, 5, 6], rtol=1e-6)
    np.testing.assert_array_equal(window['rewards'], [3, 4, 5, 6])
    # Executed are the actions of steps 0 to 18: 0 to 1.8, and 0 to -3.6.
    np.testing.assert_allclose(window['actions'][:, 0], np.arange(3, 7) / 9 - 1, rtol=1e-5)
    np.testing.assert_allclose(window['actions'][:, 1], 1 - np.arange(3, 7) / 9, rtol=1e-5)
    assert not window['truncated'].any() and data[16]['truncated'].tolist() == [0, 0, 0, 1]


def test_windows_start_a_stride_apart_and_stay_in_their_episode():
    data = DMCVideoDataset([episode(), episode(7, number=1)], length=6, stride=5, image_size=8)
    starts = [round(float(data[i]['observations'][0, 0, 0, 0] * 255)) for i in range(len(data))]
    assert starts == [0, 5, 10, 0]


def test_no_window_crosses_a_gap_or_shows_a_missing_picture():
    late, blind = episode(10), episode(10)
    late.stamp_ns[5:] += 200_000_000
    blind.present['camera'][4] = False
    for each, expected in ((late, [0, 1, 5, 6]), (blind, [0, 5, 6])):
        data = DMCVideoDataset([each], length=4, image_size=8)
        starts = [
            round(float(data[i]['observations'][0, 0, 0, 0] * 255)) for i in range(len(data))
        ]
        assert starts == expected


def test_the_mean_frame_and_the_spread_around_it():
    data = DMCVideoDataset([episode(5)], length=4, image_size=8)
    mean, spread = data.frame_statistics()
    np.testing.assert_allclose(mean, np.full((3, 8, 8), 2 / 255), rtol=1e-6)
    assert spread == pytest.approx(np.sqrt(2) / 255)  # Of 0 to 4 around 2.


def test_larger_pictures_are_averaged():
    large = episode(4, size=16)
    large.observations['camera'][:, ::2] = 0
    data = DMCVideoDataset([large], length=4, image_size=8)
    found = data[0]['observations'][:, 0, 0, 0] * 255
    np.testing.assert_allclose(found, [0, 0, 1, 2], atol=0.51)


def test_actions_come_back_in_units_of_the_robot():
    bounds = Bounds(np.array([-2.0, 1.0], np.float32), np.array([4.0, 1.0], np.float32))
    action = np.array([[1.0, 1.0], [4.0, 1.0], [9.0, 1.0]], np.float32)
    np.testing.assert_allclose(bounds.normalised(action), [[0, 0], [1, 0], [1, 0]])
    np.testing.assert_allclose(bounds.restored(bounds.normalised(action[:2])), action[:2])


def test_a_store_of_dm_controls_layout_is_read(tmp_path):
    steps = np.arange(12)
    frames = np.broadcast_to(steps[:, None, None, None], (12, 8, 8, 3)).astype(np.uint8)
    with h5py.File(tmp_path / 'walker.hdf5', 'w') as file:
        file['observations'], file['actions'] = frames, np.zeros((12, 6))
        file['rewards'], file['dones'] = steps / 10, steps % 6 == 5
    episodes = list(read_episodes(tmp_path / 'walker.hdf5', fields=('camera',)))
    data = DMCVideoDataset(episodes, length=6, image_size=8)
    assert len(data) == 2 and data.action_size == 6
    np.testing.assert_allclose(data[1]['rewards'], [0, 0.6, 0.7, 0.8, 0.9, 1.0], rtol=1e-6)


def arrays(count=6, **changed):
    return {
        'observations': np.full((count, 3, 8, 8), 51, np.uint8),
        'actions': np.arange(count)[:, None],
        'rewards': np.arange(count) / 10,
        'terminated': np.arange(count) == count - 1,
        **changed,
    }


def test_rewards_of_plain_arrays_move_to_the_step_they_led_to():
    (found,) = episodes_of_arrays('file', arrays(), 50_000_000)
    assert found.observations['camera'].shape == (6, 8, 8, 3)
    np.testing.assert_allclose(found.reward, [0, 0, 0.1, 0.2, 0.3, 0.4])
    assert found.terminated.tolist() == [0, 0, 0, 0, 0, 1] and not found.truncated.any()


def test_shares_of_brightness_are_taken_too():
    (found,) = episodes_of_arrays('f', arrays(observations=np.full((6, 8, 8, 3), 0.2)), 1)
    assert (found.observations['camera'] == 51).all()


@pytest.mark.parametrize(
    ('changed', 'named'),
    [
        ({'observations': np.zeros((6, 8), np.uint8)}, r'shape \[6, 8\], expected pictures'),
        ({'observations': np.full((6, 3, 8, 8), 2.0)}, r'beyond \[0, 1\] or not finite'),
        ({'observations': np.full((6, 3, 8, 8), np.nan)}, r'beyond \[0, 1\] or not finite'),
        ({'actions': np.zeros(6)}, r'actions are float64 \[6\], expected numbers \[T, A\]'),
        ({'actions': np.zeros((5, 1))}, 'observations 6, actions 5'),
        ({'dones': np.zeros(4, bool)}, 'dones 4'),
    ],
)
def test_arrays_that_do_not_fit_are_named(changed, named):
    with pytest.raises(DataError, match=named):
        list(episodes_of_arrays('file.pt', arrays(**changed), 1))


def test_arrays_without_pictures_are_named():
    with pytest.raises(DataError, match=r'file\.pt: holds actions, expected observations'):
        list(episodes_of_arrays('file.pt', {'actions': np.zeros((3, 1))}, 1))


def broken(kind):
    found = episode()
    if kind == 'field':
        found.observations = {'scan': np.zeros((20, 5))}
    elif kind == 'dtype':
        found.observations['camera'] = found.observations['camera'].astype(float)
    elif kind == 'nan':
        found.action[3, 1] = np.nan
    return found


@pytest.mark.parametrize(
    ('kind', 'named'),
    [
        ('field', "no field 'camera', only scan"),
        ('dtype', 'camera is float64'),
        ('nan', 'actions are not finite'),
    ],
)
def test_episodes_that_cannot_be_used_are_named(kind, named):
    with pytest.raises(DataError, match=f'episode 0 of toy: .*{named}'):
        DMCVideoDataset([broken(kind)], length=4, image_size=8)


def test_what_makes_no_window_is_said():
    with pytest.raises(
        NotEnoughDataError, match='1 episodes, the longest of 20 steps, hold no 30'
    ):
        DMCVideoDataset([episode()], length=30, image_size=8)
    with pytest.raises(DataError, match='8 x 8, expected 64 x 64'):
        DMCVideoDataset([episode()], length=4)
    with pytest.raises(DataError, match='windows of 1 steps'):
        DMCVideoDataset([episode()], length=1)
    other = episode()
    other.action = other.action[:, :1]
    with pytest.raises(DataError, match=r'actions of \[1, 2\] components, expected one robot'):
        DMCVideoDataset([episode(), other], length=4, image_size=8)
