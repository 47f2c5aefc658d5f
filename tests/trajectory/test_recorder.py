import time

import numpy as np
import pytest
from recordings import (
    PERIOD_NS,
    assert_accounted,
    assert_equal,
    begin,
    decision,
    end,
    give,
    goal,
    in_time,
    lock_step,
    odom,
    outcome,
    record,
    robot,
    shuffled,
    wheels,
)
from robot_learning.errors import ContractError
from robot_learning.trajectory.recorder import Recorder, RecorderConfig

S = 1_000_000_000


def test_lock_step_episodes_hold_what_was_sent():
    (first, second), recorder = record(lock_step([4, 3], first=5 * S))
    assert (len(first), len(second)) == (4, 3)
    np.testing.assert_array_equal(first.stamp_ns, 5 * S + PERIOD_NS * np.arange(4))
    np.testing.assert_array_equal(first.observations['pose'][:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(second.observations['pose'][:, 0], [1000, 1001, 1002])
    np.testing.assert_array_equal(second.observations['goal'][:, 0], [1, 1, 1])
    np.testing.assert_array_equal(first.reward, [0, 1, 2, 3])
    np.testing.assert_array_equal(first.commanded[:, 0], [1, 2, 3, 0])
    np.testing.assert_array_equal(first.action[:, 0], [0.5, 1, 1.5, 0])
    np.testing.assert_array_equal(first.altered, [True, True, True, False])
    np.testing.assert_array_equal(first.model_version, [3, 3, 3, -1])
    np.testing.assert_array_equal(first.intervention, [False, True, False, False])
    np.testing.assert_array_equal(first.exploring, [True, False, True, False])
    assert np.isnan(first.log_prob[-1]) and np.all(first.log_prob[:-1] == -1.5)
    np.testing.assert_array_equal(first.is_first, [True, False, False, False])
    np.testing.assert_array_equal(first.terminated, [False, False, False, True])
    assert not first.truncated.any()
    np.testing.assert_array_equal(second.truncated, [False, False, True])
    assert not second.terminated.any()
    assert all(field.all() for field in first.present.values())
    assert first.attributes['seed'] == 100 and first.attributes['reason'] == 'goal'
    assert second.attributes['source_episode'] == 1
    assert second.attributes['reason'] == 'time_limit'
    assert recorder.num_steps == 7 and recorder.num_episodes == 2


@pytest.mark.parametrize('seed', range(25))
def test_arrival_order_within_the_window_changes_nothing(seed):
    script = lock_step([9, 2, 14, 5])
    expected, _ = record(script)
    found, recorder = record(
        shuffled(script, window_ns=450_000_000, seed=seed), collect_every=1 + seed
    )
    assert len(expected) == len(found) == 4
    for a, b in zip(expected, found, strict=True):
        assert_equal(a, b)
        assert a.attributes['reason'] == b.attributes['reason']
        assert a.attributes['seed'] == b.attributes['seed']
    assert recorder.counts()['odom'].late == 0


@pytest.mark.parametrize('seed', range(10))
def test_free_running_readings_match_a_brute_force_lookup(seed):
    rng = np.random.default_rng(seed)
    stamps = np.unique(rng.integers(0, 5 * S, 60)) + 1
    wheel_stamps = np.unique(rng.integers(0, 5 * S, 40)) + 1
    times = np.unique(rng.integers(0, 5 * S, 50)) + 1
    script = [goal(0)]
    script += [odom(int(t), float(i)) for i, t in enumerate(stamps)]
    script += [wheels(int(t), float(i)) for i, t in enumerate(wheel_stamps)]
    script += [decision(int(t), 1.0) for t in times]
    script = shuffled(script, window_ns=400_000_000, seed=seed)
    episodes, _ = record(script, topic_timeout_s=2.0)

    expected = []
    for t in times:
        before = stamps[stamps <= t]
        if len(before) and t - before[-1] <= 150_000_000:
            wheel = wheel_stamps[wheel_stamps <= t]
            has_wheel = bool(len(wheel)) and t - wheel[-1] <= 120_000_000
            expected.append((t, before[-1], len(before) - 1, has_wheel))
    found = [
        (
            episode.stamp_ns[i],
            episode.field_stamp_ns['pose'][i],
            episode.observations['pose'][i, 0],
            episode.present['wheels'][i],
        )
        for episode in episodes
        for i in range(len(episode))
    ]
    assert found == expected


def test_a_gap_is_masked_and_repeats_the_last_value():
    script = [goal(0)]
    script += [m for t in range(5) for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, 1))]
    script += [wheels(PERIOD_NS, 7.0)]
    (episode,), recorder = record(in_time(script))
    np.testing.assert_array_equal(episode.present['wheels'], [False, True, True, False, False])
    np.testing.assert_array_equal(episode.observations['wheels'][:, 0], [0, 7, 7, 7, 7])
    np.testing.assert_array_equal(
        episode.field_stamp_ns['wheels'], [-1, PERIOD_NS, PERIOD_NS, PERIOD_NS, PERIOD_NS]
    )
    np.testing.assert_allclose(episode.field_age_s['wheels'], [np.inf, 0, 0.1, 0.2, 0.3])
    assert recorder.gaps['wheels'] == 3


