import numpy as np
import pytest
from robot_learning.serving.rollback import RollbackConfig, RollbackWatch

OLD, NEW = ('navigator', 1), ('navigator', 2)


def drive(watch, key, successes, steps=20, altered=False):
    """Let a version drive episodes; return the first complaint."""
    for success in successes:
        for _ in range(steps):
            problem = watch.on_command(key, altered)
            if problem:
                return problem
        problem = watch.on_episode_end(bool(success))
        if problem:
            return problem
    return ''


def test_a_version_that_fails_where_the_one_before_succeeded_is_named_with_numbers():
    watch = RollbackWatch(RollbackConfig())
    assert drive(watch, OLD, [True] * 30) == ''
    problem = drive(watch, NEW, [False] * 30)
    assert 'episodes succeeded, 30 of 30 with the versions before' in problem


def test_few_episodes_prove_nothing():
    watch = RollbackWatch(RollbackConfig(min_episodes=5))
    drive(watch, OLD, [True] * 50)
    assert drive(watch, NEW, [False] * 4) == ''
    assert drive(watch, NEW, [False]) != ''


def test_without_a_version_before_there_is_nothing_to_fall_below():
    assert drive(RollbackWatch(RollbackConfig()), NEW, [False] * 200) == ''


def test_an_absolute_limit_needs_no_version_before():
    watch = RollbackWatch(RollbackConfig(min_success_rate=0.5))
    assert 'surely below 50%' in drive(watch, NEW, [False] * 40)
    assert drive(RollbackWatch(RollbackConfig(min_success_rate=0.5)), NEW, [True] * 200) == ''


def test_old_episodes_leave_the_window():
    watch = RollbackWatch(RollbackConfig(window_episodes=10, min_success_rate=0.6))
    assert drive(watch, NEW, [True] * 100) == ''
    assert drive(watch, NEW, [False] * 9) == ''
    assert '0 of 10 episodes succeeded, surely below 60%' in drive(watch, NEW, [False])


def test_an_episode_that_several_versions_drove_counts_for_none():
    watch = RollbackWatch(RollbackConfig(min_success_rate=0.9))
    for _ in range(100):
        for key in (OLD, NEW):
            for _ in range(10):
                watch.on_command(key, False)
        assert watch.on_episode_end(False) == ''


def test_an_episode_that_a_person_drove_in_part_counts_for_none():
    watch = RollbackWatch(RollbackConfig(min_success_rate=0.9))
    for _ in range(100):
        for key in (NEW, NEW, None):
            watch.on_command(key, False)
        assert watch.on_episode_end(False) == ''


def test_an_episode_that_says_nothing_is_forgotten():
    watch = RollbackWatch(RollbackConfig(min_success_rate=0.9))
    for _ in range(100):
        watch.on_command(NEW, False)
        assert watch.on_episode_end(None) == ''
        assert watch.on_episode_end(False) == ''  # Nobody drove this one.


def test_gate_interventions_far_above_those_before_are_named():
    watch = RollbackWatch(RollbackConfig())
    assert drive(watch, OLD, [True] * 50, steps=40) == ''
    problem = drive(watch, NEW, [True] * 50, steps=40, altered=True)
    assert 'the gate altered 100%' in problem
    assert '0% with the versions before' in problem


def test_an_absolute_limit_on_gate_interventions_needs_no_version_before():
    watch = RollbackWatch(RollbackConfig(max_altered_share=0.5))
    assert 'surely above 50%' in drive(watch, NEW, [True] * 100, steps=40, altered=True)


def test_after_a_condemnation_all_is_measured_anew():
    watch = RollbackWatch(RollbackConfig())
    drive(watch, OLD, [True] * 50)
    assert drive(watch, NEW, [False] * 30) != ''
    watch.condemn(NEW)
    # The world has become harder for all: the version that came back is not condemned too,
    # nor is the next one, which is as good as that.
    assert drive(watch, OLD, [False] * 50) == ''
    assert drive(watch, ('navigator', 3), [False] * 50) == ''


def learning_run(seed, success_of, num_versions, episodes, altered=0.03):
    """Return the complaint of a run in which nothing goes wrong, if there is one."""
    rng = np.random.default_rng(seed)
    watch, is_altered = RollbackWatch(RollbackConfig()), False
    for version in range(num_versions):
        key = ('navigator', version)
        for _ in range(episodes):
            for _ in range(30):
                if rng.random() < 0.1:  # Commands in a row are altered or not together.
                    is_altered = bool(rng.random() < altered)
                problem = watch.on_command(key, is_altered)
                if problem:
                    return problem
            problem = watch.on_episode_end(bool(rng.random() < success_of(version)))
            if problem:
                return problem
    return ''


@pytest.mark.parametrize(
    ('name', 'success_of', 'num_versions', 'episodes'),
    [
        ('learning', lambda version: min(0.95, 0.02 * version), 60, 6),
        ('fluctuating', lambda version: 0.6 + 0.2 * (version % 2), 60, 6),
        ('unchanged', lambda version: 0.5, 10, 40),
        ('long service', lambda version: 0.8, 2, 600),
    ],
)
def test_normal_learning_is_not_condemned(name, success_of, num_versions, episodes):
    found = [learning_run(seed, success_of, num_versions, episodes) for seed in range(6)]
    assert not any(found)


def test_a_collapse_is_found_within_fifteen_episodes_in_most_runs():
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        watch = RollbackWatch(RollbackConfig())
        drive(watch, OLD, rng.random(50) < 0.9)
        found += bool(drive(watch, NEW, rng.random(15) < 0.1))
    assert found >= 16
