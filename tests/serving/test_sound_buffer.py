import numpy as np
import pytest
from robot_learning.errors import MessageError
from robot_learning.serving.sound_buffer import SoundBuffer


def chunk(start, count):
    return np.arange(start, start + count, dtype=np.int16)


def kept(buffer):
    return np.round(buffer.last() * 32768).astype(int).tolist()


def test_the_newest_samples_are_last_and_silence_is_before_the_first():
    buffer = SoundBuffer(10, 1.0)
    buffer.add(chunk(1, 4), 10, 1, 0, 0)
    assert kept(buffer) == [0] * 6 + [1, 2, 3, 4]
    buffer.add(chunk(5, 12), 10, 1, 4, 400_000_000)
    assert kept(buffer) == list(range(7, 17))
    assert buffer.newest_ns == 1_600_000_000


def test_a_gap_is_silence_and_counted_and_what_comes_twice_counts_once():
    buffer = SoundBuffer(10, 1.0)
    buffer.add(chunk(1, 3), 10, 1, 0, 0)
    buffer.add(chunk(6, 2), 10, 1, 5, 0)
    assert kept(buffer)[-7:] == [1, 2, 3, 0, 0, 6, 7] and buffer.num_missing == 2
    buffer.add(chunk(7, 2), 10, 1, 6, 0)
    assert kept(buffer)[-4:] == [0, 6, 7, 8]


def test_channels_are_averaged_and_another_rate_is_resampled_and_counted():
    buffer = SoundBuffer(10, 1.0)
    buffer.add(np.array([0, 10, 20, 30], np.int16), 10, 2, 0, 0)
    assert kept(buffer)[-2:] == [5, 25]
    buffer = SoundBuffer(10, 1.0)
    buffer.add(np.repeat(chunk(1, 5), 4), 40, 1, 0, 0)
    assert kept(buffer)[-5:] == [1, 2, 3, 4, 5] and buffer.num_resampled == 1
    buffer.add(np.array([100, 200], np.int16), 5, 1, 20, 0)
    assert kept(buffer)[-4:] == [100, 125, 175, 200]


def test_a_microphone_that_begins_anew_is_heard_at_once():
    buffer = SoundBuffer(10, 1.0)
    buffer.add(chunk(1, 3), 10, 1, 1000, 0)
    buffer.add(chunk(7, 3), 10, 1, 0, 0)
    assert kept(buffer)[-6:] == [1, 2, 3, 7, 8, 9] and buffer.num_missing == 0


def test_contradictions_are_named():
    buffer = SoundBuffer(10, 1.0)
    with pytest.raises(MessageError, match='3 samples of 2 channels'):
        buffer.add(chunk(0, 3), 10, 2, 0, 0)
    with pytest.raises(MessageError, match='at 0 Hz'):
        buffer.add(chunk(0, 3), 0, 1, 0, 0)