def test_a_step_without_a_required_field_is_left_out_and_counted():
    script = [goal(0)]
    for step in range(8):
        now = step * PERIOD_NS
        script += [] if step in (3, 4, 5) else [odom(now, step)]
        script += [decision(now, step)]
    (episode,), recorder = record(script)
    # The reading of step 2 is still young enough at step 3, 100 ms later.
    np.testing.assert_array_equal(episode.stamp_ns // PERIOD_NS, [0, 1, 2, 3, 6, 7])
    assert episode.attributes['skipped_steps'] == 2
    assert recorder.missing['pose'] == 2


def test_rewards_between_two_decisions_are_added_up():
    script = [goal(0), *[odom(t * PERIOD_NS, t) for t in range(10)]]
    script += [outcome(t * PERIOD_NS, 0, t, reward=1.0 if t else 0.0) for t in range(10)]
    script += [decision(t * PERIOD_NS, 1) for t in (0, 3, 5)]
    script += [decision(5 * PERIOD_NS + 7, 1)]  # Since the last one the task gave nothing.
    (episode,), _ = record(in_time(script))
    np.testing.assert_array_equal(episode.reward, [0, 3, 2, 0])


def test_the_reward_of_a_lost_outcome_is_unknown_and_not_zero():
    script = lock_step([8])
    lost = [m for m in script if not (hasattr(m, 'reward') and m.step in (3, 4, 6))]
    (whole,), _ = record(script)
    (episode,), _ = record(lost)
    expected = whole.reward.copy()
    expected[[3, 4, 6]] = np.nan
    np.testing.assert_array_equal(episode.reward, expected)


def test_a_sum_that_lacks_a_lost_outcome_is_unknown():
    script = [goal(0), *[odom(t * PERIOD_NS, t) for t in range(8)]]
    script += [outcome(t * PERIOD_NS, 0, t, reward=1.0) for t in range(8) if t != 2]
    script += [decision(t * PERIOD_NS, 1) for t in (0, 3, 5, 7)]
    (episode,), _ = record(in_time(script))
    np.testing.assert_array_equal(episode.reward, [1, np.nan, 2, 2])


def test_an_end_without_a_decision_becomes_the_last_step():
    script = [goal(0), *[odom(t * PERIOD_NS, t) for t in range(5)]]
    script += [outcome(t * PERIOD_NS, 0, t, 1.0, terminated=t == 4) for t in range(5)]
    script += [decision(t * PERIOD_NS, 1) for t in (0, 2)]
    (episode,), _ = record(in_time(script))
    np.testing.assert_array_equal(episode.stamp_ns // PERIOD_NS, [0, 2, 4])
    assert episode.terminated[-1] and not episode.truncated[-1]


def test_without_a_task_rewards_are_unknown_and_marks_are_the_edges():
    script = [goal(0)]
    script += [m for t in range(9) for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, t))]
    script += [end(3 * PERIOD_NS, reason='operator', success=True), begin(6 * PERIOD_NS, seed=4)]
    (first, second), _ = record(in_time(script))
    np.testing.assert_array_equal(first.stamp_ns // PERIOD_NS, [0, 1, 2, 3])
    np.testing.assert_array_equal(second.stamp_ns // PERIOD_NS, [6, 7, 8])
    assert np.isnan(first.reward).all()
    assert first.truncated[-1] and first.attributes['success'] is True
    assert second.is_first[0] and second.attributes['seed'] == 4


def test_a_discarded_episode_leaves_nothing():
    script = [goal(0)]
    script += [m for t in range(4) for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, t))]
    script += [end(3 * PERIOD_NS, discard=True, reason='discarded')]
    episodes, recorder = record(in_time(script), collect_every=1000)
    assert episodes == [] and recorder.num_steps == 0


def test_nothing_is_recorded_before_the_begin_if_told_so():
    script = [goal(0)]
    script += [m for t in range(6) for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, t))]
    script += [begin(4 * PERIOD_NS)]
    (episode,), recorder = record(in_time(script), auto_start=False)
    np.testing.assert_array_equal(episode.stamp_ns // PERIOD_NS, [4, 5])
    assert recorder.counts()['policy_action'].unneeded == 4


def test_time_limit_and_silence_end_episodes():
    times = [*range(6), *range(40, 44)]
    script = [goal(0)]
    script += [m for t in times for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, t))]
    episodes, _ = record(in_time(script), time_limit_s=0.3)
    assert [len(e) for e in episodes] == [4, 2, 4]
    assert [e.attributes['reason'] for e in episodes] == [
        'time_limit',
        'timeout: policy_action',
        'time_limit',
    ]
    assert all(e.truncated[-1] and e.is_first[0] for e in episodes)


