import os
import random
import re
import shutil

import h5py
import numpy as np
import pytest
from recordings import lock_step, record, robot
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory import segment
from robot_learning.trajectory.segment_seal import SEAL_BYTES, is_sealed
from robot_learning.trajectory.store import TrajectoryStore
from robot_learning.trajectory.store_checks import check_store, require_store


@pytest.fixture
def episodes():
    return record(lock_step([6, 4, 5]))[0]


@pytest.fixture
def store(tmp_path, episodes):
    """A store of two sessions; monday's first episode stands in two segments."""
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment([episodes[0].slice(0, 4)], 'monday', robot())
    store.write_segment([episodes[0].slice(4, 6), episodes[1]], 'monday', robot())
    store.write_segment([episodes[2]], 'monday', robot())
    store.write_segment(episodes, 'tuesday', robot())
    return store


def texts(store, is_deep=False):
    return [problem.text for problem in check_store(store.root, is_deep).problems]


def rewrite(path, change):
    """Change a segment with h5py, as somebody may who does not know of checksums."""
    with h5py.File(path, 'r+') as file:
        change(file)


def test_a_sound_store_has_no_problems_and_is_summed_up(store):
    for is_deep in (False, True):
        check = check_store(store.root, is_deep)
        assert check.problems == [] and check.notes == []
        monday, tuesday = (session.to_dict() for session in check.sessions)
        assert (monday['segments'], monday['episodes'], monday['steps']) == (3, 3, 15)
        assert tuesday['unsealed_segments'] == 0 and tuesday['notes'] == []
    assert all(is_sealed(path) for path in store.segments())


def test_every_flipped_byte_and_every_cut_of_a_segment_is_found_and_never_read(tmp_path, store):
    path = store.segments('tuesday')[0]
    content = path.read_bytes()
    expected = [piece.action.tobytes() for piece in segment.read_segment(path)]
    rng = random.Random(0)
    for number in range(250):
        broken = bytearray(content)
        if number % 2:
            broken[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        else:
            del broken[rng.randrange(len(content)) :]
            broken += bytes(rng.choice((0, 0, len(content) - len(broken))))
        path.write_bytes(broken)
        try:
            found = [piece.action.tobytes() for piece in segment.read_segment(path)]
        except DataError as error:
            assert str(path) in str(error)
            if number % 10 < 2:
                assert any(str(path) in text for text in texts(store))
        else:  # Only the seal was hit: the content is whole.
            assert found == expected
            assert broken.startswith(content[:-SEAL_BYTES])


def test_values_that_were_changed_are_found_without_the_seal(store):
    path = store.segments('tuesday')[0]

    def change(file):
        file['data/demo_1/obs/pose'][2, 0] += 1e-3

    rewrite(path, change)
    assert not is_sealed(path)
    (text,) = [t for t in texts(store) if 'pose' in t]
    assert 'the checksum of observations/pose in /data/demo_1 is wrong' in text
    with pytest.raises(DataError, match='checksum of observations/pose'):
        store.read_segment(path)
    assert len(store.read_segment(path, ['goal'])) == 3  # What is not read does no harm.


def test_a_header_that_was_changed_is_found(store):
    path = store.segments('tuesday')[0]

    def change(file):
        attributes = file['data/demo_0'].attrs
        attributes['piece'] = attributes['piece'].replace('"episode": 0', '"episode": 9')

    rewrite(path, change)
    with pytest.raises(DataError, match='checksum of the header of /data/demo_0 is wrong'):
        store.read_segment(path)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda e: e.terminated.__setitem__(2, True), 'an end stands before the last'),
        (lambda e: e.terminated.__setitem__(-1, False), 'last step of the episode has'),
        (
            lambda e: e.is_first.__setitem__(3, True),
            r'steps \[0, 3\] are marked as first',
        ),
        (lambda e: e.truncated.__setitem__(-1, True), 'both terminated and truncated'),
        (lambda e: e.reward.__setitem__(1, np.inf), 'rewards are infinite'),
        (lambda e: setattr(e, 'reward', e.reward.astype('f8')), 'reward is float64'),
        (lambda e: setattr(e, 'action', e.action[:, :1]), r'action has shape \[1\]'),
        (lambda e: setattr(e, 'reward', e.reward[:-1]), 'arrays have lengths'),
        (
            lambda e: e.observations.__setitem__('pose', e.observations['pose'][:, :2]),
            r'pose is float32 \[6, 2\], expected float32 \[6, 3\]',
        ),
        (lambda e: e.observations.pop('pose'), 'has observations'),
    ],
)
def test_what_contradicts_itself_or_the_contract_is_named(tmp_path, episodes, change, expected):
    change(episodes[0])
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment(episodes, 'monday', robot())
    assert any(re.search(expected, text) for text in texts(store)), texts(store)


