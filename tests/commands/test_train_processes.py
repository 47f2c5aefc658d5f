import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from robot_learning.commands import train, train_processes
from robot_learning.errors import ConfigError, ProcessError
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from point_mass import point_contract, write_store

_PATIENCE_S = 240


@pytest.fixture
def arguments(tmp_path):
    write_store(tmp_path / 'store', 10, seed=0)
    (tmp_path / 'point.yaml').write_text(yaml.safe_dump(point_contract().to_dict()))
    (tmp_path / 'small.yaml').write_text(
        'phase: behavior_cloning\n'
        'config: {hidden: [16], batch_size: 32}\n'
        'trainer: {validate_every_updates: 20}\n'
    )
    return [
        f'--data={tmp_path / "store"}',
        f'--robot={tmp_path / "point.yaml"}',
        f'--config={tmp_path / "small.yaml"}',
        f'--models={tmp_path / "models"}',
        '--name=cloned',
    ]


def test_two_processes_end_at_one_signal_and_only_the_first_writes(arguments, tmp_path):
    """The exit code says that the second ended by itself as well; see `team_of`."""
    command = [sys.executable, '-m', 'robot_learning.commands.train', '--processes=2']
    with (tmp_path / 'said.txt').open('w') as said:
        process = subprocess.Popen(
            [*command, '--num-updates=1000000000', *arguments], stdout=said, stderr=said
        )
    store = ModelStore(tmp_path / 'models')
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while not store.versions('cloned') and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        code = process.wait(_PATIENCE_S)
    finally:
        process.kill()
    text = (tmp_path / 'said.txt').read_text()
    assert code == 0, text
    assert text.count('episodes to learn from') == 1
    checkpoint = CheckpointFolder(tmp_path / 'checkpoints' / 'cloned-behavior_cloning').newest()
    assert 'process_1.experience' in checkpoint.tensors
    assert len(list((tmp_path / 'tensorboard' / 'cloned-behavior_cloning').iterdir())) == 1
    manifests = [store.manifest('cloned', version) for version in store.versions('cloned')]
    updates = [manifest['provenance']['update'] for manifest in manifests]
    assert updates == sorted(set(updates))


def options(**changes):
    return argparse.Namespace(**{'processes': 1, 'device': 'cpu', 'arguments': [], **changes})


def test_alone_nothing_is_started():
    with train_processes.team_of(options()) as team:
        assert team.place.size == 1 and team.device.type == 'cpu'


def test_processes_and_torchrun_must_agree(monkeypatch):
    for name, value in {'RANK': 0, 'WORLD_SIZE': 2, 'MASTER_ADDR': 'a', 'MASTER_PORT': 1}.items():
        monkeypatch.setenv(name, str(value))
    with (
        pytest.raises(ConfigError, match='found 3, and 2 were started already'),
        train_processes.team_of(options(processes=3)),
    ):
        pass


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        (['--processes=2', '--env=CartPole-v1'], '--processes: --env learns in one process'),
        (
            ['--processes=2', '--phase=neural_policy', '--data=synthetic'],
            '--processes: neural_policy learns in one process',
        ),
        (
            ['--device=cuda', '--phase=neural_policy', '--data=synthetic'],
            '--device: found cuda, and neural_policy learns on the processor',
        ),
        (['--device=tpu', '--data=any'], "device: found 'tpu', expected cpu, cuda"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_starts(given, named, capsys):
    assert train.main(given) == 2
    assert named in capsys.readouterr().err


class Ended:
    def __init__(self, rank, code, *said):
        self.name, self.last_lines, self._code = f'process {rank}', said, code

    def poll(self):
        return self._code


def test_the_process_that_failed_is_named_rather_than_one_that_misses_it():
    lost = Ended(1, 2, 'processes: another one that learns with this one is gone (closed).')
    with pytest.raises(ProcessError, match=r'process 2: ended with code -9[\s\S]*of memory'):
        train_processes._check([lost, Ended(2, -9, 'out of memory')])
    train_processes._check([Ended(1, 0), Ended(2, None)])


def test_the_first_process_speaks(monkeypatch):
    monkeypatch.delitem(os.environ, 'RANK', raising=False)
    assert train_processes.is_first()
    monkeypatch.setenv('RANK', '1')
    assert not train_processes.is_first()
