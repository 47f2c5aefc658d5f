import json

import numpy as np
import pytest
from robot_learning.commands import models
from robot_learning.model_store import WEIGHTS, ModelStore
from robot_learning.version_history import VersionHistory


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

    monkeypatch.setenv('XDG_CONFIG_HOME', str(store.root.parent / 'configuration'))

    def run(*arguments):
        code = models.main([*map(str, arguments), '--models', str(store.root)])
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
    for text in ('navigator@2', 'episode/return', 'batch_size', 'a/0, a/1'):
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


def test_pardon_takes_a_refusal_back(run, store):
    store.refuse('navigator', 3, 'It circles.')
    assert 'may be served again' in run('pardon', 'navigator@3')[1]
    assert store.serving('navigator') == 3
    assert 'was not refused' in run('pardon', 'navigator@3')[1]
    assert run('pardon', 'navigator')[0] == 2


@pytest.fixture
def key(run, tmp_path):
    """A key that nobody trusts yet."""
    path = tmp_path / 'keys' / 'maker.pem'
    assert run('keygen', path)[0] == 0
    return path


def signatures(run):
    code, output, _ = run('verify', '--require-signature', '--json')
    return code, [row['signature'] for row in json.loads(output)]


def test_versions_are_signed_and_keys_are_trusted(run, key):
    assert signatures(run) == (1, ['none'] * 3)
    assert run('sign', 'navigator@2', '--key', key)[0] == 0
    code, (_, second, _) = signatures(run)
    assert (code, 'not trusted here (trusted: nobody)' in second) == (1, True)
    code, output, _ = run('trust', f'{key}.pub', '--name', 'workshop')
    assert (code, 'workshop' in output) == (0, True)
    assert signatures(run) == (1, ['none', 'by workshop', 'none'])
    assert run('sign', 'navigator', '--all', '--key', key)[0] == 0
    assert signatures(run) == (0, ['by workshop'] * 3)
    assert run('verify')[0] == 0
    assert 'workshop' in run('trusted')[1]
    assert run('untrust', 'workshop')[0] == 0
    assert signatures(run)[0] == 1
    assert 'nobody is trusted' in run('trusted')[1]


def test_sign_without_a_version_signs_the_one_that_serves(run, store, key):
    assert 'navigator@3 is signed' in run('sign', 'navigator', '--key', key)[1]
    assert [store.has_signature('navigator', v) for v in (1, 2, 3)] == [False, False, True]
    code, _, error = run('sign', 'racer', '--key', key)
    assert (code, 'holds no version' in error) == (2, True)


def test_keys_do_not_go_into_the_store(run, store):
    code, _, error = run('keygen', store.root / 'key.pem')
    assert (code, 'Keep the private key elsewhere' in error) == (2, True)
    assert not (store.root / 'key.pem').exists()


def test_a_passphrase_is_asked_for(run, tmp_path, monkeypatch):
    said = iter(['open sesame', 'open sesame', 'wrong', 'open sesame'])
    monkeypatch.setattr('getpass.getpass', lambda prompt: next(said))
    monkeypatch.setattr('sys.stdin', type('Terminal', (), {'isatty': lambda self: True})())
    path = tmp_path / 'secret.pem'
    assert run('keygen', path, '--passphrase')[0] == 0
    assert b'ENCRYPTED' in path.read_bytes()
    code, _, error = run('sign', 'navigator@1', '--key', path)
    assert (code, 'passphrase is another one' in error) == (2, True)
    assert run('sign', 'navigator@1', '--key', path)[0] == 0


def test_verify_names_what_does_not_belong_into_the_store(run, store, tmp_path):
    (store.root / 'link').symlink_to(tmp_path)
    (store.root / 'navigator' / 'run.sh').write_text('')
    (store.root / 'navigator' / 'history.jsonl').write_text('')
    code, output, _ = run('verify')
    assert code == 1
    assert f'{store.root}/link: does not belong' in output
    assert f'{store.root}/navigator/run.sh: does not belong' in output
    assert 'history' not in output


def test_what_a_stranger_wrote_cannot_play_with_the_terminal(run, store):
    text = '[/]\x1b[2J[bold red]\u202e'
    store.publish('evil', {text: np.ones(1)}, {'phase': text, 'config': {text: text}})
    store.publish('evil', {text: np.zeros(1)}, {'phase': '', 'config': {}})
    for arguments in (('list',), ('show', 'evil@1'), ('diff', 'evil@1', 'evil@2')):
        code, output, _ = run(*arguments)
        assert code == 0
        assert '\x1b' not in output and '\u202e' not in output
        assert r'[/]\x1b[2J[bold red]' in output.replace('\n', '')


def test_a_version_in_its_canary_is_said_to_be_in_it_and_not_to_serve(run, store):
    history = VersionHistory(store.root, '/policy')
    history.append('navigator', 2, 'serving')
    history.append('navigator', 3, 'canary', 'in shadow of navigator@2')

    def states():
        return [row['state'] for row in json.loads(run('list', '--json')[1])]

    assert states() == ['', 'serves', 'canary']
    assert json.loads(run('show', 'navigator', '--json')[1])['version'] == 2
    history.append('navigator', 3, 'serving', 'canary passed')
    assert states() == ['', '', 'serves']
    history.append('navigator', 3, 'refused', 'rolled back: it circles')
    store.refuse('navigator', 3, 'rolled back: it circles')
    history.append('navigator', 2, 'rolled_back', 'it circles')
    assert states() == ['', 'serves', 'refused']
    store.activate('navigator', 1)
    assert states() == ['pinned', '', 'refused']


def test_what_no_node_has_tried_yet_does_not_serve(run, store):
    VersionHistory(store.root, '/policy').append('navigator', 2, 'serving')
    rows = json.loads(run('list', '--json')[1])
    assert [row['state'] for row in rows] == ['', 'serves', '']


def test_rollback_during_a_canary_leaves_the_version_that_drives(run, store):
    history = VersionHistory(store.root, '/policy')
    history.append('navigator', 2, 'serving')
    history.append('navigator', 3, 'canary', 'in shadow of navigator@2')
    code, output, _ = run('rollback', 'navigator')
    assert (code, 'back from 2 to 1' in output) == (0, True)
    assert store.active('navigator') == 1