def test_only_a_deep_check_reads_observations(tmp_path, episodes):
    episodes[0].observations['pose'][2, 1] = np.nan
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment(episodes, 'monday', robot())
    assert texts(store) == []
    assert 'pose is not finite' in texts(store, is_deep=True)[0]


def test_contracts_are_compared_with_their_hash(store):
    path = store.segments('tuesday')[0]

    def change(file):
        file.attrs['contract_hash'] = '0123456789abcdef'

    rewrite(path, change)
    assert 'expected 0123456789abcdef as it says' in texts(store)[0]


def test_a_missing_segment_is_named(store):
    store.segments('monday')[1].unlink()
    (text,) = texts(store)
    assert 'segment_000001.hdf5: is missing, segments before and behind it are there' in text


def test_a_hole_inside_an_episode_is_named_in_steps(tmp_path, episodes):
    store = TrajectoryStore(tmp_path / 'store')
    for start in (0, 2, 4):
        store.write_segment([episodes[0].slice(start, start + 2)], 'monday', robot())
    store.segments()[1].unlink()
    assert 'steps 2 to 3 of episode 0 are missing' in texts(store)[1]
    before, after = store.episodes()
    assert before.attributes['missing_after'] == after.attributes['missing_before'] == 2


def test_pruned_segments_are_no_problem(tmp_path, episodes):
    store = TrajectoryStore(tmp_path / 'store')
    for start in (0, 2, 4):
        store.write_segment([episodes[0].slice(start, start + 2)], 'monday', robot())
    store.prune(0)
    assert len(store.segments()) == 1 and texts(store) == []


def test_a_piece_that_is_there_twice_is_named(store, episodes):
    store.write_segment([episodes[1]], 'monday', robot())
    (text,) = texts(store)
    assert 'segment_000003.hdf5: episode 1, steps 0 to 3 is there already' in text


def test_an_episode_that_breaks_off_is_a_note(tmp_path, episodes):
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment([episodes[0].slice(0, 4), episodes[1]], 'monday', robot())
    check = check_store(store.root)
    assert check.problems == []
    assert check.sessions[0].notes == ['episode 0 has no end: it breaks off at step 4']
    first, _ = store.episodes()
    assert first.attributes['missing_after'] == -1


def test_links_and_foreign_files_are_named(store, tmp_path):
    monday = store.root / 'monday'
    path = store.segments('monday')[2]
    path.rename(tmp_path / 'elsewhere.hdf5')
    path.symlink_to(tmp_path / 'elsewhere.hdf5')
    (monday / 'notes.txt').write_text('hello')
    (monday / 'segment_x.hdf5').write_text('hello')
    (store.root / 'README').write_text('hello')
    (store.root / '.importing_x').mkdir()
    check = check_store(store.root)
    assert 'is a link to' in check.problems[0].text
    notes = ' '.join([*check.notes, *check.sessions[0].notes])
    for name in ('notes.txt', 'segment_x.hdf5', 'README', '.importing_x'):
        assert name in notes
    assert store.follow().poll()  # Neither do they stop those who read.


def test_temporary_files_are_leftovers_only_when_their_writer_is_gone(store):
    monday = store.root / 'monday'
    mine = monday / f'.segment_000009.hdf5.{os.getpid()}'
    mine.write_bytes(b'half')
    assert texts(store) == []  # The store that wrote it lives.
    mine.rename(monday / '.segment_000009.hdf5.99999999')
    assert 'half-written' in texts(store)[0]


def test_what_is_no_store_is_told(store, tmp_path):
    with pytest.raises(StoreError, match='there is no such folder'):
        require_store(tmp_path / 'nowhere')
    with pytest.raises(StoreError, match=r'is one session of a store. Name the store'):
        require_store(store.root / 'monday')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(StoreError, match='holds no sessions with segments'):
        require_store(tmp_path / 'empty')


def test_an_old_segment_without_checksums_is_read_and_noted(tmp_path, store):
    path = store.segments('tuesday')[0]

    def make_old(file):
        file.attrs['format'] = 1
        for demo in file['data'].values():
            text = demo.attrs['piece']
            demo.attrs['piece'] = text[: text.index(', "checksums"')] + '}'
            del demo.attrs['piece_crc32']

    rewrite(path, make_old)
    assert len(store.read_segment(path)) == 3
    check = check_store(store.root, is_deep=True)
    assert check.problems == []
    assert check.sessions[1].notes == [
        '1 segments are of before checksums: their values are unchecked'
    ]
    shutil.rmtree(store.root / 'monday')
    assert len(list(store.episodes())) == 3


def test_a_number_far_behind_the_others_is_named_and_costs_no_time(store):
    last = store.segments('monday')[-1]
    far = last.with_name('segment_999999999999.hdf5')
    last.rename(far)
    problems = texts(store)
    assert any(f'{far}: has a number far behind' in text for text in problems)
    assert len(problems) < 5
