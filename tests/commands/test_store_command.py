import json
import sys
from pathlib import Path

import pytest
from robot_learning.commands import store as command
from robot_learning.trajectory.store import TrajectoryStore

sys.path.append(str(Path(__file__).parent.parent / 'trajectory'))
from recordings import lock_step, record, robot


@pytest.fixture
def root(tmp_path):
    store = TrajectoryStore(tmp_path / 'store')
    for episode in record(lock_step([6, 4, 5]))[0]:
        store.write_segment([episode], 'monday', robot())
    return tmp_path / 'store'


def test_a_sound_store_is_summed_up(root, capsys):
    assert command.main(['verify', str(root), '--deep']) == 0
    printed = capsys.readouterr().out
    assert 'monday' in printed and '15' in printed and 'all is sound' in printed
    assert command.main(['verify', str(root), '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['is_sound'] and report['sessions'][0]['steps'] == 15


def test_damage_is_named_and_repaired_once(root, capsys):
    broken = root / 'monday' / 'segment_000001.hdf5'
    broken.write_bytes(b'nothing')
    assert command.main(['verify', str(root)]) == 1
    assert f'{broken}: is truncated' in ' '.join(capsys.readouterr().out.split('\n'))
    assert command.main(['repair', str(root)]) == 1
    printed = capsys.readouterr().out
    assert 'set aside as damaged/segment_000001.hdf5' in printed
    assert 'nothing of segment 1 could be saved' in printed and 'is sound' in printed
    assert command.main(['verify', str(root)]) == 0
    assert 'note: monday: segment 1 is lost' in capsys.readouterr().out
    assert command.main(['repair', str(root), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['sessions'][0]['done'] == []


def test_a_copy_may_be_repaired(root, tmp_path, capsys):
    (root / 'monday' / 'segment_000002.hdf5').write_bytes(b'nothing')
    assert command.main(['repair', str(root), '--out', str(tmp_path / 'sound')]) == 1
    assert command.main(['verify', str(tmp_path / 'sound')]) == 0
    assert command.main(['verify', str(root)]) == 1


def test_mistakes_are_one_message_on_stderr(root, tmp_path, capsys):
    for action in ('verify', 'repair'):
        assert command.main([action, str(tmp_path / 'nowhere')]) == 2
        assert 'there is no such folder' in capsys.readouterr().err
    assert command.main(['verify', str(root / 'monday')]) == 2
    assert f'Name the store, {root}' in capsys.readouterr().err
