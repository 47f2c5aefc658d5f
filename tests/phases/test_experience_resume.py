"""A resumed experience equals one that was never stopped, and reads no more than it must."""

import itertools
import json

import numpy as np
import pytest
from point_mass import episode, point_contract
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Transitions, Windows
from robot_learning.trajectory.store import TrajectoryStore

CAPACITY = 40
DRAWS = (Transitions(16, 1, 0.9), Transitions(16, 3, 0.9), Windows(4, 8))


def pieces(seed, count=12):
    """Return episodes cut anywhere; people take over, and rewards and places get lost."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        whole = episode(number, rng)
        whole.reward[rng.random(len(whole)) < 0.05] = np.nan
        if rng.random() < 0.5:
            start = rng.integers(0, len(whole))
            whole.intervention[start : start + rng.integers(1, 5)] = True
        whole.observations['place'][rng.random(len(whole)) < 0.05] = np.nan
        cuts = sorted({0, len(whole), *map(int, rng.integers(1, len(whole), 2))})
        found += [whole.slice(a, b) for a, b in itertools.pairwise(cuts)]
    return found


def write(store, recorded, start=0, per_segment=2):
    """Write two sessions in turn, so that none ends for good."""
    for number, first in enumerate(range(0, len(recorded), per_segment), start):
        session = 'ab'[number // 4 % 2]
        store.write_segment(recorded[first : first + per_segment], session, point_contract())


def experience(store, demonstrations=()):
    made = Experience(
        point_contract(),
        CAPACITY,
        0,
        store,
        demonstration_ratio=0.5,
        interventions_as_demonstrations=True,
        needs_reward=True,
    )
    if demonstrations:
        made.append_demonstrations(demonstrations, 'demonstrations')
    return made


def assert_equal(one, other):
    for draw in DRAWS:
        first, second = one.sample(draw), other.sample(draw)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    for name in ('segments', 'environment_step', 'num_episodes'):
        assert getattr(one, name) == getattr(other, name)
    assert one.metrics() == other.metrics()
    assert json.dumps(one.state()) == json.dumps(other.state())


@pytest.mark.parametrize('num_shown', [0, 2])
@pytest.mark.parametrize('seed', range(8))
def test_a_resumed_experience_equals_an_uninterrupted_one_bit_by_bit(tmp_path, seed, num_shown):
    rng = np.random.default_rng(100 + seed)
    shown = [episode(number, rng) for number in range(num_shown)]
    store = TrajectoryStore(tmp_path)
    recorded = pieces(seed)
    one = experience(store, shown)
    for first in range(0, len(recorded), 6):
        write(store, recorded[first : first + 6], first // 2)
        one.poll()
        one.sample(DRAWS[0])
        state = json.loads(json.dumps(one.state()))
        other = experience(store, shown)
        other.restore(state)
        assert other.poll() == 0
        assert_equal(one, other)
        one = other  # The next one resumes what was resumed.


def test_only_segments_that_memory_still_holds_are_read_again(tmp_path):
    store = TrajectoryStore(tmp_path)
    rng = np.random.default_rng(0)
    episodes = [episode(number, rng) for number in range(30)]
    episodes[3].intervention[2:4] = True
    for each in episodes:
        store.write_segment([each], 'a', point_contract())
    one = experience(store)
    one.poll()
    state = json.loads(json.dumps(one.state()))
    for path in store.segments()[:25]:
        if path.name != 'segment_000003.hdf5':  # The copy of what a person did is still held.
            path.unlink()
    other = experience(store)
    other.restore(state)
    assert other.skipped == []
    assert_equal(one, other)
    assert len(other.segments) == 30


def test_where_a_takeover_led_is_copied_again_though_the_step_before_was_unusable(tmp_path):
    store = TrajectoryStore(tmp_path)
    rng = np.random.default_rng(0)
    whole = episode(0, rng, lambda place: 0.0)
    whole.intervention[2] = True
    whole.observations['place'][2] = np.nan
    for piece in (whole.slice(0, 3), whole.slice(3, 8), *(episode(n, rng) for n in range(1, 9))):
        store.write_segment([piece], 'a', point_contract())
    one = experience(store)
    one.poll()
    assert one.num_demonstrations == 1
    other = experience(store)
    other.restore(json.loads(json.dumps(one.state())))
    assert_equal(one, other)


def test_segments_that_are_gone_leave_no_empty_steps_in_memory(tmp_path):
    store = TrajectoryStore(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(30):
        store.write_segment([episode(number, rng)], 'a', point_contract())
    one = experience(store)
    one.poll()
    state = json.loads(json.dumps(one.state()))
    store.segments()[28].unlink()
    other = experience(store)
    other.restore(state)
    assert len(other.skipped) == 1
    held = other.training_data()
    assert len(held.observation) == other.num_steps < CAPACITY + 12
    assert not ((held.observation == 0) & (held.action == 0)).all(1).any()


def test_a_checkpoint_of_an_older_version_is_gone_on_from(tmp_path):
    store = TrajectoryStore(tmp_path)
    write(store, pieces(1))
    one = experience(store)
    one.poll()
    state = json.loads(json.dumps(one.state()))
    for key in ('rows', 'helped'):
        del state[key]
    other = experience(store)
    other.restore(state)
    assert_equal(one, other)
