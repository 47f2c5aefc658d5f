import json

import numpy as np
import pytest
import torch
from point_mass import PERIOD_NS, from_arrays, point_contract
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Rollout
from robot_learning.trajectory.store import TrajectoryStore

DRAW = Rollout(num_steps=8, max_lag=1)


def driven(number, length, version=1, start=0.0, ends='truncated'):
    """An episode whose places count up by 0.01; the last step's action was never executed."""
    place = start + 0.01 * np.arange(length)
    end = [False] * (length - 1) + [True]
    none = [False] * length
    terminated, truncated = (end, none) if ends == 'terminated' else (none, end)
    episode = from_arrays(number, place, [0.5] * length, place * 10, terminated, truncated)
    episode.log_prob[:-1] = -0.1 - place[:-1]
    episode.model_version[:-1] = version
    episode.exploring[:-1] = True
    return episode


class Follower:
    """An experience over a store, written to as a recorder would."""

    def __init__(self, root, state=None):
        self.store = TrajectoryStore(root)
        self.experience = Experience(point_contract(), 1000, 0, self.store)
        self.experience.collect_rollouts()
        if state is not None:
            self.experience.restore(json.loads(json.dumps(state)))

    def write(self, *pieces, session='a'):
        self.store.write_segment(list(pieces), session, point_contract())
        self.experience.poll()

    def places(self, newest=1, draw=DRAW):
        """Take a rollout and return the hundredths of the places where actions were chosen."""
        assert self.experience.has_rollout(draw, newest)
        batch = self.experience.rollout(draw)
        return (batch['observation'][0, :, 0] * 100).round().int().tolist(), batch

    def metric(self, name):
        return self.experience.metrics()[f'data/{name}']


def test_each_step_comes_once_with_where_it_led(tmp_path):
    follower = Follower(tmp_path)
    follower.write(driven(0, 7))
    assert not follower.experience.has_rollout(DRAW, 1)  # Six actions.
    follower.write(driven(1, 7, start=1.0, ends='terminated'))
    places, batch = follower.places()
    assert places == [0, 1, 2, 3, 4, 5, 100, 101]
    assert batch['observation'].shape == (1, 8, 1)
    torch.testing.assert_close(batch['next_observation'], batch['observation'] + 0.01)
    torch.testing.assert_close(batch['reward'], batch['next_observation'][..., 0] * 10)
    torch.testing.assert_close(batch['log_prob'], -0.1 - batch['observation'][..., 0])
    assert (batch['action'] == 0.25).all()  # 0.5 m/s of 2.
    assert batch['is_last'][0].tolist() == [False] * 5 + [True, False, True]
    assert not batch['terminated'].any()
    follower.write(driven(2, 6, start=2.0))
    places, batch = follower.places()
    assert places[:4] == [102, 103, 104, 105]
    assert batch['terminated'][0].tolist() == [False] * 3 + [True] + [False] * 4


@pytest.mark.parametrize('cut', [1, 2, 3])
def test_runs_go_on_from_piece_to_piece_and_from_segment_to_segment(tmp_path, cut):
    follower = Follower(tmp_path)
    whole = driven(0, 9)
    for start in range(0, 9, cut):
        follower.write(whole.slice(start, start + cut))
    places, batch = follower.places()
    assert places == list(range(8))
    assert batch['is_last'][0].tolist() == [False] * 7 + [True]


def test_what_the_gate_altered_counts_as_the_policy_drew_it(tmp_path):
    follower = Follower(tmp_path)
    episode = driven(0, 9)
    episode.commanded = episode.action.copy()
    episode.action = np.zeros_like(episode.action)
    episode.altered[:] = True
    follower.write(episode)
    assert (follower.places()[1]['action'] == 0.25).all()


def test_steps_that_no_policy_drew_are_refused_counted_and_cut_the_run(tmp_path):
    follower = Follower(tmp_path)
    episode = driven(0, 12)
    episode.intervention[2] = True
    episode.log_prob[5] = np.nan  # Not exploring.
    episode.model_version[8] = -1
    follower.write(episode)
    places, batch = follower.places()
    assert places == [0, 1, 3, 4, 6, 7, 9, 10]
    assert batch['is_last'][0].tolist() == [False, True] * 4
    assert follower.metric('foreign_steps') == 3


def test_stale_steps_are_refused_and_counted(tmp_path):
    follower = Follower(tmp_path)
    follower.write(driven(0, 6, version=3), driven(1, 6, version=4, start=1.0))
    assert not follower.experience.has_rollout(DRAW, 5)
    assert follower.metric('stale_steps') == 5
    follower.write(driven(2, 6, version=5, start=2.0))
    places, _ = follower.places(newest=5)
    assert places == [100, 101, 102, 103, 104, 200, 201, 202]
    assert not follower.experience.has_rollout(DRAW, 7)
    assert follower.metric('stale_steps') == 7  # Two were left, of version 5.
    assert follower.metric('rollout_steps') == 0


def test_no_transition_crosses_a_gap(tmp_path):
    follower = Follower(tmp_path)
    episode = driven(0, 10)
    episode.stamp_ns[4:] += 2 * PERIOD_NS
    follower.write(episode)
    places, batch = follower.places()
    assert places == [0, 1, 2, 4, 5, 6, 7, 8]
    assert batch['is_last'][0].tolist() == [False, False, True] + [False] * 4 + [True]


def test_sessions_that_grow_in_turn_do_not_continue_each_other(tmp_path):
    follower = Follower(tmp_path)
    one, other = driven(0, 6), driven(0, 6, start=1.0)
    for start in (0, 3):
        follower.write(one.slice(start, start + 3), session='a')
        follower.write(other.slice(start, start + 3), session='b')
    places, batch = follower.places()
    assert places == [0, 1, 100, 101, 2, 3, 4, 102]
    ends = [index for index, is_last in enumerate(batch['is_last'][0]) if is_last]
    assert ends == [1, 3, 6, 7]


def test_appended_data_gives_no_rollouts():
    experience = Experience(point_contract(), 1000, 0)
    experience.collect_rollouts()
    experience.append([driven(0, 30)], 'recorded')
    assert not experience.has_rollout(DRAW, 1)


@pytest.mark.parametrize('taken', [False, True])
def test_a_restart_goes_on_with_the_same_steps(tmp_path, taken):
    follower = Follower(tmp_path)
    episode = driven(0, 20)
    episode.intervention[6] = True
    for start in range(0, 12, 3):
        follower.write(episode.slice(start, start + 3))
        follower.write(driven(start, 2, start=1.0), session='b')
    if taken:
        follower.places()
    again = Follower(tmp_path, follower.experience.state())
    assert again.experience.metrics() == follower.experience.metrics()
    for each in (follower, again):
        each.experience.poll()
    follower.write(episode.slice(12, 20))
    again.experience.poll()
    first, second = follower.places()[1], again.places()[1]
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert again.experience.state()['rollouts'] == follower.experience.state()['rollouts']


def test_steps_whose_segments_are_gone_after_a_restart_are_counted(tmp_path):
    follower = Follower(tmp_path)
    follower.write(driven(0, 5))
    follower.write(driven(1, 4, start=1.0))
    state = follower.experience.state()
    follower.store.segments()[0].unlink()
    again = Follower(tmp_path, state)
    assert again.metric('dropped_steps') == 4
    assert again.metric('rollout_steps') == 3
