import math

import pytest
from robot_learning.evaluation.live_numbers import NUM_RECENT_EPISODES, LiveNumbers

TRAINING = {
    'state': 'training',
    'detail': '',
    'update': 500,
    'updates_per_second': 80.0,
    'train_ratio': 0.9,
    'target_train_ratio': 1.0,
    'version': 2,
}


def test_loop_time_begins_with_the_first_step_and_adds_earlier_sessions():
    numbers = LiveNumbers(steps_before=1000, seconds_before=60.0)
    assert numbers.loop_seconds(500.0) == 60
    numbers.on_steps(0, 500.0)
    assert numbers.loop_seconds(501.0) == 60
    numbers.on_steps(1, 502.0)
    assert numbers.loop_seconds(512.0) == 70
    assert numbers.environment_step == 1001


def test_steps_per_second_forgets_what_is_older_than_its_window():
    numbers = LiveNumbers()
    for second in range(31):
        pace = 10 if second <= 15 else 100
        numbers.on_steps(
            1 + (pace * second if second <= 15 else 150 + pace * (second - 15)), second
        )
    assert numbers.steps_per_second(30.0) == pytest.approx(100)


def test_a_count_that_falls_is_not_taken():
    numbers = LiveNumbers()
    numbers.on_steps(10, 0.0)
    numbers.on_steps(4, 1.0)
    assert numbers.environment_step == 10


def test_recent_success_looks_at_the_last_episodes_only():
    numbers = LiveNumbers()
    assert math.isnan(numbers.recent_success_rate)
    for episode in range(100):
        numbers.on_episode_end(episode, episode >= 75, 'goal', float(episode))
    assert numbers.recent_success_rate == 25 / NUM_RECENT_EPISODES
    assert numbers.num_episodes == 100


def test_events_carry_loop_time_and_step_and_are_given_once():
    numbers = LiveNumbers(steps_before=100, seconds_before=10.0)
    numbers.on_steps(5, 1.0)
    numbers.on_training({'sac/loss': 0.5}, TRAINING, 3.0)
    numbers.on_version('published', 3, '', 4.0)
    training, version = numbers.take_events()
    assert training == {
        'kind': 'training',
        'wall_s': 12.0,
        'environment_step': 105,
        'update': 500,
        'metrics': {'sac/loss': 0.5},
    }
    assert (version['kind'], version['state'], version['wall_s']) == ('version', 'published', 13.0)
    assert numbers.take_events() == []


def test_only_serving_and_rolling_back_change_the_version_in_use():
    numbers = LiveNumbers()
    numbers.on_version('published', 4, '', 0.0)
    assert (numbers.version, numbers.newest_version) == (-1, 4)
    numbers.on_version('serving', 4, '', 0.0)
    numbers.on_version('refused', 5, 'weights are not finite', 0.0)
    assert numbers.version == 4
    assert numbers.refused == ['version 5: weights are not finite']
    numbers.on_version('rolled_back', 3, 'asked', 0.0)
    assert numbers.version == 3


def test_message_counts_go_on_when_the_recorder_starts_again():
    numbers = LiveNumbers()
    for received, dropped in ((10, 0), (50, 2), (3, 0), (5, 1)):
        counts = {'received': str(received), 'dropped': str(dropped)}
        numbers.on_health('robot1/recorder: topic scan', 0, 'receiving', counts, 1.0)
    numbers.on_health('robot1/recorder: store', 0, 'writing', {'total_steps': '4'}, 1.0)
    assert numbers.messages == {'scan': {'received': 55, 'dropped': 3}}
