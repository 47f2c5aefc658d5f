"""What keeps a commander from starting is said in one line; see tests/closed_loop for the rest."""

import shutil
from pathlib import Path

import pytest
import robot_learning
from node_bench import run_in_vain
from robot_learning.nodes.commander_node import main

PRETRAINED = Path(robot_learning.__file__).parent / 'pretrained'


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
def test_a_mistake_is_named_and_nothing_starts(parameters, reason, capfd):
    assert reason in run_in_vain(main, capfd, models=PRETRAINED, **parameters)


def test_a_model_that_was_changed_is_refused(tmp_path, capfd):
    models = shutil.copytree(PRETRAINED, tmp_path / 'models')
    damage(models)
    assert 'SHA-256' in run_in_vain(main, capfd, models=models, intent_model='intent')
