import itertools

import numpy as np
import pytest
from robot_learning_interfaces.msg import AudioChunk
from simulator_process import Pilot, SimulatorProcess, nanoseconds


@pytest.fixture
def pilot():
    with Pilot() as pilot:
        yield pilot


def test_what_the_robot_meets_is_heard_without_gaps(pilot):
    pilot.listen(AudioChunk, 'microphone/audio')
    pilot.policy = lambda outcome: (0.5, 0.0)  # Into whatever is ahead.
    heard = pilot.received['microphone/audio']
    with SimulatorProcess(seed=4, world__camera='off', world__microphone=True):
        assert pilot.spin_until(lambda: pilot.outcomes)
        assert pilot.spin_until(
            lambda: heard and max(np.abs(message.samples).max() for message in heard) > 100
        )
    for before, after in itertools.pairwise(heard):
        assert after.first_sample == before.first_sample + len(before.samples)
    first = heard[0]
    assert (first.sample_rate, first.channels) == (16_000, 1)
    assert len(first.samples) == 3200  # 5 control steps a second.
    stamps = {nanoseconds(outcome.header.stamp) for outcome in pilot.outcomes}
    assert all(nanoseconds(message.header.stamp) in stamps for message in heard)
