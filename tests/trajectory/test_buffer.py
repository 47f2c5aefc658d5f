import json

import numpy as np
import pytest
from recordings import PERIOD_NS, lock_step, record
from robot_learning.errors import ConfigError, NotEnoughDataError
from robot_learning.trajectory.buffer import MixedBuffer, ReplayBuffer


def make(capacity=1000, seed=0, period_ns=PERIOD_NS):
    return ReplayBuffer(capacity, np.random.default_rng(seed), control_period_ns=period_ns)


def fill(buffer, lengths, piece_length=None, source='run', first=0):
    """Append counting episodes: observation, and the action with it, say episode and step."""
    episodes, _ = record(lock_step(lengths))
    for number, episode in enumerate(episodes):
        episode.episode = first + number
        marks = (first + number) * 1000.0 + np.arange(len(episode), dtype=np.float32)
        episode.action = np.stack([marks, -marks], axis=1)
        step = piece_length or len(episode)
        for start in range(0, len(episode), step):
            piece = episode.slice(start, start + step)
            features = np.stack([marks, marks + 0.5], axis=1)[start : start + step]
            buffer.append(piece, {'observation': features}, source)
    return episodes


@pytest.mark.parametrize('piece_length', [None, 1, 3, 7])
def test_a_transition_is_a_step_and_its_successor(piece_length):
    buffer = make()
    fill(buffer, [8, 5, 9], piece_length)
    batch = buffer.sample_transitions(500, discount=0.9)
    here, there = batch['observation'][:, 0], batch['next_observation'][:, 0]
    np.testing.assert_array_equal(there, here + 1)
    np.testing.assert_array_equal(batch['action'][:, 0], here)
    np.testing.assert_array_equal(batch['reward'], there % 1000)  # The reward of arriving.
    # Episodes 0 and 2 terminate at steps 7 and 8; episode 1 is truncated at step 4.
    ends = np.isin(there, [7, 2008])
    np.testing.assert_allclose(batch['discount'], np.where(ends, 0, 0.9), rtol=1e-6)
    assert ends.any() and np.isin(there, [1004]).any()
    assert set(here.astype(int)) == {*range(7), *range(1000, 1004), *range(2000, 2008)}


def test_transitions_and_windows_tell_what_a_person_did():
    buffer = make()
    fill(buffer, [8, 5], piece_length=3)
    batch = buffer.sample_transitions(300)
    step = batch['observation'][:, 0] % 1000
    np.testing.assert_array_equal(batch['intervention'], step == 1)
    windows = buffer.sample_windows(50, 4)
    np.testing.assert_array_equal(
        windows['intervention'], windows['observation'][..., 0] % 1000 == 1
    )


def test_few_offline_steps_are_not_drawn_over_and_over():
    online, offline = make(), make(seed=1)
    fill(online, [50])
    fill(offline, [4])
    batch = MixedBuffer(online, offline, 0.5).sample_transitions(64)
    assert batch['is_offline'].sum() == 4


def test_n_step_rewards_match_a_loop():
    buffer = make()
    lengths = [8, 5, 9]
    fill(buffer, lengths, piece_length=3)
    batch = buffer.sample_transitions(400, n_step=3, discount=0.5)
    for i in range(400):
        episode, step = divmod(int(batch['observation'][i, 0]), 1000)
        last = min(step + 3, lengths[episode] - 1)
        reward = sum(0.5 ** (k - step - 1) * k for k in range(step + 1, last + 1))
        terminated = last == lengths[episode] - 1 and episode != 1
        assert batch['next_observation'][i, 0] == episode * 1000 + last
        assert batch['reward'][i] == pytest.approx(reward)
        assert batch['discount'][i] == pytest.approx(0 if terminated else 0.5 ** (last - step))


def test_the_newest_step_waits_for_its_successor():
    buffer = make()
    (episode,), _ = record(lock_step([6]))
    features = {'observation': np.arange(6, dtype=np.float32)[:, None]}
    buffer.append(episode.slice(0, 3), {'observation': features['observation'][:3]})
    assert set(buffer.sample_transitions(200)['observation'][:, 0]) == {0, 1}
    buffer.append(episode.slice(3, 6), {'observation': features['observation'][3:]})
    assert set(buffer.sample_transitions(200)['observation'][:, 0]) == {0, 1, 2, 3, 4}


