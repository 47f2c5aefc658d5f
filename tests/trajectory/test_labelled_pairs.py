import io
import zipfile

import numpy as np
import pytest
from robot_learning.errors import DataError
from robot_learning.trajectory.labelled_pairs import read_pairs
from robot_learning.trajectory.synthetic_pairs import (
    ACTION_NAMES,
    STATE_NAMES,
    drive_rule,
    synthetic_pairs,
)

STATES = np.array([[0.5, 1], [2, 3], [-4, 5.25]])
LABELS = np.array([7, 2, 7])


def save(folder, states=STATES, labels=LABELS):
    np.save(folder / 'states.npy', states)
    np.save(folder / 'actions.npy', labels)
    return folder


@pytest.mark.parametrize('named', ['.', 'states.npy', 'actions.npy'])
def test_a_pair_of_numpy_files(tmp_path, named):
    pairs = read_pairs(save(tmp_path) / named)
    np.testing.assert_array_equal(pairs.states, STATES.astype(np.float32))
    assert pairs.states.dtype == np.float32
    assert (pairs.labels, pairs.actions.tolist()) == ((2, 7), [1, 0, 1])
    assert pairs.state_names == ('state_0', 'state_1')


def test_an_npz_archive(tmp_path):
    np.savez_compressed(tmp_path / 'data.npz', states=STATES, actions=LABELS[:, None])
    pairs = read_pairs(tmp_path / 'data.npz')
    np.testing.assert_array_equal(pairs.states, STATES.astype(np.float32))
    assert pairs.actions.tolist() == [1, 0, 1]


def test_a_csv_file_with_words_as_labels(tmp_path):
    (tmp_path / 'data.csv').write_text('x,action,y\n0.5,turn,1\n2,go, 3\n\n-4,turn,5.25\n')
    pairs = read_pairs(tmp_path / 'data.csv')
    np.testing.assert_array_equal(pairs.states, STATES.astype(np.float32))
    assert (pairs.labels, pairs.actions.tolist()) == (('go', 'turn'), [1, 0, 1])
    assert pairs.state_names == ('x', 'y')


def test_a_csv_file_with_integers_as_labels(tmp_path):
    (tmp_path / 'data.csv').write_text('x,y,Label\n0,0,10\n0,1,9\n')
    assert read_pairs(tmp_path / 'data.csv').labels == (9, 10)  # As numbers, not as words.


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    assert read_pairs(save(tmp_path, labels=LABELS.astype(float))).labels == (2, 7)


@pytest.mark.parametrize(
    ('states', 'labels', 'text'),
    [
        (STATES[0], LABELS, r'states are float64 \[2\], expected numbers \[N, D\]'),
        (STATES, LABELS[:2], r'actions are int64 \[2\], expected \[3\]'),
        (STATES, np.eye(3), r'actions are float64 \[3, 3\], expected \[3\]'),
        (STATES, LABELS + 0.5, r'actions are float64 \[3\], expected integer labels'),
        (STATES, LABELS * 0, 'all actions are 0, expected two labels'),
        (STATES * [1, np.nan], LABELS, 'the state in row 0 is not finite'),
        (STATES[:0], LABELS[:0], r'states are float64 \[0, 2\]'),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, states, labels, text):
    with pytest.raises(DataError, match=text):
        read_pairs(save(tmp_path, states, labels))


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('x,y\n1,2\n', 'has the columns x, y, expected one called action'),
        ('', 'has the columns , expected one called action'),
        ('x,action\n1,2\n3\n', r'data.csv:3: has 1 columns, expected 2'),
        ('x,action\none,2\n', r"data.csv:2: holds no numbers .*'one'"),
        ('x,action\n', r'states are float64 \[0, 1\]'),
    ],
)
def test_a_wrong_csv_file_is_named_with_its_line(tmp_path, text, found):
    (tmp_path / 'data.csv').write_text(text)
    with pytest.raises(DataError, match=found):
        read_pairs(tmp_path / 'data.csv')


def test_files_that_are_not_what_they_say_are_refused(tmp_path):
    (tmp_path / 'states.npy').write_bytes(b'no array')
    np.save(tmp_path / 'actions.npy', LABELS)
    with pytest.raises(DataError, match=r'states.npy: is no numpy array'):
        read_pairs(tmp_path)
    with pytest.raises(DataError, match=r'missing: is not there'):
        read_pairs(tmp_path / 'missing')
    (tmp_path / 'data.npz').write_bytes(b'no archive')
    with pytest.raises(DataError, match='is no zip archive'):
        read_pairs(tmp_path / 'data.npz')
    np.savez(tmp_path / 'other.npz', x=STATES)
    with pytest.raises(DataError, match='holds x, lacks actions, states'):
        read_pairs(tmp_path / 'other.npz')


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / 'states.npy', np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / 'actions.npy', LABELS)
    with pytest.raises(DataError, match='no numpy array'):
        read_pairs(tmp_path)
    content = io.BytesIO()
    np.save(content, np.array([{}], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / 'data.npz', 'w') as archive:
        archive.writestr('states.npy', content.getvalue())
        archive.writestr('actions.npy', content.getvalue())
    with pytest.raises(DataError, match='no archive of states'):
        read_pairs(tmp_path / 'data.npz')


def test_the_rule_by_hand():
    #            front left right  distance bearing
    cases = [
        ((2.0, 2.0, 2.0), 0.3, 0.0, 'stop'),
        ((0.2, 2.0, 2.0), 2.0, 0.0, 'reverse'),
        ((0.2, 2.0, 2.0), 0.3, 0.0, 'stop'),
        ((0.7, 2.0, 1.0), 2.0, -1.0, 'turn_left'),
        ((0.7, 1.0, 2.0), 2.0, 1.0, 'turn_right'),
        ((2.0, 2.0, 2.0), 2.0, 0.6, 'turn_left'),
        ((2.0, 2.0, 2.0), 2.0, -0.6, 'turn_right'),
        ((2.0, 2.0, 2.0), 2.0, 0.4, 'forward'),
    ]
    clearance, distance, bearing, expected = (np.array(part) for part in zip(*cases, strict=True))
    found = [ACTION_NAMES[index] for index in drive_rule(clearance, distance, bearing)]
    assert found == expected.tolist()


def test_synthetic_pairs_repeat_from_their_seed_and_hold_every_label():
    first, again, other = synthetic_pairs(1000, 3), synthetic_pairs(1000, 3), synthetic_pairs(1000)
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert not np.array_equal(first.states, other.states)
    assert (first.labels, first.state_names) == (ACTION_NAMES, STATE_NAMES)
    assert np.bincount(first.actions).min() > 50


def test_synthetic_labels_are_the_rules_but_for_one_in_a_hundred_and_edges():
    pairs = synthetic_pairs(20_000, 1)
    bearing = np.arctan2(pairs.states[:, 5], pairs.states[:, 4])
    rule = drive_rule(pairs.states[:, :3], pairs.states[:, 3], bearing)
    assert 0.01 < (rule != pairs.actions).mean() < 0.03
