import json

import numpy as np
import pytest
import torch
from point_mass import episodes, from_arrays, point_contract, write_store
from robot_learning.errors import DataError
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Transitions
from robot_learning.trajectory.store import TrajectoryStore


def follow(root, **settings):
    return Experience(point_contract(), 10_000, 0, TrajectoryStore(root), **settings)


def steps_of(recorded):
    return sum(len(episode) for episode in recorded)


def test_only_new_segments_are_taken_in(tmp_path):
    write_store(tmp_path, 10, seed=0)
    experience = follow(tmp_path)
    assert experience.poll() == steps_of(episodes(10, 0))
    assert experience.poll() == 0
    write_store(tmp_path, 5, seed=1, first=10)
    assert experience.poll() == steps_of(episodes(5, 1))
    assert experience.num_episodes == 15
    assert experience.segments == [f'a/segment_{n:06d}.hdf5' for n in range(3)]


def test_a_store_that_does_not_exist_yet_is_waited_for(tmp_path):
    experience = follow(tmp_path / 'later')
    assert experience.poll() == 0
    write_store(tmp_path / 'later', 5, seed=0)
    assert experience.poll() > 0


def test_batches_hold_features_and_normalised_actions_of_real_transitions():
    contract = point_contract(features=[{'kind': 'vector', 'fields': ['place'], 'scale': [4.0]}])
    experience = Experience(contract, 1000, seed=0)
    recorded = episodes(20, seed=0)
    experience.append(recorded, 'test')
    batch = experience.sample(Transitions(200, 1, 0.9))
    place, following = 4 * batch['observation'], 4 * batch['next_observation']
    speed = 2 * batch['action']  # Limits are -2 and 2 m/s.
    np.testing.assert_allclose(following, place + 0.5 * speed, atol=1e-5)
    np.testing.assert_allclose(batch['reward'], -(following[:, 0] ** 2), atol=1e-5)
    ended = following[:, 0].abs() > 3
    np.testing.assert_allclose(batch['discount'], 0.9 * (1 - ended.float()), atol=1e-6)


def test_demonstrations_fill_their_share_of_every_batch():
    experience = Experience(point_contract(), 1000, seed=0, demonstration_ratio=0.25)
    experience.append(episodes(5, seed=0, policy=lambda place: 0.0), 'online')
    experience.append_demonstrations(episodes(5, seed=1, policy=lambda place: 1.0), 'shown')
    for _ in range(3):
        action = experience.sample(Transitions(64, 1, 0.9))['action'][:, 0]
        assert (action == 0.5).sum() == 16
        assert (action == 0.0).sum() == 48
    assert experience.environment_step == steps_of(episodes(5, seed=0, policy=lambda place: 0.0))


def helped_episode(person, length=12):
    """Return an episode in whose steps `person` a person drove; place k at step k."""
    places = np.arange(length) / 100
    recorded = from_arrays(0, places, [0.1] * length, [0.0] * length, [False] * length)
    recorded.intervention[list(person)] = True
    return recorded


@pytest.mark.parametrize('cut', [1, 3, 4, 5, 6, 12])
def test_what_a_person_did_is_experience_and_demonstration(cut):
    experience = Experience(
        point_contract(),
        1000,
        seed=0,
        demonstration_ratio=0.5,
        interventions_as_demonstrations=True,
    )
    recorded = helped_episode(person=(3, 4, 8))
    for start in range(0, 12, cut):  # Pieces, as a recorder writes them.
        experience.append([recorded.slice(start, start + cut)], 'robot')
    draws = [experience.sample(Transitions(40, 1, 0.9)) for _ in range(20)]
    batch = {name: torch.cat([draw[name] for draw in draws]) for name in draws[0]}
    step = (batch['observation'][:, 0] * 100).round().int()
    following = (batch['next_observation'][:, 0] * 100).round().int()
    assert (following == step + 1).all()
    assert set(step[batch['is_offline']].tolist()) == {3, 4, 8}
    assert set(step[~batch['is_offline']].tolist()) == set(range(11))
    assert batch['intervention'][batch['is_offline']].all()
    assert experience.environment_step == 12


def test_a_restart_in_the_middle_of_a_takeover_draws_the_same_batches(tmp_path):
    settings = {'demonstration_ratio': 0.5, 'interventions_as_demonstrations': True}
    recorded = helped_episode(person=(2, 3, 4, 5))
    store = TrajectoryStore(tmp_path)
    store.write_segment([recorded.slice(0, 4)], 'a', point_contract())
    first = follow(tmp_path, **settings)
    first.poll()
    first.sample(Transitions(8, 1, 0.9))
    second = follow(tmp_path, **settings)
    second.restore(first.state())
    store.write_segment([recorded.slice(4, 12)], 'a', point_contract())
    first.poll()
    second.poll()
    one, other = first.sample(Transitions(16, 1, 0.9)), second.sample(Transitions(16, 1, 0.9))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one['is_offline'].any()


def test_demonstrations_of_a_person_are_only_taken_where_they_are_wanted():
    experience = Experience(point_contract(), 1000, seed=0, demonstration_ratio=0.5)
    experience.append([helped_episode(person=(3, 4, 8))], 'robot')
    assert experience.num_demonstrations == 0
    assert not experience.sample(Transitions(50, 1, 0.9))['is_offline'].any()


def test_steps_that_are_not_finite_are_left_out_and_named():
    places = [0.0, 0.1, np.nan, 0.3, 0.4]
    broken = from_arrays(0, places, [0.1] * 5, [0.0] * 5, [False] * 5)
    experience = Experience(point_contract(), 100, seed=0)
    experience.append([broken], 'bag')
    batch = experience.sample(Transitions(100, 1, 0.9))
    pairs = {
        (round(float(a), 1), round(float(b), 1))
        for a, b in zip(batch['observation'], batch['next_observation'], strict=True)
    }
    assert pairs == {(0.0, 0.1), (0.3, 0.4)}
    assert '1 of 5 steps' in experience.skipped[0]