def test_missing_pieces_other_sources_and_gaps_break_a_run():
    (episode,), _ = record(lock_step([9]))
    features = np.arange(9, dtype=np.float32)[:, None]
    buffer = make()
    episode.stamp_ns = episode.stamp_ns + np.where(np.arange(9) >= 7, PERIOD_NS, 0)  # 6 -> 7.
    for start, stop, source in ((0, 2, 'a'), (3, 5, 'a'), (5, 9, 'b')):
        buffer.append(episode.slice(start, stop), {'observation': features[start:stop]}, source)
    assert set(buffer.sample_transitions(300)['observation'][:, 0]) == {0, 3, 5, 7}
    windows = buffer.sample_windows(300, 3)
    firsts = windows['observation'][windows['is_first']]
    starts = set(windows['observation'][:, 0, 0])
    assert set(firsts[:, 0]) == {0, 3, 5, 7} | starts


def test_overwritten_steps_never_come_back():
    buffer = make(capacity=20)
    for first in range(0, 30, 3):
        fill(buffer, [8, 5, 9], piece_length=4, first=first)
        newest = (first + 2) * 1000 + 8
        batch = buffer.sample_transitions(300, n_step=2)
        # The last 20 steps are 9 + 5 + 6 of the newest three episodes.
        oldest = first * 1000 + 2
        assert batch['observation'][:, 0].min() >= oldest
        assert batch['next_observation'][:, 0].max() == newest
        steps = batch['next_observation'][:, 0] - batch['observation'][:, 0]
        assert set(steps) == {1, 2}
        windows = buffer.sample_windows(100, 5)['observation'][..., 0]
        jumps = np.diff(windows, axis=1)
        assert windows.min() >= oldest and (jumps > 0).all()
    assert len(buffer) == 20 and buffer.num_appended == 220


def test_a_piece_longer_than_the_buffer_leaves_its_end():
    buffer = make(capacity=10)
    fill(buffer, [36])
    assert set(buffer.sample_transitions(300)['observation'][:, 0]) == set(range(26, 35))


def test_windows_are_consecutive_and_mark_every_start():
    buffer = make()
    fill(buffer, [8, 5, 9], piece_length=3)
    windows = buffer.sample_windows(300, 6)
    assert windows['observation'].shape == (300, 6, 2)
    assert windows['is_first'][:, 0].all()
    marks = windows['observation'][..., 0]
    consecutive = np.diff(marks, axis=1) == 1
    np.testing.assert_array_equal(windows['is_first'][:, 1:], ~consecutive)
    np.testing.assert_array_equal(windows['terminated'], np.isin(marks, [7, 2008]))
    np.testing.assert_array_equal(windows['truncated'], marks == 1004)


def test_two_buffers_of_one_seed_draw_alike_and_go_on_after_a_restart():
    first, second = make(seed=3), make(seed=3)
    for buffer in (first, second):
        fill(buffer, [8, 5, 9])
    first.sample_transitions(32)
    state = json.loads(json.dumps(first.state()))
    second.restore(state)
    for _ in range(3):
        a, b = first.sample_transitions(32, 3), second.sample_transitions(32, 3)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_extra_arrays_travel_along():
    buffer = make()
    (episode,), _ = record(lock_step([6]))
    pictures = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    features = np.arange(6, dtype=np.float32)[:, None]
    buffer.append(episode, {'observation': features, 'camera': pictures})
    batch = buffer.sample_transitions(50)
    np.testing.assert_array_equal(batch['camera'][:, 0, 0], 4 * batch['observation'][:, 0])
    assert 'next_camera' not in batch and batch['camera'].dtype == np.uint8


def test_an_empty_buffer_says_what_it_lacks():
    buffer = make()
    with pytest.raises(NotEnoughDataError, match='holds 0 steps, none of which has a successor'):
        buffer.sample_transitions(4)
    fill(buffer, [2])
    with pytest.raises(NotEnoughDataError, match='holds 2 steps, a window needs 5'):
        buffer.sample_windows(4, 5)
    with pytest.raises(NotEnoughDataError, match='capacity is 1'):
        make(capacity=1)


def test_a_mixed_buffer_keeps_the_ratio():
    online, offline = make(seed=1), make(seed=2)
    fill(online, [8])
    fill(offline, [12], first=5)
    mixed = MixedBuffer(online, offline, offline_ratio=0.25)
    for batch in (mixed.sample_transitions(40), mixed.sample_windows(40, 2)):
        marks = batch['observation'].reshape(40, -1)[:, 0]
        assert (marks[:30] < 1000).all() and (marks[30:] >= 5000).all()
    assert len(mixed) == 20
    with pytest.raises(ConfigError, match='offline_ratio is 2'):
        MixedBuffer(online, offline, 2)


def test_a_mixed_buffer_takes_all_from_the_one_that_has_something():
    empty, full = make(), make()
    fill(full, [8])
    assert len(MixedBuffer(empty, full, 0.1).sample_transitions(16)['reward']) == 16
    assert len(MixedBuffer(full, empty, 0.9).sample_windows(16, 3)['reward']) == 16
