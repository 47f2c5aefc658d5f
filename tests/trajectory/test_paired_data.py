import numpy as np
import pytest
from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.trajectory.paired_arrays import from_arrays

LABELS = [0, 1, 0, 1, 0, 1, 0, 1]
IMAGES = [np.full((2, 2, 3), number, np.uint8) for number in range(8)]


def test_arrays_in_memory_are_a_set():
    found = from_arrays('digits', {'image': IMAGES}, LABELS, ('even', 'odd'))
    assert len(found) == 8
    assert found.modalities == ('image',)
    got = found.read(3)
    assert (got.label, got.source, got.sound) == (1, 'digits:3', None)
    np.testing.assert_array_equal(got.image, IMAGES[3])


def test_a_subset_of_a_subset_reads_the_right_samples():
    found = from_arrays('digits', {'image': IMAGES}, LABELS, ('even', 'odd'))
    chosen = found.subset([1, 3, 5, 7]).subset([2, 0])
    assert [got.image[0, 0, 0] for got in chosen] == [5, 1]


def test_held_out_samples_keep_the_share_of_each_class():
    labels = [0] * 40 + [1] * 20
    images = [IMAGES[0]] * 60
    rest, held = from_arrays('a', {'image': images}, labels, ('x', 'y')).divide(0.25, seed=1)
    assert np.bincount(held.labels).tolist() == [10, 5]
    assert not set(rest.sources) & set(held.sources)
    assert len(rest) + len(held) == 60


def test_a_group_is_on_one_side_only():
    groups = ['ann', 'bob', 'cid', 'dan'] * 2
    found = from_arrays('a', {'image': IMAGES}, LABELS, ('x', 'y'), groups=groups)
    rest, held = found.divide(0.25, seed=0)
    assert len(set(held.groups)) == 1
    assert not set(rest.groups) & set(held.groups)
    again = found.divide(0.25, seed=0)[1]
    assert again.sources == held.sources


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_a_division_that_leaves_one_side_empty_is_refused(share):
    with pytest.raises(NotEnoughDataError, match='cannot be divided'):
        from_arrays('a', {'image': IMAGES}, LABELS, ('x', 'y')).divide(share, 0)


@pytest.mark.parametrize(
    ('arrays', 'labels', 'found'),
    [
        ({'image': IMAGES[:3]}, LABELS, 'has 8 labels and of senses'),
        ({}, LABELS, 'has 8 labels and of senses'),
        ({'image': IMAGES}, [0, 1, 2, 3, 4, 5, 6, 7], 'labels 0 to 7 of 2 classes'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, labels, found):
    with pytest.raises(DataError, match=found):
        from_arrays('digits', arrays, labels, ('even', 'odd'))


@pytest.mark.parametrize(
    ('sense', 'array', 'found'),
    [
        ('image', np.zeros((2, 2), np.uint8), r'digits:0: image: is uint8 \[2, 2\]'),
        ('sound', np.asarray([0.0, np.nan]), 'sound: holds a sample that is not finite'),
        ('sound', np.zeros((2, 5)), r'sound: is float64 \[2, 5\]'),
        ('frames', np.zeros((3, 32, 32, 3), np.uint8), 'frames: is uint8'),
        ('properties', np.zeros(4), r'has properties \[4\], expected \[9\]'),
    ],
)
def test_an_array_that_is_wrong_is_named_when_it_is_read(sense, array, found):
    wrong = from_arrays('digits', {sense: [array]}, [0], ('only',))
    with pytest.raises(DataError, match=found):
        wrong.read(0)