def rewarded(rewards):
    steps = len(rewards)
    places = [0.1 * step for step in range(steps)]
    return from_arrays(0, places, [0.1] * steps, rewards, [False] * steps)


def starts(experience):
    batch = experience.sample(Transitions(200, 1, 0.9))
    assert batch['reward'].isfinite().all()
    return {round(float(place), 1) for place in batch['observation']}


def test_steps_whose_reward_was_lost_are_left_out_where_it_is_needed_and_counted():
    lost = rewarded([np.nan, 1.0, np.nan, 1.0, 1.0])  # None is received at a start.
    experience = Experience(point_contract(), 100, seed=0, needs_reward=True)
    experience.append([lost], 'robot')
    assert starts(experience) == {0.0, 0.3}
    assert experience.metrics()['data/without_reward'] == 1
    assert experience.lacks_rewards.startswith('1 steps came without a reward')
    restored = Experience(point_contract(), 100, seed=0, needs_reward=True)
    restored.restore(json.loads(json.dumps(experience.state())))
    assert restored.num_without_reward == 1
    indifferent = Experience(point_contract(), 100, seed=0)
    indifferent.append([lost], 'robot')
    assert indifferent.num_steps == 5 and not indifferent.lacks_rewards


def test_a_task_that_begins_late_is_learned_from_as_soon_as_it_gives_rewards():
    experience = Experience(point_contract(), 100, seed=0, needs_reward=True)
    experience.append([rewarded([np.nan] * 5)], 'robot')
    assert experience.num_steps == 0
    assert '5 steps came without a reward' in experience.lacks_rewards
    experience.append([rewarded([0.0, 1.0, 1.0])], 'robot')
    assert starts(experience) == {0.0, 0.1}


def test_a_broken_segment_is_named_and_passed_over(tmp_path):
    write_store(tmp_path, 15, seed=0)
    broken = tmp_path / 'a' / 'segment_000001.hdf5'
    broken.write_bytes(broken.read_bytes()[:2000])
    experience = follow(tmp_path)
    experience.poll()
    assert experience.num_episodes == 10
    assert str(broken) in experience.skipped[0]
    assert experience.metrics()['data/skipped_segments'] == 1


def test_segments_of_a_robot_that_does_not_fit_are_named(tmp_path):
    write_store(tmp_path, 5, seed=0)
    other = point_contract()
    other.observation['place'].__dict__['unit'] = 'rad'
    experience = Experience(other, 100, 0, TrajectoryStore(tmp_path))
    assert experience.poll() == 0
    assert "field place: unit is 'm', expected 'rad'" in experience.skipped[0]


def test_segments_of_a_contract_that_differs_elsewhere_are_used(tmp_path):
    write_store(tmp_path, 5, seed=0)
    other = point_contract(description='The same robot, described better')
    experience = Experience(other, 100, 0, TrajectoryStore(tmp_path))
    assert experience.poll() > 0


def test_returns_and_successes_are_those_of_whole_episodes():
    experience = Experience(point_contract(), 100, seed=0)
    whole = from_arrays(3, [0.5, 0.4, 0.0], [0] * 3, [0, -1, -2], [False, False, True])
    experience.append([whole.slice(0, 2)], 'session')
    assert 'episode/return' not in experience.metrics()
    experience.append([whole.slice(2, 3)], 'session')
    assert experience.metrics() == {
        'episode/count': 1.0,
        'episode/return': -3.0,
        'episode/success': 1.0,
    }


def test_a_restored_experience_draws_what_the_first_would_have_drawn(tmp_path):
    write_store(tmp_path, 10, seed=0, session='b')
    experience = follow(tmp_path)
    experience.poll()
    write_store(tmp_path, 10, seed=1, session='a')  # By name before, consumed after.
    experience.poll()
    experience.sample(Transitions(32, 1, 0.9))
    state = experience.state()
    expected = experience.sample(Transitions(32, 1, 0.9))
    again = follow(tmp_path)
    again.restore(state)
    assert again.poll() == 0
    assert again.environment_step == experience.environment_step
    found = again.sample(Transitions(32, 1, 0.9))
    assert all((found[name] == expected[name]).all() for name in expected)


def test_counters_go_on_when_old_segments_were_pruned(tmp_path):
    store = write_store(tmp_path, 30, seed=0)
    recorded = episodes(30, 0)
    experience = follow(tmp_path)
    experience.poll()
    experience.append([recorded[0].slice(0, 2)], 'unfinished')  # Its return is still open.
    state = json.loads(json.dumps(experience.state()))
    for path in store.segments()[:3]:
        path.unlink()
    again = follow(tmp_path)
    again.restore(state)
    assert len(again.skipped) == 3
    assert again.environment_step == steps_of(recorded) + 2
    assert again.metrics() == experience.metrics()
    for each in (experience, again):
        each.append([recorded[0].slice(2, len(recorded[0]))], 'unfinished')
    assert again.metrics() == experience.metrics()


def test_incompatible_actions_are_refused(tmp_path):
    from robot_learning.phases.contract_fit import check_compatible

    data = point_contract().to_dict()
    data['actions']['speed']['components'] = ['velocity']
    from robot_learning import contract as contracts

    with pytest.raises(DataError, match=r'velocity.*expected.*speed'):
        check_compatible(contracts.from_dict(data), point_contract(), ['place'], 'there')