def test_a_silent_topic_is_named():
    script = [goal(0), *[odom(t * PERIOD_NS, t) for t in range(5)]]
    script += [decision(t * PERIOD_NS, t) for t in range(50)]
    (episode,), _ = record(in_time(script))
    assert episode.attributes['reason'] == 'timeout: odom'


def test_a_clock_that_jumps_back_ends_the_episode_and_loses_no_step():
    script = [*lock_step([6], first=50 * S)[:-10], *lock_step([4])]
    episodes, _ = record(script)
    assert [e.attributes['reason'] for e in episodes] == ['clock_jump', 'goal']
    assert [len(e) for e in episodes][1] == 4
    assert episodes[1].stamp_ns[0] == 0


def test_one_straggler_is_disorder_and_no_clock_jump():
    script = [goal(0)]
    script += [m for t in range(60) for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, t))]
    script.insert(101, odom(PERIOD_NS // 2, 99))
    (episode,), recorder = record(script)
    assert len(episode) == 60
    assert recorder.counts()['odom'].out_of_order == 1


def test_counts_name_what_became_of_every_message():
    script = [goal(0)]
    script += [m for t in range(20) for m in (odom(t * PERIOD_NS, t), decision(t * PERIOD_NS, t))]
    script += [odom(19 * PERIOD_NS, 5), odom(18 * PERIOD_NS + 1, 5)]  # Twice; too early to use.
    script += [odom(20 * PERIOD_NS, np.nan)]
    script += [odom(2 * PERIOD_NS + 5, 1.0)]  # Far too late, though its own step is long made.
    recorder = Recorder(robot(), RecorderConfig())
    for message in script:
        give(recorder, message)
    assert_accounted(recorder)
    recorder.drop('odom', 3)
    recorder.refuse('odom')
    recorder.close()
    counts = recorder.counts()['odom']
    assert counts.received == 25 and counts.used == 20 and counts.duplicates == 1
    assert counts.non_finite == 1 and counts.refused == 1 and counts.dropped == 3
    assert counts.out_of_order == 2 and counts.pending == 0
    assert_accounted(recorder)


def test_counts_notice_a_lost_message():
    recorder = Recorder(robot(), RecorderConfig())
    recorder.counts()['odom'].received += 1  # As a bug would.
    assert recorder.counts()['odom'].unaccounted == 1


def test_memory_is_bounded_when_no_decision_comes():
    recorder = Recorder(robot(), RecorderConfig(max_pending=50))
    for t in range(5000):
        give(recorder, odom(t * 1_000_000, t))
    assert recorder.counts()['odom'].pending <= 50
    assert_accounted(recorder)


def test_pieces_join_to_the_same_episode_however_often_they_are_collected():
    script = lock_step([30, 11])
    whole, _ = record(script, collect_every=10_000)
    for every in (1, 3, 50):
        parts, _ = record(script, collect_every=every)
        for a, b in zip(whole, parts, strict=True):
            assert_equal(a, b)


def test_derived_actions_are_what_was_measured_at_the_next_step():
    script = [goal(0), *[odom(t * PERIOD_NS // 2, t) for t in range(1, 21)]]
    (episode,), _ = record(script, actions_from='derived')
    ticks = episode.stamp_ns // PERIOD_NS
    np.testing.assert_array_equal(ticks, np.arange(1, 11))
    np.testing.assert_allclose(episode.action[:-1, 0], 2 * ticks[1:] / 10)
    np.testing.assert_array_equal(episode.action[-1], [0, 0])
    assert np.isnan(episode.log_prob).all() and not episode.altered.any()


def test_commands_are_those_in_force_until_the_next_step():
    script = [goal(0), *[odom(t * PERIOD_NS, t) for t in range(8)]]
    for stamp, value in ((10_000_000, 0.1), (130_000_000, 0.2), (190_000_000, 0.3)):
        script.append(('cmd_vel', stamp, {'command/base': np.full(2, value, np.float32)}))
    (episode,), _ = record(in_time(script), actions_from='commands')
    # Valid for max_age_s (0.2 s) and one control period; then the robot has stopped.
    np.testing.assert_allclose(episode.action[:, 0], [0.1, 0.3, 0.3, 0.3, 0, 0, 0, 0])


def test_a_grid_survives_hours_without_data():
    script = [goal(0), *[odom(t * PERIOD_NS, t) for t in range(5)]]
    script += [odom(36_000 * S + t * PERIOD_NS, t) for t in range(5)]
    began = time.process_time()
    episodes, _ = record(script, actions_from='derived')
    assert [len(e) for e in episodes] == [6, 5]  # The last reading is young enough for two.
    assert time.process_time() - began < 2.0


def test_actions_cannot_be_derived_from_nothing():
    data = robot().to_dict()
    data['actions']['base']['derive_from'] = None
    contract = robot(actions=data['actions'])
    with pytest.raises(ContractError, match="action 'base' has no derive_from"):
        Recorder(contract, RecorderConfig(actions_from='derived'))
