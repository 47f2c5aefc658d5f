import pytest
from paired_files import write_png, write_wav
from robot_learning.errors import DataError
from robot_learning.trajectory.class_folders import ClassFolders
from robot_learning.trajectory.paired_sources import open_paired


def test_a_folder_of_pictures_per_class_is_one_split(tmp_path):
    for name, value in (('apple', 10), ('pear', 200)):
        for number in range(2):
            write_png(tmp_path / name / 'deep' / f'{number}.PNG', value)
    found = open_paired(tmp_path)
    assert found.classes == ('apple', 'pear')
    assert found.split_names == ('train',)
    assert [got.image[0, 0, 0] for got in found] == [10, 10, 200, 200]
    assert found.read(2).source == 'pear/deep/0.PNG'


def test_splits_are_kept_where_there_are_folders_for_them(tmp_path):
    for split in ('train', 'val'):
        for number in range(2):
            write_png(tmp_path / split / 'apple' / f'{number}.png')
    found = open_paired(tmp_path)
    assert found.report.num_samples == {'train': 2, 'val': 2}


def test_a_folder_of_sounds_per_class_is_read(tmp_path):
    for number in range(3):
        write_wav(tmp_path / 'bell' / f'{number}.wav')
    found = open_paired(tmp_path)
    assert found.modalities == ('sound',)
    assert found.read(0).sound.shape == (3200,)
    assert found.read(0).image is None


def test_a_broken_file_is_left_out_by_name(tmp_path):
    for number in range(3):
        write_png(tmp_path / 'apple' / f'{number}.png')
    (tmp_path / 'apple' / '1.png').write_text('no picture')
    found = open_paired(tmp_path)
    assert len(found) == 2
    assert found.report.skipped[0][0] == 'apple/1.png'


def test_a_kind_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match='holds no sound files in class folders'):
        ClassFolders(tmp_path, 'sound')
