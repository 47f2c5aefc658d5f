"""HDF5 files made by somebody who wishes us ill, and by chance."""

import json
import multiprocessing
import random
import resource
import time

import h5py
import numpy as np
import pytest
from recordings import lock_step, record, robot
from robot_learning.errors import DataError, RobotLearningError
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.store import TrajectoryStore


@pytest.fixture
def ours(tmp_path):
    """A segment of our own."""
    episodes = record(lock_step([6, 4]))[0]
    return TrajectoryStore(tmp_path / 'store').write_segment(episodes, 'monday', robot())


@pytest.fixture
def theirs(tmp_path):
    """A plain robomimic file."""
    path = tmp_path / 'lift.hdf5'
    with h5py.File(path, 'w') as file:
        demo = file.create_group('data/demo_0')
        demo['actions'] = np.zeros((5, 2))
        demo['obs/pose'] = np.arange(15.0).reshape(5, 3)
    return path


@pytest.fixture
def secret(tmp_path):
    """A file that belongs to somebody else."""
    path = tmp_path / 'secret.hdf5'
    with h5py.File(path, 'w') as file:
        file['numbers'] = np.full((10, 3), 42.0)
    (tmp_path / 'secret.bin').write_bytes(np.full(30, 42.0).tobytes())
    return path


def external_link(group, name, secret):
    group[name] = h5py.ExternalLink(str(secret), '/numbers')


def external_storage(group, name, secret):
    place = [(str(secret.with_suffix('.bin')), 0, 240)]
    group.create_dataset(name, (10, 3), 'f8', external=place)


def virtual(group, name, secret):
    layout = h5py.VirtualLayout((10, 3), 'f8')
    layout[:] = h5py.VirtualSource(str(secret), 'numbers', (10, 3))
    group.create_virtual_dataset(name, layout)


def bomb(group, name, secret):
    group.create_dataset(name, (10, 1 << 36), 'f8', chunks=(1, 1 << 20), compression='gzip')


def bombs(group, name, secret):
    """Each is small enough, all together are not."""
    for number in range(20):
        size = (10, 1 << 20)
        group.create_dataset(
            f'{name}_{number}', size, 'f8', chunks=(10, 1 << 20), compression='gzip'
        )


def objects(group, name, secret):
    group.create_dataset(name, (10,), h5py.string_dtype())


TRAPS = {
    external_link: 'leads to another file',
    external_storage: 'lies in another file',
    virtual: 'lies in another file',
    bomb: 'larger than',
    bombs: 'larger than',
    objects: 'holds values of type object',
}


@pytest.mark.parametrize('trap', TRAPS, ids=lambda trap: trap.__name__)
@pytest.mark.parametrize('whose', ['ours', 'theirs'])
def test_a_trap_is_refused_by_name_before_memory_is_taken(request, whose, trap, secret):
    path = request.getfixturevalue(whose)
    with h5py.File(path, 'r+') as file:
        observations = file['data/demo_0/obs']
        if 'pose' in observations:
            del observations['pose']
        trap(observations, 'pose', secret)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(DataError, match=rf'{path.name}: .*{TRAPS[trap]}'):
        list(read_episodes(path, None, None))
    assert time.process_time() - start < 10
    taken_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert taken_kib < (1_500_000 if trap is bombs else 200_000)


def test_soft_links_within_the_file_are_followed(theirs):
    with h5py.File(theirs, 'r+') as file:
        file['data/demo_0/obs/again'] = h5py.SoftLink('/data/demo_0/obs/pose')
    (episode,) = read_episodes(theirs)
    assert np.array_equal(episode.observations['again'], episode.observations['pose'])


@pytest.mark.parametrize(
    'piece',
    [
        '[' * 50_000,
        '5',
        'null',
        '{}',
        '{"episode": "one", "offset": [], "is_complete": 5, "attributes": 7, "more": 1}',
        '{"episode": 1e999}',
    ],
    ids=lambda piece: piece[:12],
)
def test_a_header_that_is_none_is_named(ours, piece):
    with h5py.File(ours, 'r+') as file:
        file['data/demo_0'].attrs['piece'] = piece
    with pytest.raises(DataError, match=ours.name):
        list(read_episodes(ours))


@pytest.mark.parametrize('wrong', ['data', 'data/demo_0', 'data/demo_0/obs', 'data/demo_x'])
@pytest.mark.parametrize('whose', ['ours', 'theirs'])
def test_an_array_where_a_group_belongs_is_named(request, whose, wrong):
    path = request.getfixturevalue(whose)
    with h5py.File(path, 'r+') as file:
        if wrong in file:
            del file[wrong]
        file[wrong] = np.zeros(3)
    with pytest.raises(DataError, match=path.name):
        list(read_episodes(path))


def _read_changed(sound, path, seed, count, connection):
    """Read many changed files; the parent sees what came of it, or that this process died."""
    rng = random.Random(seed)
    outcomes = {'refused': 0, 'read': 0}
    for _ in range(count):
        data = bytearray(sound)
        for _ in range(rng.choice((1, 1, 1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            list(read_episodes(path))
            outcomes['read'] += 1
        except RobotLearningError:
            outcomes['refused'] += 1
        except Exception as error:
            connection.send(f'seed {seed}: {type(error).__name__}: {error}')
            raise
    connection.send(json.dumps(outcomes))


@pytest.mark.parametrize('whose', ['ours', 'theirs'])
def test_no_random_change_gives_another_exception(request, tmp_path, whose):
    sound = request.getfixturevalue(whose).read_bytes()
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    path = tmp_path / 'changed.hdf5'
    process = context.Process(
        target=_read_changed, args=(sound, path, 7, 300, sender), daemon=True
    )
    process.start()
    process.join(120)
    assert process.exitcode is not None, 'hangs'
    report = receiver.recv() if receiver.poll() else 'nothing: it died'
    assert process.exitcode == 0, report
    assert json.loads(report)['refused'] > 20, report
