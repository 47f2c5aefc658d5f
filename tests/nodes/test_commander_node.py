"""What keeps a commander from starting is said in one line; see tests/closed_loop for the rest."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import robot_learning

PRETRAINED = Path(robot_learning.__file__).parent / 'pretrained'


def start(**parameters):
    command = [sys.executable, '-m', 'robot_learning.nodes.commander_node', '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def models(tmp_path):
    shutil.copytree(PRETRAINED, tmp_path / 'models')
    return tmp_path / 'models'


def damage(models):
    (weights,) = (models / 'intent').glob('*/weights.safetensors')
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ({'robot': 'crazyflie'}, 'cannot be commanded. Choose a robot that drives'),
        ({'robot': 'nobody'}, 'nobody'),
        ({'intent_model': 'absent'}, 'absent'),
        ({'intent_model': 'intent@x'}, "version 'x' is no number"),
        ({'intent_model': 'code'}, "expected 'intent_transformer'"),
        ({'places': '"{home: here}"'}, 'places'),
        ({'when_busy': 'shout'}, 'when_busy'),
    ],
    ids=str,
)
def test_a_mistake_is_named_and_nothing_starts(models, parameters, reason):
    result = start(models=models, **parameters)
    assert result.returncode == 2
    assert reason in result.stderr and 'Traceback' not in result.stderr


def test_a_model_that_was_changed_is_refused(models):
    damage(models)
    result = start(models=models, intent_model='intent')
    assert result.returncode == 2 and 'SHA-256' in result.stderr
    assert 'Traceback' not in result.stderr
