import errno
import os

import h5py
import numpy as np
import pytest
from recordings import assert_equal, lock_step, record, robot
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory import store as store_module
from robot_learning.trajectory.episode import join
from robot_learning.trajectory.store import TrajectoryStore


@pytest.fixture
def episodes():
    return record(lock_step([6, 4, 5]))[0]


def test_a_segment_gives_back_what_was_written(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    path = store.write_segment(episodes, 'monday', robot())
    assert path == tmp_path / 'monday' / 'segment_000000.hdf5'
    for written, read in zip(episodes, store.read_segment(path), strict=True):
        assert_equal(written, read)
        assert read.attributes == written.attributes
    info = store.read_info(path)
    assert (info.session, info.number, info.num_steps) == ('monday', 0, 15)
    assert (info.first_episode, info.last_episode) == (0, 2)
    assert info.contract_hash == robot().hash and info.contract == robot().to_dict()


def test_a_segment_has_the_layout_of_robomimic(tmp_path, episodes):
    path = TrajectoryStore(tmp_path).write_segment(episodes, 'monday', robot())
    with h5py.File(path) as file:
        assert set(file['data']) == {'demo_0', 'demo_1', 'demo_2'}
        assert file['data'].attrs['total'] == 15
        assert 'env_name' in file['data'].attrs['env_args']
        demo = file['data/demo_1']
        assert demo.attrs['num_samples'] == 4
        np.testing.assert_array_equal(demo['actions'], episodes[1].action)
        np.testing.assert_array_equal(demo['rewards'], [0, 1, 2, 3])
        np.testing.assert_array_equal(demo['dones'], [0, 0, 0, 1])
        np.testing.assert_array_equal(demo['obs/pose'], episodes[1].observations['pose'])
        assert set(demo['field_age_s']) == set(demo['present']) == set(demo['obs'])


def test_a_segment_of_before_takeovers_tells_of_none(tmp_path, episodes):
    path = TrajectoryStore(tmp_path).write_segment(episodes, 'monday', robot())
    assert any(episode.intervention.any() for episode in TrajectoryStore(tmp_path).episodes())
    with h5py.File(path, 'r+') as file:
        for demo in file['data'].values():
            del demo['intervention'], demo['exploring']
    for episode in TrajectoryStore(tmp_path).episodes():
        assert episode.intervention.dtype == episode.exploring.dtype == bool
        assert len(episode.intervention) == len(episode.exploring) == len(episode)
        assert not episode.intervention.any()


def test_only_wanted_fields_are_read(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    path = store.write_segment(episodes, 'monday', robot())
    for episode in store.read_segment(path, ['goal']):
        assert set(episode.observations) == set(episode.present) == {'goal'}
    with pytest.raises(DataError, match="holds no 'sonar', only: goal, pose"):
        store.read_segment(path, ['sonar'])


def test_images_are_compressed_and_come_back(tmp_path, episodes):
    episode = episodes[0]
    picture = np.zeros((6, 32, 32, 3), np.uint8)
    picture[:, 3:20] = np.arange(6, dtype=np.uint8)[:, None, None, None]
    for name, values in (('camera', picture), ('dark', np.zeros_like(picture))):
        episode.observations[name] = values
        episode.present[name] = np.ones(6, bool)
        episode.field_stamp_ns[name] = episode.stamp_ns
    store = TrajectoryStore(tmp_path)
    path = store.write_segment([episode], 'monday', robot())
    with h5py.File(path) as file:
        assert file['data/demo_0/obs/camera'].compression == 'lzf'
        assert file['data/demo_0/obs/dark'].id.get_storage_size() == 0
    (read,) = store.read_segment(path)
    assert_equal(read, episode)


def test_pieces_in_several_segments_become_whole_episodes(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    first, second, third = episodes
    store.write_segment([first.slice(0, 2)], 'monday', robot())
    store.write_segment([first.slice(2, 5)], 'monday', robot())
    store.write_segment([first.slice(5, 6), second, third.slice(0, 1)], 'monday', robot())
    store.write_segment([third], 'tuesday', robot())
    found = list(store.episodes())
    assert [e.attributes['session'] for e in found] == ['monday'] * 3 + ['tuesday']
    for a, b in zip(found, [first, second, third.slice(0, 1), third], strict=True):
        assert_equal(a, b)
    assert not found[2].is_complete


def test_missing_pieces_split_an_episode(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    paths = [
        store.write_segment([episodes[0].slice(i, i + 2)], 'monday', robot()) for i in (0, 2, 4)
    ]
    paths[1].unlink()
    assert [(e.offset, len(e), e.is_complete) for e in store.episodes()] == [
        (0, 2, False),
        (4, 2, True),
    ]


def test_join_refuses_pieces_that_do_not_follow_each_other(episodes):
    with pytest.raises(DataError, match='begins at step 3, expected step 2 of episode 0'):
        join([episodes[0].slice(0, 2), episodes[0].slice(3, 5)])


def test_a_follower_sees_every_segment_once_and_in_order(tmp_path, episodes):
    store = TrajectoryStore(tmp_path / 'not_yet_there')
    follower = store.follow()
    assert follower.poll() == []
    seen = []
    for episode in [*episodes, *episodes]:
        store.write_segment([episode], 'monday', robot())
        seen += follower.poll()
    assert seen == store.segments() and len(seen) == 6
    assert follower.poll() == []
    resumed = store.follow(follower.position())
    assert resumed.poll() == []
    new = store.write_segment(episodes, 'tuesday', robot())
    assert resumed.poll() == follower.poll() == [new]


def test_a_follower_lists_an_unchanged_folder_only_once(tmp_path, episodes, monkeypatch):
    store = TrajectoryStore(tmp_path)
    store.write_segment(episodes, 'monday', robot())
    os.utime(tmp_path / 'monday', (1, 1))
    follower = store.follow()
    assert len(follower.poll()) == 1
    monkeypatch.setattr(store_module, 'listed', lambda folder: pytest.fail('listed again'))
    assert follower.poll() == []


def test_numbers_go_on_after_a_restart(tmp_path, episodes):
    TrajectoryStore(tmp_path).write_segment(episodes, 'monday', robot())
    again = TrajectoryStore(tmp_path)
    assert again.next_episode('monday') == 3 and again.next_episode('sunday') == 0
    assert again.write_segment(episodes, 'monday', robot()).name == 'segment_000001.hdf5'


def test_a_damaged_segment_is_named_and_skipped(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    paths = [store.write_segment([e], 'monday', robot()) for e in episodes]
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    (tmp_path / 'monday' / '.segment_000003.hdf5.99999999').write_bytes(b'half')
    with pytest.raises(DataError, match=r'segment_000001.hdf5: is truncated'):
        store.read_segment(paths[1])
    assert [e.episode for e in store.episodes()] == [0, 2]
    assert [problem.path for problem in store.skipped] == [paths[1]]
    problems = store.verify()
    assert [p.path.name for p in problems] == [
        'segment_000001.hdf5',
        '.segment_000003.hdf5.99999999',
    ]
    assert 'half-written' in problems[1].text


def test_verify_finds_contradictions(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    assert store.verify() == []
    episodes[0].action[1, 0] = np.nan
    episodes[1].stamp_ns[2] = 0
    path = store.write_segment(episodes, 'monday', robot())
    with h5py.File(path, 'r+') as file:
        file['data'].attrs['total'] = 3
    texts = ' '.join(problem.text for problem in store.verify())
    assert 'actions are not finite' in texts and 'stamps do not increase' in texts
    assert 'holds 15 steps, expected 3' in texts


def test_prune_removes_the_oldest_and_keeps_the_newest_of_each_session(tmp_path, episodes):
    store = TrajectoryStore(tmp_path)
    paths = [store.write_segment(episodes, 'monday', robot()) for _ in range(3)]
    paths += [store.write_segment(episodes, 'tuesday', robot()) for _ in range(2)]
    for age, path in enumerate(paths):
        os.utime(path, ns=(age * 10**9, age * 10**9))
    size = paths[0].stat().st_size
    assert store.prune(5 * size) == []
    assert store.prune(4 * size) == [paths[0]]
    assert store.prune(0) == [paths[1], paths[3]]
    assert store.segments() == [paths[2], paths[4]]


def test_an_unwritable_path_is_named(tmp_path, episodes):
    (tmp_path / 'file').write_text('no folder')
    with pytest.raises(StoreError, match=r'file/monday: a segment cannot be written .*choose'):
        TrajectoryStore(tmp_path / 'file').write_segment(episodes, 'monday', robot())


def test_a_full_disk_is_named_leaves_nothing_and_may_be_tried_again(
    tmp_path, episodes, monkeypatch
):
    store = TrajectoryStore(tmp_path)

    def refuse(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', refuse)
        with pytest.raises(StoreError, match=r'No space left on device.*Free space') as caught:
            store.write_segment(episodes, 'monday', robot())
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list((tmp_path / 'monday').iterdir()) == []
    assert store.write_segment(episodes, 'monday', robot()).name == 'segment_000000.hdf5'


@pytest.mark.parametrize('name', ['', '..', '../other', 'a/b', '.hidden', '/tmp/x', 'line\nbreak'])
def test_a_session_cannot_be_called_so_that_it_stands_elsewhere(tmp_path, name):
    store = TrajectoryStore(tmp_path / 'store')
    with pytest.raises(StoreError, match='is no name of a session'):
        store.write_segment(record(lock_step([4]))[0], name, robot())
    assert list(tmp_path.iterdir()) == []
