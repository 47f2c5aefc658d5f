import os
import random
import shutil

import pytest
from recordings import assert_equal, lock_step, record, robot
from robot_learning.errors import StoreError
from robot_learning.trajectory import segment, segment_salvage, store_repair
from robot_learning.trajectory.store import TrajectoryStore
from robot_learning.trajectory.store_checks import check_store
from robot_learning.trajectory.store_repair import repair_store


@pytest.fixture
def episodes():
    return record(lock_step([6, 4, 5]))[0]


@pytest.fixture
def root(tmp_path, episodes):
    """Return a store of four segments; nobody writes it any more."""
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment([episodes[0].slice(0, 2)], 'monday', robot())
    store.write_segment([episodes[0].slice(2, 4)], 'monday', robot())
    store.write_segment([episodes[0].slice(4, 6), episodes[1]], 'monday', robot())
    store.write_segment([episodes[2]], 'monday', robot())
    return store.root


def files(root):
    return {
        path.relative_to(root): path.read_bytes() for path in root.rglob('*') if path.is_file()
    }


def problems(root):
    return [problem.text for problem in check_store(root).problems]


def path_of(root, number):
    return root / 'monday' / f'segment_{number:06d}.hdf5'


def damage(path, share):
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x55
    path.write_bytes(content)


def test_a_sound_store_is_left_alone(root):
    before = files(root)
    repair = repair_store(root)
    assert repair.is_sound and repair.sessions[0].done == []
    assert files(root) == before


def test_sound_pieces_of_a_damaged_segment_are_saved_and_the_rest_is_named(root, episodes):
    path = path_of(root, 2)
    content = path.read_bytes()
    at = content.index(episodes[1].action.tobytes())  # In the second of its two pieces.
    path.write_bytes(content[:at] + b'\xff' + content[at + 1 :])
    damaged = path.read_bytes()
    repair = repair_store(root)
    assert repair.is_sound
    found = list(TrajectoryStore(root).episodes())
    assert [episode.episode for episode in found] == [0, 2]
    assert_equal(found[0], episodes[0])
    assert (root / 'monday' / 'damaged' / path.name).read_bytes() == damaged
    assert any('written anew with 2 steps in 1 pieces' in text for text in repair.sessions[0].done)
    assert problems(root) == []
    before = files(root)
    again = repair_store(root)
    assert again.is_sound and again.sessions[0].done == [] and files(root) == before


def test_an_episode_is_cut_where_a_segment_is_lost_and_says_so(root):
    path_of(root, 1).write_bytes(b'nothing of it')
    repair = repair_store(root)
    (session,) = repair.sessions
    assert repair.is_sound and session.lost_segments == [1]
    assert [str(hole) for hole in session.lost_steps] == ['steps 2 to 3 of episode 0 are missing']
    store = TrajectoryStore(root)
    first, second, *_ = store.episodes()
    assert (first.episode, len(first), first.attributes['missing_after']) == (0, 2, 2)
    assert (second.offset, len(second), second.attributes['missing_before']) == (4, 2, 2)
    assert problems(root) == [] and store.skipped == []
    assert 'segment 1 is lost' in check_store(root).sessions[0].notes
    assert repair_store(root).sessions[0].done == []


def test_the_first_segment_may_be_the_lost_one(root):
    path_of(root, 0).write_bytes(b'nothing of it')
    (session,) = repair_store(root).sessions
    assert session.lost_segments == [0] and session.left == []
    assert problems(root) == [] and repair_store(root).sessions[0].done == []
    first = next(TrajectoryStore(root).episodes())
    assert (first.offset, first.attributes['missing_before']) == (2, 2)


def test_numbers_of_lost_segments_are_not_used_again(root, episodes):
    follower = TrajectoryStore(root).follow()
    assert len(follower.poll()) == 4
    path_of(root, 3).write_bytes(b'nothing of it')
    assert repair_store(root).sessions[0].lost_segments == [3]
    path = TrajectoryStore(root).write_segment([episodes[2]], 'monday', robot())
    assert path == path_of(root, 4) and follower.poll() == [path]


def test_a_cut_segment_gives_its_first_pieces(tmp_path):
    episodes = record(lock_step([40] * 12))[0]
    store = TrajectoryStore(tmp_path / 'store')
    path = store.write_segment(episodes, 'monday', robot())
    del store
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    repair_store(tmp_path / 'store')
    found = list(TrajectoryStore(tmp_path / 'store').episodes())
    assert len(found) >= 6
    for episode in found:
        assert_equal(episode, episodes[episode.episode])


