"""One writer per session: a receiver, a recorder or a repair, never two of them."""

import pytest
from robot_learning.errors import StoreError
from robot_learning.replication import segment_shelf
from robot_learning.trajectory.store import TrajectoryStore
from robot_learning.trajectory.store_files import SessionLock, is_being_written
from robot_learning.trajectory.store_repair import repair_store
from wire import Host, Wire, contents, write_segment

REPLICA = 'monday@robot1'


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def robot(wire, tmp_path):
    return Host(wire, tmp_path, 'robot1', sends=('segments',))


@pytest.fixture
def learner(wire, tmp_path):
    return Host(wire, tmp_path, 'learner', receives=('segments',))


def test_a_session_that_is_received_is_closed_to_recorders_and_repairs(wire, robot, learner):
    write_segment(robot.store, 'monday', 0)
    wire.run(5)
    assert is_being_written(learner.store / REPLICA)
    with pytest.raises(StoreError, match=r'monday@robot1: .*Another process writes or repairs'):
        TrajectoryStore(learner.store).write_segment([], REPLICA, None)
    with pytest.raises(StoreError, match='nothing was changed'):
        repair_store(learner.store)
    learner.die()
    assert not is_being_written(learner.store / REPLICA)


def test_a_session_that_somebody_writes_is_waited_for_and_named(wire, robot, learner):
    folder = learner.store / REPLICA
    folder.mkdir(parents=True)
    recorder = SessionLock(folder)
    write_segment(robot.store, 'monday', 0)
    wire.run(10)
    receiver = learner.receivers['segments']
    assert contents(learner.store) == {}
    assert f'{REPLICA} is written or repaired by another process' in receiver.error
    assert 'Free space' not in receiver.error
    sent = wire.chunk_bytes()
    recorder.release()
    wire.run(10)
    assert len(contents(learner.store)) == 1
    assert receiver.error == ''
    assert wire.chunk_bytes() == sent  # What had come was kept.


def test_a_segment_that_somebody_else_wrote_is_never_replaced(wire, robot, learner):
    write_segment(robot.store, 'monday', 0)
    wire.run(5)
    learner.die()
    learner = Host(wire, learner.store.parent.parent, 'learner', receives=('segments',))
    foreign = write_segment(learner.store, REPLICA, 1, 300).read_bytes()
    for number in (1, 2):
        write_segment(robot.store, 'monday', number)
    wire.run(10)
    path = learner.store / REPLICA / 'segment_000001.hdf5'
    assert path.read_bytes() == foreign
    assert (path.parent / 'segment_000002.hdf5').exists()
    assert 'another process has written this session' in learner.receivers['segments'].last_refusal


def test_locks_of_sessions_that_stopped_growing_are_given_back(wire, robot, learner, monkeypatch):
    monkeypatch.setattr(segment_shelf, '_MAX_LOCKS', 2)
    for day in range(4):
        write_segment(robot.store, f'day{day}', 0)
        wire.run(5)
    locked = [is_being_written(learner.store / f'day{day}@robot1') for day in range(4)]
    assert locked == [False, False, True, True]
    write_segment(robot.store, 'day0', 1)
    wire.run(5)
    assert is_being_written(learner.store / 'day0@robot1')
    assert len(contents(learner.store)) == 5
