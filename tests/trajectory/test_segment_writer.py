import os
import subprocess
import threading

import numpy as np
import pytest
from recordings import lock_step, record, robot
from robot_learning.errors import StoreError
from robot_learning.trajectory.segment_writer import SegmentWriter
from robot_learning.trajectory.store import TrajectoryStore

DEADLINE_S = 10


class Refusing(TrajectoryStore):
    """A store whose disk is full until told otherwise."""

    is_full = True

    def write_segment(self, pieces, session, contract):
        if self.is_full:
            raise StoreError('disk: full. Free space.')
        return super().write_segment(pieces, session, contract)


@pytest.fixture
def pieces():
    return record(lock_step([4, 5, 6]))[0]


def make(store, max_waiting_steps=1000, retry_s=0.01, max_bytes=None):
    written, errors, happened = [], [], threading.Condition()

    def note(target, entry):
        with happened:
            target.append(entry)
            happened.notify()

    writer = SegmentWriter(
        store,
        'run',
        robot(),
        max_waiting_steps,
        retry_s,
        lambda entry: note(written, entry),
        lambda entry: note(errors, entry),
        max_bytes,
    )

    def wait_for(target, count):
        with happened:
            assert happened.wait_for(lambda: len(target) >= count, DEADLINE_S)

    return writer, written, errors, wait_for


def test_what_is_put_is_announced_and_readable(tmp_path, pieces):
    store = TrajectoryStore(tmp_path)
    writer, written, errors, wait_for = make(store)
    writer.put(pieces[:2])
    wait_for(written, 1)
    writer.put(pieces[2:])
    writer.put([])
    writer.close()
    assert [(w.num_steps, w.total_steps) for w in written] == [(9, 9), (6, 15)]
    assert [(w.first_episode, w.last_episode) for w in written] == [(0, 1), (2, 2)]
    assert [w.path for w in written] == store.segments()
    assert written[0].num_bytes == written[0].path.stat().st_size
    assert not errors and writer.lost_steps == 0
    assert [len(e) for e in store.episodes()] == [4, 5, 6]


def test_steps_wait_for_a_full_disk_and_nothing_is_lost(tmp_path, pieces):
    store = Refusing(tmp_path)
    writer, written, errors, wait_for = make(store)
    writer.put(pieces[:1])
    wait_for(errors, 2)
    writer.put(pieces[1:])
    wait_for(errors, 4)
    assert writer.error == 'disk: full. Free space.' and store.segments() == []
    store.is_full = False
    wait_for(written, 1)
    writer.close()
    assert writer.error == '' and writer.lost_steps == 0
    assert [len(e) for e in store.episodes()] == [4, 5, 6]


def test_beyond_its_limit_the_oldest_steps_are_lost_and_counted(tmp_path, pieces):
    store = Refusing(tmp_path)
    writer, _, errors, wait_for = make(store, max_waiting_steps=11)
    writer.put(pieces)
    wait_for(errors, 3)
    assert writer.waiting_steps in (0, 11)  # 0: in the writer's hands just now.
    store.is_full = False
    writer.close()
    assert writer.lost_steps == 4 and writer.lost_episodes == [0]
    assert [len(e) for e in store.episodes()] == [5, 6]


def test_what_cannot_be_written_at_the_end_is_counted(tmp_path, pieces):
    writer, written, *_ = make(Refusing(tmp_path))
    writer.put(pieces)
    writer.close()
    assert writer.lost_steps == 15 and not written


def test_pieces_that_can_never_be_stored_are_lost_by_name_and_the_rest_is_written(
    tmp_path, pieces
):
    store = TrajectoryStore(tmp_path)
    writer, _, errors, wait_for = make(store)
    pieces[0].attributes['odd'] = object()
    writer.put(pieces[:1])
    wait_for(errors, 1)
    assert 'attribute of type object cannot be stored' in errors[0]
    writer.put(pieces[1:])
    writer.close()
    assert writer.lost_steps == 4 and writer.lost_episodes == [0] and writer.error == ''
    assert [len(e) for e in store.episodes()] == [5, 6]


def test_a_listener_that_fails_does_not_end_the_recording(tmp_path, pieces):
    store = TrajectoryStore(tmp_path)

    def fail(written):
        raise RuntimeError('publisher is gone')

    writer = SegmentWriter(store, 'run', robot(), 1000, 0.01, fail, lambda text: None)
    writer.put(pieces[:1])
    writer.close()
    assert writer.lost_steps == 0 and [len(e) for e in store.episodes()] == [4]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB, where this machine lets us have one."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip('file systems cannot be mounted here')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def test_on_a_disk_that_is_really_full_recording_goes_on_and_nothing_earlier_is_lost(small_disk):
    """Steps wait, are counted when too many wait, and are written when there is space again."""
    episodes = record(lock_step([30] * 8))[0]
    ballast = small_disk / 'ballast'
    store = TrajectoryStore(small_disk / 'store')
    writer, written, errors, wait_for = make(store, max_waiting_steps=150)
    writer.put(episodes[:1])
    wait_for(written, 1)
    with pytest.raises(OSError, match='No space left'), ballast.open('wb', buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    for episode in episodes[1:]:
        writer.put([episode])
    wait_for(errors, 3)
    assert 'No space left on device' in writer.error and 'Free space' in writer.error
    folder = small_disk / 'store' / 'run'
    assert [path.name for path in folder.iterdir() if not path.name.startswith('.')] == [
        'segment_000000.hdf5'
    ]
    assert np.array_equal(next(store.episodes()).action, episodes[0].action)
    ballast.unlink()
    wait_for(written, 2)
    writer.close()
    assert writer.error == ''
    assert writer.lost_steps % 30 == 0 and 60 <= writer.lost_steps <= 90
    kept = [0, *range(1 + writer.lost_steps // 30, 8)]
    assert [e.episode for e in store.episodes()] == kept
    assert writer.lost_episodes == list(range(1, 1 + writer.lost_steps // 30))
    assert writer.total_steps + writer.lost_steps == 240
    assert store.verify() == [] and not list(folder.glob('.*'))


def test_the_oldest_segments_of_all_sessions_go_when_the_store_has_its_size(tmp_path, pieces):
    store = TrajectoryStore(tmp_path)
    size = store.write_segment(pieces, 'before', robot()).stat().st_size
    store.write_segment(pieces, 'before', robot())
    writer, written, errors, wait_for = make(store, max_bytes=5 * size)
    for count in range(1, 9):
        writer.put(pieces)
        wait_for(written, count)
        total = sum(path.stat().st_size for path in store.segments())
        assert total <= 6.1 * size  # The newest may lie above until the next look.
    writer.close()
    assert errors == []
    assert len(store.segments('before')) == 1  # Followers see by it where they are.
    assert written[-1].path.exists() and not written[0].path.exists()
    assert writer.pruned_segments == 10 - len(store.segments()) >= 5
