import json

import numpy as np
import pytest
from robot_learning.commands import models
from robot_learning.model_store import ModelStore
from robot_learning.version_history import VersionHistory


@pytest.fixture
def store(tmp_path):
    """Five versions: served, withdrawn, refused and deleted, serving again, not tried."""
    store = ModelStore(tmp_path / 'models')
    for _ in range(5):
        created = {'created': '2026-11-20T10:00:00.000+00:00'}
        store.publish('navigator', {'w': np.zeros(2, np.float32)}, created)
    clock = iter([1000.0, 1010.0, 1020.0, 1050.0, 1050.0, 1060.0])
    history = VersionHistory(store.root, '/policy', lambda: next(clock))
    for version, state, reason in [
        (1, 'serving', ''),
        (2, 'canary', 'in shadow of navigator@1'),
        (2, 'serving', 'canary passed'),
        (2, 'refused', 'rolled back: it circles'),
        (1, 'rolled_back', 'it circles'),
        (3, 'refused', 'tensor mean.weight holds NaN'),
    ]:
        history.append('navigator', version, state, reason)
    store.refuse('navigator', 2, 'rolled back: it circles')
    deleted = store.root / 'navigator' / '000003'
    for path in deleted.iterdir():
        path.unlink()
    deleted.rmdir()
    return store


@pytest.fixture
def run(store, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')

    def run(*arguments):
        code = models.main(['history', *arguments, '--models', str(store.root)])
        return code, *capsys.readouterr()

    return run


def test_each_version_has_its_fate_with_reason_and_times(run):
    code, output, _ = run('navigator', '--json')
    assert code == 0
    rows = {row['version']: row for row in json.loads(output)}
    assert [rows[v]['fate'] for v in rows] == [
        'serves',
        'refused',
        'refused',
        'not tried',
        'not tried',
    ]
    assert rows[2]['reason'] == 'rolled back: it circles'
    assert rows[3] == {
        'version': 3,
        'published': 'deleted',
        'tried': None,
        'served': None,
        'fate': 'refused',
        'reason': 'tensor mean.weight holds NaN',
        'served_s': None,
    }
    assert rows[1]['published'] == '2026-11-20 10:00:00'
    assert rows[2]['tried'] == '1970-01-01 00:16:50'
    assert rows[1]['served_s'] == 20  # From 1000 to 1020, and again since 1050.
    assert rows[2]['served_s'] == 30


def test_people_get_a_table(run):
    _, output, _ = run('navigator')
    assert 'rolled back: it circles' in output
    assert 'not tried' in output


def test_one_version_has_all_that_happened_to_it(run):
    _, output, _ = run('navigator@2', '--json')
    events = json.loads(output)
    assert [event['state'] for event in events] == ['canary', 'serving', 'refused']
    assert {event['by'] for event in events} == {'/policy'}


def test_a_model_that_is_not_there_is_named(run):
    code, _, error = run('pilot')
    assert code == 2
    assert "model 'pilot'" in error


def test_a_version_that_was_refused_and_pardoned_is_not_in_canary(run, store):
    history = VersionHistory(store.root, '/policy')
    history.append('navigator', 4, 'refused', 'tensor mean.weight holds NaN')
    history.append('navigator', 5, 'canary', 'in shadow of navigator@1')
    fates = {row['version']: row['fate'] for row in json.loads(run('navigator', '--json')[1])}
    assert (fates[1], fates[4], fates[5]) == ('serves', 'not tried', 'in canary')


def test_a_canary_that_was_cut_short_is_over(run, store):
    history = VersionHistory(store.root, '/policy')
    history.append('navigator', 5, 'canary', 'in shadow of navigator@1')
    history.append('navigator', 4, 'serving')  # Named by a person.
    VersionHistory(store.root, '/other/policy').append('navigator', 1, 'serving')
    fates = {row['version']: row['fate'] for row in json.loads(run('navigator', '--json')[1])}
    assert fates[5] == 'not tried'
