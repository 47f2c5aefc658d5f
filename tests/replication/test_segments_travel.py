import dataclasses
import os
import time

import pytest
from robot_learning.trajectory.store import TrajectoryStore
from wire import CONFIG, Host, Wire, contents, write_segment


def robot_and_learner(wire, tmp_path, **robot_options):
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',), **robot_options)
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    return robot, learner


def replica(robot):
    """Return what a learner must hold of a robot."""
    return {
        name.replace('/', f'@{robot.name}/', 1): digest
        for name, digest in contents(robot.store).items()
    }


def test_segments_arrive_with_their_content_and_the_name_of_the_host(tmp_path):
    wire = Wire()
    robot, learner = robot_and_learner(wire, tmp_path)
    for number in range(40):
        write_segment(robot.store, 'monday', number)
    wire.run(10)
    assert len(contents(learner.store)) == 40
    assert contents(learner.store) == replica(robot)
    assert TrajectoryStore(learner.store).sessions() == ['monday@robot1']
    assert wire.chunk_bytes() == sum(p.stat().st_size for p in robot.store.rglob('*.hdf5'))


@pytest.mark.parametrize('seed', range(5))
def test_a_wire_that_loses_repeats_and_swaps_messages_changes_nothing(tmp_path, seed):
    wire = Wire(seed, loss=0.2, repeat=0.2, jitter_s=0.01)
    robot, learner = robot_and_learner(wire, tmp_path)
    follower = TrajectoryStore(learner.store).follow()
    seen = []
    for number in range(12):
        write_segment(robot.store, 'monday', number)
        wire.run(1.5)
        seen += [path.name for path in follower.poll()]
    wire.run(200)
    seen += [path.name for path in follower.poll()]
    assert seen == [f'segment_{number:06d}.hdf5' for number in range(12)]
    assert contents(learner.store) == replica(robot)


def test_segments_become_visible_in_order_although_newer_offers_come_first(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    for number in range(60):
        write_segment(robot.store, 'monday', number, 100)
    ahead = Host(wire, tmp_path, 'ahead', receives=('segments',))
    wire.run(20)
    assert len(contents(ahead.store)) == 60
    late = Host(wire, tmp_path, 'late', receives=('segments',))  # Hears what is for the other.
    for number in range(60, 64):
        write_segment(robot.store, 'monday', number, 100)
    wire.run(20)
    for host in (ahead, late):
        names = [arrival.path.name for arrival in host.arrivals]
        assert names == [f'segment_{number:06d}.hdf5' for number in range(64)]


def test_the_newest_session_comes_first(tmp_path):
    wire = Wire()
    robot, learner = robot_and_learner(wire, tmp_path)
    for session in ('20260101', '20260103', '20260102'):
        write_segment(robot.store, session, 0)
    wire.run(10)
    sessions = [arrival.path.parent.name for arrival in learner.arrivals]
    assert sessions == ['20260103@robot1', '20260102@robot1', '20260101@robot1']


def test_what_was_pruned_at_the_sender_leaves_no_hole_to_wait_for(tmp_path):
    wire = Wire()
    robot, learner = robot_and_learner(wire, tmp_path)
    paths = [write_segment(robot.store, 'monday', number) for number in range(10)]
    for path in paths[2:5]:
        path.unlink()
    wire.run(10)
    assert contents(learner.store) == replica(robot)
    assert len(contents(learner.store)) == 7


def test_two_robots_with_the_same_session_do_not_collide(tmp_path):
    wire = Wire()
    robots = [Host(wire, tmp_path, name, sends=('segments',)) for name in ('robot1', 'robot2')]
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    for index, robot in enumerate(robots):
        for number in range(3):
            write_segment(robot.store, 'monday', number + 10 * index)
    wire.run(10)
    assert contents(learner.store) == replica(robots[0]) | replica(robots[1])
    assert len(contents(learner.store)) == 6


def test_a_replica_is_not_offered_on(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    middle = Host(wire, tmp_path, 'middle', receives=('segments',))
    write_segment(robot.store, 'monday', 0)
    wire.run(5)
    middle.die()
    Host(wire, tmp_path, 'middle', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    wire.run(10)
    assert list(contents(learner.store)) == ['monday@robot1/segment_000000.hdf5']


def test_a_cut_wire_costs_at_most_what_was_under_way(tmp_path):
    wire = Wire()
    robot, learner = robot_and_learner(wire, tmp_path)
    path = write_segment(robot.store, 'monday', 0, 300_000)
    wire.run(0.03)
    half = wire.chunk_bytes()
    assert 0 < half < path.stat().st_size
    wire.cut()
    wire.run(30)
    assert contents(learner.store) == {}
    wire.is_cut = False
    wire.run(10)
    assert contents(learner.store) == replica(robot)
    assert wire.chunk_bytes() <= path.stat().st_size + CONFIG.window_bytes


def test_a_killed_receiver_goes_on_with_what_it_had(tmp_path):
    wire = Wire()
    robot, learner = robot_and_learner(wire, tmp_path)
    path = write_segment(robot.store, 'monday', 0, 300_000)
    for _ in range(3):
        wire.run(0.02)
        learner.die()
        assert contents(learner.store) == {}
        learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    wire.run(20)
    assert contents(learner.store) == replica(robot)
    assert wire.chunk_bytes() <= path.stat().st_size + 4 * CONFIG.window_bytes


def test_a_killed_sender_is_asked_again(tmp_path):
    wire = Wire()
    robot, learner = robot_and_learner(wire, tmp_path)
    path = write_segment(robot.store, 'monday', 0, 300_000)
    wire.run(0.03)
    robot.die()
    wire.run(3)
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    wire.run(20)
    assert contents(learner.store) == replica(robot)
    assert wire.chunk_bytes() <= path.stat().st_size + 2 * CONFIG.window_bytes


def test_what_nobody_sent_the_rest_of_for_a_week_goes(tmp_path):
    receiving = tmp_path / 'learner' / 'store' / '.receiving' / 'robot1'
    old, young = (receiving / day / 'segment_000003.hdf5' for day in ('monday', 'tuesday'))
    part = receiving / '.parts' / 'monday.segment_000004.hdf5.0123456789abcdef'
    for path in (old, young, part):
        path.parent.mkdir(parents=True)
        path.write_bytes(b'beginning')
    for path in (old, part):
        os.utime(path, (time.time() - 8 * 86400,) * 2)
    Host(Wire(), tmp_path, 'learner', receives=('segments',))
    assert [path.name for path in receiving.rglob('*')] == ['tuesday', young.name]


def test_a_limited_sender_keeps_to_its_rate(tmp_path):
    wire = Wire()
    slow = dataclasses.replace(CONFIG, max_bytes_per_s=50_000)
    robot, learner = robot_and_learner(wire, tmp_path, config=slow)
    write_segment(robot.store, 'monday', 0, 400_000)
    wire.run(4)
    assert 150_000 <= wire.chunk_bytes() <= 210_000
    wire.run(8)
    assert contents(learner.store) == replica(robot)


def test_nothing_is_said_again_once_all_is_there_but_that_it_is(tmp_path):
    wire = Wire()
    robot, _ = robot_and_learner(wire, tmp_path)
    for number in range(5):
        write_segment(robot.store, 'monday', number)
    wire.run(10)
    count = len(wire.delivered)
    wire.run(20)
    kinds = {type(message).__name__ for message in wire.delivered[count:]}
    assert kinds == {'Holdings'}
    assert len(wire.delivered) - count <= 20 / CONFIG.offer_s + 1
