import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.errors import DataError
from robot_learning.trajectory.formats.foreign import whole_episode
from robot_learning.trajectory.paired_sources import open_paired
from robot_learning.trajectory.store import TrajectoryStore

HEARD = 800  # Samples per step, 16 kHz at 20 Hz.


def contract(heard=HEARD, size=64):
    array = 'std_msgs/msg/Float32MultiArray'
    fields = {
        'camera': {
            'topic': 'camera',
            'type': 'sensor_msgs/msg/Image',
            'shape': [size, size, 3],
            'dtype': 'uint8',
        },
        'microphone': {'topic': 'microphone', 'type': array, 'shape': [heard]},
        'touch': {'topic': 'touch', 'type': array, 'shape': [2]},
        'arm': {'topic': 'arm', 'type': array, 'shape': [3]},
    }
    action = {
        'topic': 'command',
        'type': 'std_msgs/msg/Float64MultiArray',
        'components': ['x'],
        'unit': ['m'],
        'low': [-1.0],
        'high': [1.0],
        'stop': [0.0],
    }
    return contracts.from_dict(
        {
            'robot': 'listener',
            'description': 'for tests',
            'control_rate_hz': 20,
            'observation': fields,
            'actions': {'hand': action},
        }
    )


def store(
    path,
    lengths=(9, 3),
    heard=HEARD,
    size=64,
    absent=None,
    reward=np.nan,
    ends=False,
    **attributes,
):
    """Write episodes of counted values: step t holds t everywhere, and `reward` times t."""
    pieces = []
    for number, length in enumerate(lengths):
        steps = np.arange(length)
        observations = {
            'camera': np.repeat(steps, size * size * 3)
            .reshape(length, size, size, 3)
            .astype(np.uint8),
            'microphone': np.repeat(steps, heard).reshape(length, heard).astype(np.float32) / 100,
            'touch': np.repeat(steps, 2).reshape(length, 2).astype(np.float32),
            'arm': -np.repeat(steps, 3).reshape(length, 3).astype(np.float32),
        }
        stamp_ns = number * 10**10 + steps.astype(np.int64) * 50_000_000
        action = steps[:, None].astype(np.float32) / 10
        episode = whole_episode(
            number, observations, action, reward * steps, stamp_ns, 'tests', ends
        )
        episode.attributes |= attributes
        for name, steps_without in (absent or {}).items():
            episode.present[name][steps_without] = False
        pieces.append(episode)
    TrajectoryStore(path).write_segment(pieces, 'day', contract(heard, size))
    return path


def test_an_episode_is_cut_into_windows_of_what_happened_together(tmp_path):
    found = open_paired(store(tmp_path), window=4)
    assert found.modalities == ('image', 'sound', 'proprioception', 'action', 'frames')
    assert len(found) == 2
    for got, start in zip(found, (0, 4), strict=True):
        steps = np.arange(start, start + 4)
        np.testing.assert_array_equal(got.frames[:, 0, 0, 0], steps)
        np.testing.assert_array_equal(got.proprioception[:, 0], -steps)  # The arm, then touch.
        np.testing.assert_array_equal(got.proprioception[:, 4], steps)
        np.testing.assert_allclose(got.action[:, 0], steps / 10)
        # What is heard on arriving at the next step sounded during this one.
        np.testing.assert_allclose(got.sound[::HEARD], (steps + 1) / 100)
        assert got.sound.shape == (4 * HEARD,)
        assert got.label == -1


def test_only_the_senses_that_are_wanted_are_read(tmp_path):
    found = open_paired(store(tmp_path), window=4)
    got, whole = found.read(1, ('image', 'sound')), found.read(1)
    assert got.frames is None and got.proprioception is not None, 'what is small comes along'
    np.testing.assert_array_equal(got.image, whole.image)
    np.testing.assert_array_equal(got.sound, whole.sound)
    assert found.read(1, ('frames',)).image is None


