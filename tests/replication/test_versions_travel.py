import dataclasses
import json
import shutil

import pytest
from robot_learning import model_signatures
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.replication.protocol import Chunk
from wire import CONFIG, Host, Wire, contents, publish


def learner_and_robot(wire, tmp_path, **robot_options):
    learner = Host(wire, tmp_path, 'learner', sends=('models',))
    robot = Host(wire, tmp_path, 'robot1', receives=('models',), **robot_options)
    return learner, robot


def test_versions_arrive_whole_and_can_be_served(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    for _ in range(3):
        publish(learner.models)
    publish(learner.models, 'cloned')
    wire.run(10)
    store = ModelStore(robot.models)
    assert store.names() == ['cloned', 'navigator']
    assert store.versions('navigator') == [1, 2, 3]
    assert store.strange_entries() == []
    for version in (1, 2, 3):
        store.verify('navigator', version)
    assert contents(robot.models) == contents(learner.models)


def test_a_version_is_never_there_in_part(tmp_path):
    wire = Wire(loss=0.2, seed=1)
    learner, robot = learner_and_robot(wire, tmp_path)
    publish(learner.models, num_values=20_000)
    for _ in range(400):
        wire.run(0.05)
        if ModelStore(robot.models).versions('navigator'):
            break
        assert contents(robot.models) == {}
    assert contents(robot.models) == contents(learner.models)


def test_the_newest_version_comes_first(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    for _ in range(5):
        publish(learner.models)
    wire.run(10)
    # The first offer that is heard is begun at once; it is that of the newest, too.
    assert [int(arrival.path.name) for arrival in robot.arrivals] == [5, 4, 3, 2, 1]


def test_several_robots_get_the_same_versions(tmp_path):
    wire = Wire(loss=0.1)
    learner, robot = learner_and_robot(wire, tmp_path)
    other = Host(wire, tmp_path, 'robot2', receives=('models',))
    publish(learner.models)
    wire.run(3)
    publish(learner.models)
    wire.run(20)
    assert contents(robot.models) == contents(other.models) == contents(learner.models)


def test_what_the_sender_refused_or_deleted_is_not_sent(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    for _ in range(3):
        publish(learner.models)
    ModelStore(learner.models).refuse('navigator', 2, 'drives into walls')
    shutil.rmtree(learner.models / 'navigator' / '000001')
    wire.run(10)
    assert ModelStore(robot.models).versions('navigator') == [3]


def test_a_version_deleted_on_the_way_does_not_stop_the_next(tmp_path):
    wire = Wire(delay_s=0.02)
    learner, robot = learner_and_robot(wire, tmp_path)
    publish(learner.models, num_values=100_000)
    wire.run(0.3)
    assert any(isinstance(message, Chunk) for message in wire.delivered)
    shutil.rmtree(learner.models / 'navigator' / '000001')
    publish(learner.models, 'other')
    wire.run(40)
    assert ModelStore(robot.models).names() == ['other']


def test_a_killed_receiver_goes_on_between_the_files_of_a_version(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    publish(learner.models, num_values=50_000)
    size = sum(path.stat().st_size for path in learner.models.rglob('*.*'))
    for _ in range(60):  # Killed so often that it also happens between two files.
        wire.run(0.01)
        robot.die()
        robot = Host(wire, tmp_path, 'robot1', receives=('models',))
    wire.run(20)
    assert contents(robot.models) == contents(learner.models)
    assert wire.chunk_bytes() < 2 * size


def test_signatures_travel_also_when_they_were_made_later(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    publish(learner.models)
    wire.run(5)
    assert not ModelStore(robot.models).has_signature('navigator', 1)
    signer = model_signatures.generate_key(tmp_path / 'key')
    ModelStore(learner.models).sign('navigator', 1, signer)
    wire.run(5)
    assert contents(robot.models) == contents(learner.models)
    assert ModelStore(robot.models).has_signature('navigator', 1)


def test_a_receiver_that_wants_signatures_takes_a_version_once_it_is_signed(tmp_path):
    wire = Wire()
    trusted = tmp_path / 'trusted_keys.json'
    rules = ModelFileRules(require_signature=True, trusted_keys=trusted)
    signer = model_signatures.generate_key(tmp_path / 'key')
    trusted.write_text(json.dumps({'format': 1, 'keys': []}))
    learner, robot = learner_and_robot(wire, tmp_path, rules=rules)
    publish(learner.models)
    wire.run(10)
    assert ModelStore(robot.models).names() == []
    assert 'not signed' in robot.receivers['models'].last_refusal
    ModelStore(learner.models).sign('navigator', 1, signer)
    wire.run(10)
    assert ModelStore(robot.models).names() == []  # Nobody here trusts that key.
    assert 'not trusted' in robot.receivers['models'].last_refusal


def test_a_broken_version_is_refused_by_name_and_not_fetched_for_ever(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    publish(learner.models)
    path = learner.models / 'navigator' / '000001' / 'weights.safetensors'
    path.write_bytes(path.read_bytes()[:-4] + b'\0\0\0\0')
    wire.run(30)
    assert ModelStore(robot.models).names() == []
    assert 'SHA-256' in robot.receivers['models'].last_refusal
    assert wire.chunk_bytes() < 3 * path.stat().st_size


def test_two_hosts_that_publish_under_one_name_are_named(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    other = Host(wire, tmp_path, 'learner2', sends=('models',))
    publish(learner.models)
    publish(other.models, num_values=400)
    wire.run(10)
    assert ModelStore(robot.models).versions('navigator') == [1]
    assert 'two hosts publish under one name' in robot.receivers['models'].last_refusal


def test_only_the_newest_versions_are_offered(tmp_path):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    for _ in range(CONFIG.newest_versions + 2):
        publish(learner.models, num_values=4)
    wire.run(20)
    assert ModelStore(robot.models).versions('navigator') == list(range(3, 23))


@pytest.mark.parametrize('num_values', [1, 256, 1024])
def test_files_of_any_size_arrive(tmp_path, num_values):
    wire = Wire()
    learner, robot = learner_and_robot(wire, tmp_path)
    publish(learner.models, num_values=num_values)
    wire.run(5)
    assert contents(robot.models) == contents(learner.models)


def test_a_robot_keeps_a_bounded_number_of_versions_and_fetches_none_twice(tmp_path):
    wire = Wire()
    config = dataclasses.replace(CONFIG, newest_versions=3, kept_versions=4)
    learner = Host(wire, tmp_path, 'learner', sends=('models',), config=config)
    robot = Host(wire, tmp_path, 'robot1', receives=('models',), config=config)
    store = ModelStore(robot.models)
    for version in range(1, 31):
        publish(learner.models)
        wire.run(3)
        if version == 6:
            store.activate('navigator', 2)
    found = store.versions('navigator')
    assert len(found) <= 4 + 5 and found[0] == 2 and found[-4:] == [27, 28, 29, 30]
    assert [int(arrival.path.name) for arrival in robot.arrivals] == list(range(1, 31))
    assert robot.receivers['models'].num_refused == 0


def test_a_trainer_that_began_anew_below_what_is_kept_is_named(tmp_path):
    wire = Wire()
    config = dataclasses.replace(CONFIG, kept_versions=2)
    learner = Host(wire, tmp_path, 'learner', sends=('models',), config=config)
    robot = Host(wire, tmp_path, 'robot1', receives=('models',), config=config)
    for _ in range(10):
        publish(robot.models)
    ModelStore(robot.models).prune('navigator', 0, 2)
    publish(learner.models)
    wire.run(5)
    assert ModelStore(robot.models).versions('navigator') == [9, 10]
    assert 'its trainer began anew' in robot.receivers['models'].last_refusal
