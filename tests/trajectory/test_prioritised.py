import json

import numpy as np
import pytest
from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.buffer import MixedBuffer, ReplayBuffer
from robot_learning.trajectory.prioritised import Priorities, restored
from test_buffer import fill, make

ALL = np.ones(4, bool)


def four(errors, exponent=0.5):
    """Four steps of a ring of four, each with a successor, and what was measured there."""
    priorities = Priorities(4, exponent)
    priorities.take_in(ALL, 4)
    priorities.update(np.arange(4), np.array(errors))
    return priorities


def test_probabilities_are_those_computed_by_hand():
    # With alpha 0.5 the errors 1, 4, 9 and 16 weigh 1, 2, 3 and 4: P is 0.1, 0.2, 0.3 and 0.4.
    drawn = four([1.0, -4.0, 9.0, 16.0]).draw(2000, np.random.default_rng(0))
    by_hand = np.array([0.4, 0.8, 1.2, 1.6])  # 4 P: to the 1/4 of a uniform draw.
    np.testing.assert_allclose(drawn.selection_ratio, by_hand[drawn.place], rtol=1e-5)


def test_places_are_drawn_as_often_as_they_surprised():
    priorities, rng = four([1.0, 4.0, 9.0, 16.0]), np.random.default_rng(0)
    places = np.concatenate([priorities.draw(100, rng).place for _ in range(200)])
    shares = np.bincount(places, minlength=4) / len(places)
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.005)


def test_new_steps_have_the_largest_error_so_far_and_are_drawn_soon():
    has_next = np.array([True, True, True, False, False, False])
    priorities = Priorities(6, 1.0)
    priorities.take_in(has_next, 4)
    priorities.update(np.arange(3), np.array([3.0, 0.5, 0.5]))
    has_next[3:5] = True  # The step that was the newest, and another one.
    priorities.take_in(has_next, 6)
    drawn = priorities.draw(4000, np.random.default_rng(0))
    # 3, 0.5, 0.5, 3, 3 and nothing for the newest, of 10; five can be drawn.
    shares = np.bincount(drawn.place, minlength=6) / 4000
    np.testing.assert_allclose(shares, [0.3, 0.05, 0.05, 0.3, 0.3, 0], atol=0.005)
    assert drawn.selection_ratio[0] == pytest.approx(1.5, rel=1e-4)


def test_a_step_that_was_overwritten_takes_its_priority_along():
    has_next = np.ones(4, bool)
    priorities = four([1.0, 1.0, 1.0, 81.0])
    priorities.take_in(has_next, 7)  # Places 3, 0, 1 and 2; the first one is still there.
    priorities.update(np.array([0, 1, 2]), np.zeros(3))
    has_next[3] = False
    priorities.take_in(has_next, 8)  # Place 3 is the newest now.
    assert 3 not in priorities.draw(500, np.random.default_rng(0)).place


def test_nothing_to_draw_is_named():
    with pytest.raises(NotEnoughDataError, match='holds 0 steps, none of which has a successor'):
        Priorities(4, 0.6).draw(2, np.random.default_rng(0))


def test_the_exponent_0_is_the_uniform_draw_of_before():
    one, other = make(), make()
    for buffer in (one, other):
        fill(buffer, [8, 5, 9])
    first, second = one.sample_transitions(64, 2, 0.9), other.sample_transitions(64, 2, 0.9, 0.0)
    assert set(first) == set(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize('capacity', [100, 20])
def test_drawn_steps_lead_where_they_led_whatever_the_ring_overwrote(capacity):
    buffer = make(capacity)
    rng = np.random.default_rng(1)
    for number in range(6):
        fill(buffer, [8], piece_length=3, first=number)
        batch = buffer.sample_transitions(64, priority_exponent=0.7)
        np.testing.assert_array_equal(
            batch['next_observation'][:, 0], batch['observation'][:, 0] + 1
        )
        assert batch['observation'][:, 0].max() >= 1000 * number  # The new ones come at once.
        buffer.prioritise(batch['place'], rng.exponential(size=64))


def test_each_buffer_learns_of_its_own_rows():
    online, offline = make(), make(seed=1)
    fill(online, [40])
    fill(offline, [40], first=1)
    mixed = MixedBuffer(online, offline, 0.25)
    for _ in range(20):
        batch = mixed.sample_transitions(40, priority_exponent=1.0)
        surprise = np.isin(batch['observation'][:, 0], [7, 1003])
        mixed.prioritise(batch['place'], batch['is_offline'], np.where(surprise, 50.0, 1e-3))
    batch = mixed.sample_transitions(40, priority_exponent=1.0)
    assert set(batch['observation'][~batch['is_offline'], 0]) == {7}
    assert set(batch['observation'][batch['is_offline'], 0]) == {1003}


@pytest.mark.parametrize('capacity', [1000, 30])
def test_a_saved_buffer_draws_the_same_bit_by_bit(capacity):
    def learn(buffer, times):
        drawn = []
        for number in range(times):
            batch = buffer.sample_transitions(16, 2, 0.9, 0.6)
            error = np.abs(np.sin(batch['observation'][:, 0] + number)) * 3
            buffer.prioritise(batch['place'], error)
            drawn.append(batch)
        return drawn

    first = make(capacity)
    fill(first, [12, 9, 15])
    learn(first, 5)
    fill(first, [6], first=3)  # Not drawn yet when it is saved.
    state = json.loads(json.dumps(first.state()))
    second = make(capacity, seed=9)
    fill(second, [12, 9, 15])
    fill(second, [6], first=3)
    second.restore(state)
    for buffer in (first, second):
        fill(buffer, [7], first=4)
    for one, other in zip(learn(first, 8), learn(second, 8), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_sums_that_were_changed_often_equal_those_made_at_once():
    rng = np.random.default_rng(0)
    priorities = Priorities(37, 0.6)
    has_next = np.ones(37, bool)
    priorities.take_in(has_next, 37)
    for _ in range(300):
        priorities.update(rng.integers(0, 37, 8), rng.exponential(size=8))
    again = restored(priorities.state(), has_next, 37)
    one, other = (p.draw(64, np.random.default_rng(1)) for p in (priorities, again))
    assert np.array_equal(one.place, other.place)
    assert np.array_equal(one.selection_ratio, other.selection_ratio)


def test_steps_that_are_gone_after_a_restart_are_not_drawn():
    first = make()
    fill(first, [12, 9])
    batch = first.sample_transitions(16, priority_exponent=0.6)
    first.prioritise(batch['place'], np.ones(16))
    second = make()
    fill(second, [9], first=1)
    second.restore(first.state())
    batch = second.sample_transitions(200, priority_exponent=0.6)
    assert set(batch['observation'][:, 0].astype(int)) <= set(range(1000, 1008))
    assert isinstance(second, ReplayBuffer)