@pytest.mark.parametrize('ends', [True, False])
def test_the_last_window_of_an_episode_with_rewards_sees_how_it_ended(tmp_path, ends):
    found = open_paired(store(tmp_path, lengths=(10,), reward=0.5, ends=ends), window=4)
    assert found.modalities[-1] == 'outcome'
    first, _, last = found
    np.testing.assert_array_equal(first.outcome[:, 0], [np.nan, 0.5, 1.0, 1.5])
    assert not first.outcome[:, 1:].any()
    np.testing.assert_array_equal(last.outcome[:, 0], [3.0, 3.5, 4.0, 4.5])
    assert last.outcome[-1, 1:].tolist() == ([1, 0] if ends else [0, 1])  # Never both.
    assert not last.outcome[:-1, 1:].any()
    assert last.sound[::HEARD][-1] == 0  # Nothing is heard after the end.


def test_episodes_without_rewards_know_no_ends_beside_others_that_do(tmp_path):
    store(tmp_path, lengths=(9,))
    store(tmp_path, lengths=(9,), reward=1.0)
    found = open_paired(tmp_path, window=4)
    known = [bool(np.isfinite(sample.outcome).any()) for sample in found]
    assert known == [False, False, True, True, True]


def test_episodes_that_are_too_short_are_counted_by_name(tmp_path):
    found = open_paired(store(tmp_path), window=4)
    assert [why for _, why in found.report.skipped] == ['has 3 steps, a window needs 5']
    assert 'demo_1' in found.report.skipped[0][0]


def test_a_camera_that_was_off_is_no_sense_and_no_black_picture(tmp_path):
    found = open_paired(store(tmp_path, absent={'camera': slice(None)}), window=4)
    assert found.modalities == ('sound', 'proprioception', 'action')
    assert found.read(0).image is None
    with pytest.raises(DataError, match='has no image, only sound'):
        found.require('image')


@pytest.mark.parametrize(
    ('field', 'steps', 'left'),
    [
        ('camera', 5, 'second'),
        ('camera', 8, ''),  # Its picture is not needed, only its sound.
        ('microphone', 8, 'second'),
        ('microphone', 0, ''),  # What was heard before the first step.
        ('arm', slice(0, 1), 'first'),
        ('arm', 1, ''),  # A reading that is repeated.
    ],
)
def test_a_window_with_a_gap_is_left_out_by_name(tmp_path, field, steps, left):
    found = open_paired(store(tmp_path, lengths=(9,), absent={field: steps}), window=4)
    assert len(found) == (1 if left else 2)
    assert [why for _, why in found.report.skipped] == (
        [f'has no reading of {field}, expected one'] if left else []
    )


def test_what_an_episode_says_about_itself_is_kept(tmp_path):
    facts = {
        'class': 'cup',
        'object': 'cup_7',
        'split': 'val',
        'properties': [0.5] * 9,
        'synthetic': True,
    }
    found = open_paired(store(tmp_path, **facts), window=4)
    assert found.classes == ('cup',)
    assert found.split_names == ('val',)
    assert set(found.groups) == {'cup_7'}
    assert found.report.synthetic
    np.testing.assert_allclose(found.read(0).properties, 0.5)


def test_a_session_and_a_segment_are_read_like_a_store(tmp_path):
    root = store(tmp_path)
    for path in (root / 'day', root / 'day' / 'segment_000000.hdf5'):
        assert len(open_paired(path, window=4)) == 2


def test_other_rates_and_sizes_are_converted_and_counted(tmp_path):
    found = open_paired(store(tmp_path, heard=400, size=32), window=4)
    got = found.read(0)
    assert got.frames.shape == (4, 64, 64, 3)
    assert abs(len(got.sound) - 4 * HEARD) <= 1
    assert dict(found.report.converted) == {
        'frames 32 x 32 -> 64 x 64': 2,
        'sound 8000 Hz -> 16000 Hz': 2,
    }


def test_a_damaged_segment_is_left_out_by_name(tmp_path):
    root = store(tmp_path)
    store(tmp_path)
    path = root / 'day' / 'segment_000001.hdf5'
    path.write_bytes(path.read_bytes()[:-100])
    found = open_paired(root, window=4)
    assert len(found) == 2
    assert str(path) in {source for source, _ in found.report.skipped}


def test_a_store_without_a_window_is_refused(tmp_path):
    with pytest.raises(DataError, match='holds no episode of 33 steps'):
        open_paired(store(tmp_path))
