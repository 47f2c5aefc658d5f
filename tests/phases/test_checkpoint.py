import json
import os
import subprocess
import sys

import pytest
import torch
from robot_learning.errors import StoreError
from robot_learning.phases.checkpoint import STATE, TRAINER, CheckpointFolder


def tensors(value=1.0):
    return {'weight': torch.full((3, 2), value), 'count': torch.tensor(7)}


def test_what_was_saved_comes_back(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(12, tensors(0.1), {'update': 12, 'rng': {'state': 2**127}})
    checkpoint = folder.newest()
    assert torch.equal(checkpoint.tensors['weight'], tensors(0.1)['weight'])
    assert checkpoint.content['rng'] == {'state': 2**127}


def test_the_newest_by_update_is_read_and_old_ones_go(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    for update in (5, 900, 70):
        folder.save(update, tensors(float(update)), {'update': update})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['000000000070', '000000000900']
    assert folder.newest().content['update'] == 900


def test_none_is_there_at_first(tmp_path):
    assert CheckpointFolder(tmp_path / 'absent').newest() is None


@pytest.mark.parametrize('damage', ['truncate', 'flip', 'no json', 'no file'])
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path, caplog, damage):
    folder = CheckpointFolder(tmp_path)
    folder.save(1, tensors(), {'update': 1})
    newest = folder.save(2, tensors(), {'update': 2})
    state = newest / STATE
    content = bytearray(state.read_bytes())
    if damage == 'truncate':
        state.write_bytes(content[:-5])
    elif damage == 'flip':
        content[-1] ^= 1
        state.write_bytes(content)
    elif damage == 'no json':
        (newest / TRAINER).write_text('{"update": 2')
    else:
        state.unlink()
    assert folder.newest().content['update'] == 1
    assert str(newest) in caplog.text


def test_a_half_written_one_is_not_seen(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(1, tensors(), {'update': 1})
    unfinished = tmp_path / '.writing-abc'
    unfinished.mkdir()
    (unfinished / TRAINER).write_text(json.dumps({'update': 99}))
    assert folder.newest().content['update'] == 1


def test_what_a_killed_trainer_left_unfinished_goes_and_a_living_one_s_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, '-S', '-c', ''])
    dead.wait()
    living = f'.writing-{os.getpid()}-1'
    for name in (f'.writing-{dead.pid}-1', living):
        (tmp_path / name).mkdir()
        (tmp_path / name / STATE).write_bytes(b'x')
    CheckpointFolder(tmp_path).save(1, tensors(), {'update': 1})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [living, '000000000001']


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match=r'file/checkpoints: .*cannot be written'):
        CheckpointFolder(tmp_path / 'file' / 'checkpoints').save(1, tensors(), {})


_HOLDER = """
import sys
from robot_learning.phases.checkpoint import CheckpointFolder
with CheckpointFolder(sys.argv[1]).claimed():
    print('claimed', flush=True)
    sys.stdin.read()
"""


def test_a_second_trainer_is_refused_until_the_first_ends_even_by_a_kill(tmp_path):
    folder = CheckpointFolder(tmp_path / 'nav-sac')
    command = [sys.executable, '-c', _HOLDER, str(folder.folder)]
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == 'claimed\n'
        with pytest.raises(StoreError, match=r'nav-sac: another trainer.*another output'):
            folder.claimed().__enter__()
        holder.kill()
    with folder.claimed(), pytest.raises(StoreError), CheckpointFolder(folder.folder).claimed():
        pass
    with folder.claimed():  # Given back, also to this process.
        folder.save(1, tensors(), {'update': 1})


def test_a_folder_that_cannot_be_claimed_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match=r'file/nav-sac: a checkpoint cannot be written'):
        CheckpointFolder(tmp_path / 'file' / 'nav-sac').claimed().__enter__()