def test_no_damage_whatever_gives_a_wrong_piece_or_a_traceback(root, episodes, monkeypatch):
    monkeypatch.setattr(segment_salvage, 'PATIENCE_S', 15.0)
    rng = random.Random(0)
    contents = [path_of(root, number).read_bytes() for number in range(4)]
    for turn in range(4):
        shutil.rmtree(root / 'monday')
        (root / 'monday').mkdir()
        for number, content in enumerate(contents):
            broken = bytearray(content)
            if number % 2 == turn % 2:
                for _ in range(rng.choice((1, 3, 300))):
                    broken[rng.randrange(len(broken))] = rng.randrange(256)
                if rng.random() < 0.3:
                    del broken[rng.randrange(len(broken)) :]
            path_of(root, number).write_bytes(broken)
        assert repair_store(root).is_sound and problems(root) == []
        for found in TrajectoryStore(root).episodes():
            whole = episodes[found.episode]
            expected = whole.slice(found.offset, found.offset + len(found))
            assert_equal(found, expected)


def test_a_whole_segment_that_was_never_named_gets_its_name(root):
    path = path_of(root, 3)
    path.rename(path.with_name(f'.{path.name}.99999999'))
    half = path_of(root, 4)
    half.with_name(f'.{half.name}.99999999').write_bytes(path_of(root, 2).read_bytes()[:5000])
    again = path_of(root, 0)
    shutil.copy(again, again.with_name(f'.{again.name}.99999998'))
    (session,) = repair_store(root).sessions
    assert path.is_file() and not half.exists() and session.left == []
    assert len([text for text in session.done if 'set aside' in text]) == 2
    assert [e.episode for e in TrajectoryStore(root).episodes()] == [0, 1, 2]
    assert session.lost_steps == [] and problems(root) == []


def test_duplicates_are_taken_out(root, episodes):
    TrajectoryStore(root).write_segment([episodes[1], episodes[2]], 'monday', robot())
    assert len(problems(root)) == 2
    assert repair_store(root).is_sound and problems(root) == []
    assert [e.episode for e in TrajectoryStore(root).episodes()] == [0, 1, 2]


def test_a_link_is_replaced_by_what_it_names(root, tmp_path):
    path = path_of(root, 3)
    path.rename(tmp_path / 'elsewhere.hdf5')
    path.symlink_to(tmp_path / 'elsewhere.hdf5')
    assert repair_store(root).is_sound and not path.is_symlink()
    assert segment.read_segment(path)[0].episode == 2


def test_a_copy_is_repaired_instead(root, tmp_path):
    damage(path_of(root, 1), 0.5)
    before = files(root)
    repair = repair_store(root, tmp_path / 'sound')
    assert repair.is_sound and repair.root == tmp_path / 'sound'
    assert files(root) == before and problems(tmp_path / 'sound') == []
    with pytest.raises(StoreError, match='exists already'):
        repair_store(root, tmp_path / 'sound')


def test_while_a_recorder_writes_a_repair_is_refused_and_the_other_way_round(root, episodes):
    damage(path_of(root, 1), 0.5)
    recorder = TrajectoryStore(root)
    recorder.write_segment([episodes[2]], 'tuesday', robot())
    before = files(root)
    with pytest.raises(
        StoreError, match=r'tuesday: a recorder or .* writes this session\. Stop it'
    ):
        repair_store(root)
    assert files(root) == before
    del recorder
    lock = store_repair.SessionLock(root / 'monday')
    with pytest.raises(StoreError, match='writes or repairs this session'):
        TrajectoryStore(root).write_segment([episodes[2]], 'monday', robot())
    lock.release()
    assert TrajectoryStore(root).write_segment([episodes[2]], 'monday', robot())


def test_a_session_has_one_recorder(root, episodes):
    first = TrajectoryStore(root)
    first.write_segment([episodes[2]], 'tuesday', robot())
    before = files(root)
    second = TrajectoryStore(root)
    with pytest.raises(StoreError, match=r'tuesday: .*Another process writes'):
        second.write_segment([episodes[2]], 'tuesday', robot())
    assert files(root) == before
    del first  # As when its process ends.
    assert second.write_segment([episodes[2]], 'tuesday', robot())


def test_a_repair_that_was_killed_is_simply_run_again(root, episodes, monkeypatch):
    """It dies between setting the damaged segment aside and naming the new one."""
    content = path_of(root, 2).read_bytes()
    at = content.index(episodes[1].action.tobytes())
    path_of(root, 2).write_bytes(content[:at] + b'\xff' + content[at + 1 :])

    class Killed(BaseException):
        pass

    def die(temporary, path):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store_repair.store_files, 'name_new', die)
        with pytest.raises(Killed):
            repair_store(root)
    assert not path_of(root, 2).exists()
    for path in (root / 'monday').glob('.segment_*'):
        path.rename(path.with_name(path.name.replace(str(os.getpid()), '99999999')))
    assert repair_store(root).is_sound and problems(root) == []
    assert [e.episode for e in TrajectoryStore(root).episodes()] == [0, 2]
    assert_equal(next(TrajectoryStore(root).episodes()), episodes[0])
