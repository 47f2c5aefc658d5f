import numpy as np
import pytest
from PIL import Image
from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.trajectory.character_files import read_classes, split_classes

IMAGES = np.random.default_rng(0).integers(0, 2, (12, 8, 10), dtype=np.uint8) * 255
CHAR = np.array([3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13])
ALPHABET = np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4])


def archive(path, **content):
    np.savez(path, **content)
    return path


def characters(tmp_path, **changes):
    chars = np.array([f'character {number}' for number in range(14)])
    alphabets = np.array(['Greek', 'Latin', 'Hebrew', 'Thai', 'Tengwar'])
    content = {
        'images': IMAGES,
        'char': CHAR,
        'chars': chars,
        'alphabet': ALPHABET,
        'alphabets': alphabets,
    }
    return archive(tmp_path / 'characters.npz', **content | changes)


def folders(root, classes, size=(9, 9)):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(2):
            Image.new('RGB', size, (number * 40, index * 40, 0)).save(root / name / f'{index}.png')
    return root


def test_an_archive_of_images_with_its_alphabets(tmp_path):
    data = read_classes(characters(tmp_path), size=8)
    assert data.images.shape == (12, 8, 8, 1)
    assert data.classes[0] == 'character 3' and data.classes[5] == 'character 13'
    assert data.label.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [data.groups[index] for index in data.group] == ['Latin'] * 3 + ['Hebrew'] * 2 + [
        'Tengwar'
    ]
    assert [rows.tolist() for rows in data.rows_of_classes()][2] == [4, 5]


def test_packed_bits_are_the_same_pictures(tmp_path):
    whole = read_classes(characters(tmp_path), size=10)
    packed = np.packbits(IMAGES.reshape(12, -1) > 0, axis=1)
    path = archive(tmp_path / 'bits.npz', bits=packed, shape=np.array([8, 10]), char=CHAR)
    data = read_classes(path, size=10)
    assert np.array_equal(data.images, whole.images)
    assert data.groups == () and data.classes[:2] == ('3', '5')


def test_pictures_are_scaled_by_the_mean_of_what_they_cover(tmp_path):
    images = np.zeros((2, 4, 4), np.uint8)
    images[0, :2, :2] = [[0, 40], [80, 120]]
    path = archive(tmp_path / 'a.npz', images=images, char=np.array([0, 1]))
    assert read_classes(path, size=2).images[0, ..., 0].tolist() == [[60, 0], [0, 0]]


def test_folders_of_classes_in_colour_and_gray(tmp_path):
    root = folders(tmp_path / 'set', ['ball', 'can', 'cube'])
    data = read_classes(root, size=6, colours='rgb')
    assert data.classes == ('ball', 'can', 'cube') and data.groups == ()
    assert data.images.shape == (6, 6, 6, 3)
    assert data.images[3, 0, 0].tolist() == [40, 40, 0]
    assert read_classes(root, size=6).images.shape == (6, 6, 6, 1)


def test_folders_of_splits_stay_what_they_are(tmp_path):
    names = ['train/a', 'train/b', 'val/c', 'test/d', 'test/e']
    split = split_classes(read_classes(folders(tmp_path / 'set', names), size=6), 0.1, 0)
    assert split.training.classes == ('train/a', 'train/b')
    assert split.held_out.classes == ('val/c', 'test/d', 'test/e')
    assert split.held_out_groups == ('val', 'test')


def test_whole_alphabets_are_held_out(tmp_path):
    data = read_classes(characters(tmp_path), size=8)
    for seed in range(5):
        split = split_classes(data, 0.3, seed)
        assert not set(split.training.group) & set(split.held_out.group)
        assert sorted(split.training.classes + split.held_out.classes) == sorted(data.classes)
        assert len(split.training.images) + len(split.held_out.images) == 12
        assert {data.groups[g] for g in split.held_out.group} == set(split.held_out_groups)
    again = split_classes(data, 0.3, 0)
    assert again.held_out.classes == split_classes(data, 0.3, 0).held_out.classes


def test_without_alphabets_classes_are_held_out_with_their_own_pictures(tmp_path):
    path = archive(tmp_path / 'a.npz', images=IMAGES, char=CHAR)
    data = read_classes(path, size=10)
    split = split_classes(data, 0.5, 0)
    assert len(split.held_out.classes) == 3 and split.held_out_groups == ()
    for name, label in zip(split.held_out.classes, range(3), strict=True):
        whole = data.images[data.label == data.classes.index(name)]
        assert np.array_equal(split.held_out.images[split.held_out.label == label], whole)


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'images': IMAGES.astype(float)}, 'images is float64'),
        ({'images': IMAGES[0]}, r'images is uint8 \[8, 10\]'),
        ({'char': CHAR[:5]}, r'char is int64 \[5\], expected one per image'),
        ({'char': CHAR * 0.5}, 'char is float64'),
        ({'alphabet': np.arange(12)}, 'a char is in two alphabets'),
        ({'alphabet': ALPHABET[:3]}, r'alphabet is \[3\]'),
        ({'chars': np.array(['a'])}, 'index 3 is out of bounds'),
    ],
    ids=str,
)
def test_an_archive_that_does_not_fit_is_refused(tmp_path, changes, found):
    with pytest.raises(DataError, match=found) as refusal:
        read_classes(characters(tmp_path, **changes))
    assert 'characters.npz' in str(refusal.value)


def test_bits_of_another_size_are_refused(tmp_path):
    path = archive(
        tmp_path / 'b.npz', bits=np.zeros((2, 3), np.uint8), shape=np.array([8, 8]), char=CHAR[:2]
    )
    with pytest.raises(DataError, match='expected uint8 of 8 x 8 bits'):
        read_classes(path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r'absent.npz: cannot be read'):
        read_classes(tmp_path / 'absent.npz')
    with pytest.raises(DataError, match='absent: is not there, expected pictures in classes'):
        read_classes(tmp_path / 'absent')
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(DataError, match=r'notes\.txt: is no such file'):
        read_classes(tmp_path / 'notes.txt')
    with pytest.raises(DataError, match='holds no folder with pictures'):
        read_classes(tmp_path)
    with pytest.raises(DataError, match='holds nothing, lacks images or bits'):
        read_classes(archive(tmp_path / 'empty.npz'))


def test_an_archive_that_is_none_is_refused(tmp_path):
    (tmp_path / 'a.npz').write_bytes(b'PK\x03\x04 broken')
    with pytest.raises(DataError, match=r'a\.npz: is no zip archive'):
        read_classes(tmp_path / 'a.npz')


def test_a_corrupt_picture_is_named(tmp_path):
    root = folders(tmp_path / 'set', ['a', 'b'], (64, 64))
    content = (root / 'b' / '1.png').read_bytes()
    (root / 'b' / '1.png').write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r'b/1.png: is no whole picture') as refusal:
        read_classes(root)
    assert 'remove it' in str(refusal.value)


def test_one_class_only_is_not_enough(tmp_path):
    with pytest.raises(NotEnoughDataError, match="2 pictures are of class 'ball', expected two"):
        read_classes(folders(tmp_path / 'set', ['ball']))
    path = archive(tmp_path / 'a.npz', images=IMAGES, char=CHAR * 0)
    with pytest.raises(NotEnoughDataError, match="12 pictures are of class '0'"):
        read_classes(path)


def test_too_few_classes_for_two_sides_are_named(tmp_path):
    data = read_classes(folders(tmp_path / 'set', ['a', 'b', 'c']), size=6)
    with pytest.raises(NotEnoughDataError, match='1 classes to learn from and 2 held out'):
        split_classes(data, 0.5, 0)
