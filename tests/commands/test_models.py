import json

import numpy as np
import pytest
from robot_learning.commands import models
from robot_learning.model_store import WEIGHTS, ModelStore


@pytest.fixture
def store(tmp_path):
    store = ModelStore(tmp_path / 'models')
    for number in range(3):
        store.publish(
            'navigator',
            {'w': np.full(2, 1.0 + number)},
            {
                'phase': 'sac',
                'score': number / 2,
                'config': {'batch_size': 32 * (number + 1)},
                'metrics': {'episode/return': number / 2},
                'provenance': {'update': 10 * number, 'segments': ['a/0', 'a/1']},
            },
        )
    return store


@pytest.fixture
def run(store, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '160')

    def run(*arguments):
        code = models.main([*arguments, '--models', str(store.root)])
        return code, *capsys.readouterr()

    return run


def test_list_shows_every_version_and_which_one_serves(run, store):
    store.refuse('navigator', 3, 'It circles.')
    code, output, _ = run('list')
    assert code == 0
    rows = [line.split()[:3] for line in output.splitlines() if 'navigator' in line]
    assert rows[:3] == [
        ['navigator', '1', 'sac'],
        ['navigator', '2', 'serves'],
        ['navigator', '3', 'refused'],
    ]


def test_list_gives_json(run):
    _, output, _ = run('list', '--json')
    assert [row['score'] for row in json.loads(output)] == [0.0, 0.5, 1.0]


def test_show_names_origin_and_metrics(run):
    _, output, _ = run('show', 'navigator@2')
    for text in ('navigator@2', 'episode/return', 'batch_size', '2: a/0 … a/1'):
        assert text in output


def test_show_without_a_version_shows_the_one_that_serves(run):
    _, output, _ = run('show', 'navigator', '--json')
    assert json.loads(output)['version'] == 3


def test_diff_names_changed_tensors_and_settings(run):
    _, output, _ = run('diff', 'navigator@1', 'navigator@3', '--json')
    difference = json.loads(output)
    assert difference['tensors'][0]['relative change'] == pytest.approx(2.0)
    changed = {row['key']: (row['before'], row['after']) for row in difference['manifest']}
    assert changed['config.batch_size'] == (32, 96)


def test_diff_of_two_models_is_refused(run, store):
    store.publish('other', {'w': np.ones(2)}, {})
    code, _, error = run('diff', 'navigator@1', 'other@1')
    assert code == 2
    assert 'different models' in error


def test_activate_pins_and_without_a_version_releases(run, store):
    assert run('activate', 'navigator@1')[0] == 0
    assert store.serving('navigator') == 1
    assert run('activate', 'navigator')[0] == 0
    assert store.active('navigator') is None


def test_rollback_goes_to_the_version_before(run, store):
    code, output, _ = run('rollback', 'navigator')
    assert (code, store.serving('navigator')) == (0, 2)
    assert 'back from 3 to 2' in output


def test_verify_names_damage_and_fails(run, store):
    assert run('verify')[0] == 0
    (store.root / 'navigator' / '000002' / WEIGHTS).write_bytes(b'broken')
    code, output, _ = run('verify')
    assert code == 1
    assert '000002/weights.safetensors' in output
    assert '2 of 3 versions are sound' in output


def test_an_empty_store_says_what_to_do(tmp_path, capsys):
    assert models.main(['list', '--models', str(tmp_path)]) == 2
    assert 'Train one' in capsys.readouterr().err


def test_a_mistyped_version_is_named(run):
    code, _, error = run('show', 'navigator@9')
    assert code == 2
    assert 'version 9 is not in' in error
