import multiprocessing
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from paired_files import tone, write_wav
from robot_learning.errors import DataError
from robot_learning.trajectory.image_files import encode_png
from robot_learning.trajectory.paired_sources import open_paired
from robot_learning.trajectory.sound_files import encode_wav

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data'))


def pictures(path, names=('a.png', 'b.png', 'c.png', 'd.png'), archive='images_96.zip'):
    path.mkdir()
    table = ['file,split,fine,coarse,fine_name,coarse_name,group']
    with zipfile.ZipFile(path / archive, 'w') as file:
        for number, name in enumerate(names):
            split = 'val' if number == 3 else 'train'
            table.append(f'{name},{split},{number},0,Kind-{number // 2},Apple,Fruit')
            image = np.random.default_rng(number).integers(256, size=(96, 96, 3), dtype=np.uint8)
            image[0, 0, 0] = number
            file.writestr(name, encode_png(image))
    (path / 'meta.csv').write_text('\n'.join(table) + '\n')
    return path


def test_pictures_of_an_archive_have_coarse_and_fine_names(tmp_path):
    root = pictures(tmp_path / 'grocery')
    assert open_paired(root).classes == ('Apple',)
    found = open_paired(root, level='fine')
    assert found.classes == ('Kind-0', 'Kind-1')
    assert found.report.num_samples == {'train': 3, 'val': 1}
    assert [got.image[0, 0, 0] for got in found] == [0, 1, 2, 3]


def test_readers_that_are_forked_each_read_the_right_pictures_of_an_archive(tmp_path):
    """A forked process shares the place in every file that was open before."""
    found = open_paired(pictures(tmp_path / 'grocery'))
    found.read(0)  # The archive is open.
    forks = multiprocessing.get_context('fork')
    answers, together = forks.SimpleQueue(), forks.Barrier(2)

    def read():
        together.wait()
        answers.put([int(found.read(at % 4).image[0, 0, 0]) for at in range(100)])

    readers = [forks.Process(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert [reader.exitcode for reader in readers] == [0, 0]
    assert [answers.get() for _ in readers] == [[0, 1, 2, 3] * 25] * 2


def test_a_picture_that_the_archive_lacks_is_left_out_by_name(tmp_path):
    root = pictures(tmp_path / 'grocery')
    with (root / 'meta.csv').open('a') as file:
        file.write('e.png,train,0,0,Kind-0,Apple,Fruit\n')
    found = open_paired(root)
    assert len(found) == 4
    assert 'images_96.zip:e.png: is not in the archive' in found.report.skipped[0][1]


def test_a_table_with_short_rows_is_refused(tmp_path):
    root = pictures(tmp_path / 'grocery')
    with (root / 'meta.csv').open('a') as file:
        file.write('e.png,train\n')
    with pytest.raises(DataError, match=r'meta\.csv:6: has fewer cells than the header'):
        open_paired(root)


def test_pictures_without_their_archive_are_refused(tmp_path):
    root = pictures(tmp_path / 'grocery')
    (root / 'images_96.zip').unlink()
    with pytest.raises(DataError, match='has the archives none'):
        open_paired(root)


def test_an_archive_that_is_none_is_refused(tmp_path):
    root = pictures(tmp_path / 'grocery')
    (root / 'images_96.zip').write_bytes(b'PK no archive')
    with pytest.raises(DataError, match=r'images_96\.zip: is no zip archive'):
        open_paired(root)


def test_sounds_in_folds_have_their_fold_as_group(tmp_path):
    table = ['filename,fold,target,category']
    for number in range(4):
        write_wav(tmp_path / 'audio' / f'{number}.wav')
        table.append(f'audio/{number}.wav,{number // 2 + 1},0,dog')
    (tmp_path / 'meta.csv').write_text('\n'.join(table))
    found = open_paired(tmp_path)
    assert found.groups == ('fold 1', 'fold 1', 'fold 2', 'fold 2')
    assert found.read(0).sound.shape == (3200,)


def test_a_table_cannot_lead_out_of_its_folder(tmp_path):
    write_wav(tmp_path / 'outside.wav')
    root = tmp_path / 'set'
    root.mkdir()
    (root / 'link.wav').symlink_to(tmp_path / 'outside.wav')
    (root / 'meta.csv').write_text('filename,fold,category\nlink.wav,1,dog\n')
    with pytest.raises(DataError, match='is a symbolic link'):
        open_paired(root)


def test_spoken_digits_have_their_speaker_as_group(tmp_path):
    with zipfile.ZipFile(tmp_path / 'digits.zip', 'w') as file:
        for name in ('3_ann_0.wav', '3_bob_0.wav', '4_ann_0.wav', '4_bob_1.wav', 'readme.txt'):
            file.writestr(name, encode_wav(tone()))
    for path in (tmp_path, tmp_path / 'digits.zip'):
        found = open_paired(path)
        assert found.classes == ('3', '4')
        assert found.groups == ('ann', 'bob', 'ann', 'bob')


@pytest.mark.parametrize(
    ('name', 'count', 'classes', 'groups'),
    [('grocery', 2936, 43, 1), ('esc10', 320, 10, 4), ('fsdd', 1000, 10, 5)],
)
def test_the_real_sets_are_read_as_they_are(name, count, classes, groups):
    if not (REAL / name).is_dir():
        pytest.skip(f'{REAL / name} is not there')
    found = open_paired(REAL / name, check_files=False)
    assert len(found) == count
    assert len(found.classes) == classes
    assert len(set(found.groups)) == groups
    got = found.read(count // 2)
    if name == 'grocery':
        assert got.image.shape == (96, 96, 3)
    else:
        assert np.abs(got.sound).max() > 0.01
