"""What two processes over gloo do together; both are started once for all tests of this file."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import line_fit
import one_of_two
import pytest
import torch
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.data_parallel import Others
from robot_learning.phases.process_group import Place, averaged, place_in
from robot_learning.phases.training_session import Destination, learn_offline
from robot_learning.phases.validation import split_episodes
from safetensors.torch import load_file

_PATIENCE_S = 120


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
    place = {'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    script = str(Path(one_of_two.__file__))
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(folder)],
            env={**os.environ, **place, 'RANK': str(rank), 'GLOO_SOCKET_IFNAME': 'lo'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=_PATIENCE_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], '\n'.join(said)
    return folder


def numbers(folder, rank):
    return json.loads((folder / f'numbers_{rank}.json').read_text())


def checkpoint(folder):
    return CheckpointFolder(folder / 'checkpoints' / 'nav-sac').newest()


@pytest.mark.parametrize('rank', [0, 1])
def test_both_get_the_same_answer(folder, rank):
    assert numbers(folder, rank) == {
        'averaged': [[1.5, 4.5], [[0.5, 0.5]]],
        'summed': [3, 10],
        'told': ['from 0', 'from 1'],
    }


def test_two_halves_of_a_batch_step_as_the_whole_batch_does(folder):
    alone = one_of_two.cloning(seed=0)
    begin = {name: tensor.clone() for name, tensor in alone.state_dict().items()}
    for index in range(one_of_two.NUM_STEPS):
        alone.update(one_of_two.rows(index))
    expected = alone.state_dict()
    for rank in (0, 1):
        found = load_file(folder / f'cloning_{rank}.safetensors')
        for name in begin:
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-6)
    moved = [name for name in begin if (begin[name] - expected[name]).abs().max() > 1e-3]
    assert len(moved) >= 6


def test_passes_of_two_processes_equal_one_with_twice_the_batch(folder):
    alone = line_fit.LineFit()
    line_fit.passes(alone, line_fit.Points(32), batch_size=16).run()
    for rank in (0, 1):
        found = load_file(folder / f'line_{rank}.safetensors')
        for name, tensor in alone.module.state_dict().items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)


def test_dreamers_that_saw_different_batches_stay_the_same(folder):
    first, second = (load_file(folder / f'dreamer_{rank}.safetensors') for rank in (0, 1))
    assert first['normaliser.high_average'] != 0
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_only_the_first_publishes_and_saves(folder):
    assert ModelStore(folder / 'whole' / 'models').versions('nav') == [1]
    assert ModelStore(folder / 'parts' / 'models').versions('nav') == [1, 2]
    saved = sorted(
        entry.name for entry in (folder / 'whole' / 'checkpoints' / 'nav-sac').iterdir()
    )
    assert saved == ['000000000012']


def test_learning_in_parts_equals_learning_at_once_bit_by_bit(folder):
    whole, parts = checkpoint(folder / 'whole'), checkpoint(folder / 'parts')
    assert parts.content['update'] == 12
    assert {'process_1.generator', 'process_1.experience'} <= set(whole.tensors)
    assert set(whole.tensors) == set(parts.tensors)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, parts.tensors[name]), name


def test_each_process_draws_batches_and_noise_of_its_own(folder):
    found = checkpoint(folder / 'whole')
    assert not torch.equal(found.tensors['generator'], found.tensors['process_1.generator'])
    theirs = json.loads(found.tensors['process_1.experience'].numpy().tobytes())
    mine = found.content['experience']['buffer']['online']['rng']
    assert theirs['buffer']['online']['rng']['state']['inc'] != mine['state']['inc']


def test_one_process_goes_on_with_what_two_have_learned(folder, tmp_path):
    split = split_episodes(one_of_two.episodes(12, seed=0), 0.2, seed=0)
    to = Destination(tmp_path / 'models', 'nav', folder / 'parts')
    plan = one_of_two.sac_recipe()
    trainer = learn_offline(one_of_two.point_contract(), plan, split, 'test', to, seed=0)
    assert trainer.run(1).update == 13


def test_who_is_left_alone_in_a_step_says_so(folder):
    assert 'another one that learns with this one is gone' in (folder / 'lost.txt').read_text()


def test_alone_nothing_is_averaged_and_nobody_is_dismissed():
    tensors = [torch.ones(2)]
    assert averaged(tensors) is tensors
    Others().dismiss()


def test_the_place_is_what_torchrun_writes():
    assert place_in({}) is None
    given = {'RANK': '3', 'WORLD_SIZE': '4', 'MASTER_ADDR': 'a', 'MASTER_PORT': '1'}
    assert place_in(given) == Place(3, 4, 3, 4)
    assert place_in(given | {'LOCAL_RANK': '1', 'LOCAL_WORLD_SIZE': '2'}) == Place(3, 4, 1, 2)
    del given['MASTER_PORT']
    with pytest.raises(ConfigError, match='RANK and WORLD_SIZE are set, MASTER_PORT not'):
        place_in(given)
