"""Four models with one command: what each is asked for, and what is shown of it."""

import json

import numpy as np
import pytest
from robot_learning.commands import train, train_kernel
from robot_learning.commands.train_kernel import PARTS
from robot_learning.model_store import ModelStore


@pytest.fixture
def asked(monkeypatch):
    """What each part is asked for; each publishes a small version of its own."""
    found = []

    def learn(options):
        found.append(options)
        manifest = {'phase': options.phase, 'policy': {'kind': options.phase}}
        weights = {'weight': np.zeros(500, np.float32)}
        version = ModelStore(options.models).publish(options.name, weights, manifest)
        measured = (
            {'held_out/accuracy': 0.9} if options.phase != 'meta' else {'held_out/loss': 0.1}
        )
        return {'version': version, 'metrics': measured}

    parts = tuple(part._replace(train=learn) for part in PARTS)
    monkeypatch.setattr(train_kernel.train_kernel, '__defaults__', (parts,))
    return found


def run(tmp_path, *arguments):
    return train.main(['--mode', 'kernel', '--models', str(tmp_path / 'models'), *arguments])


def test_all_four_learn_from_data_of_their_own_and_are_shown_beside_the_guide(
    asked, tmp_path, capsys
):
    path = tmp_path / 'result.json'
    assert run(tmp_path, '--seed', '3', '--json', str(path)) == 0
    assert [(o.name, o.mode, o.phase, o.seed) for o in asked] == [
        ('intent', 'intent', 'intent', 3),
        ('neural_policy', 'supervised', 'neural_policy', 3),
        ('grounding', 'vision_language', 'vision_language', 3),
        ('meta', 'meta', 'meta', 3),
    ]
    assert [options.data and [str(p) for p in options.data] for options in asked] == [
        None,
        ['synthetic'],
        None,
        None,
    ]
    said = capsys.readouterr().out
    assert 'intent@1' in said and '0.900 accuracy (0.850)' in said and '0.100 loss (–)' in said
    rows = json.loads(path.read_text())['table']
    assert [row['mb'] for row in rows] == [0.002] * 4
    assert [row['guide_minutes'] for row in rows] == [5, 3, 8, 15]
    assert rows[2]['measure'] == ''  # Nothing of what it is judged by was measured.


def test_a_name_goes_before_those_of_the_models(asked, tmp_path):
    assert run(tmp_path, '--name', 'mine', '--data', 'letters.npz') == 0
    assert [options.name for options in asked] == [
        'mine-intent',
        'mine-neural_policy',
        'mine-grounding',
        'mine-meta',
    ]
    assert [str(path) for path in asked[3].data] == ['letters.npz']
    assert asked[0].data is None


@pytest.mark.parametrize('option', [('--config', 'x.yaml'), ('--env', 'arena')])
def test_what_is_one_models_only_is_refused(asked, tmp_path, capsys, option):
    assert run(tmp_path, *option) == 2
    assert f'--mode kernel: found {option[0]}' in capsys.readouterr().err
    assert not asked
