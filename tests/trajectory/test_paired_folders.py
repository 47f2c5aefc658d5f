import numpy as np
import pytest
from paired_files import STEPS, folder, row, sample, tone, write_png
from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.sense_formats import PROPERTIES
from robot_learning.trajectory.paired_sources import open_paired
from robot_learning.trajectory.paired_writer import PairedWriter
from robot_learning.trajectory.sound_files import encode_wav


def skipped(path):
    """Open a set that was damaged in one place; return the one sample that is left out."""
    found = open_paired(path)
    assert len(found.report.skipped) == 1, found.report.text()
    assert len(found) == 11
    return ': '.join(found.report.skipped[0])


def test_what_was_written_is_read(tmp_path):
    found = open_paired(folder(tmp_path / 'set'))
    assert found.classes == ('bowl', 'cup')
    assert found.split_names == ('train', 'val')
    assert found.modalities == (
        'image',
        'sound',
        'proprioception',
        'action',
        'frames',
        'properties',
    )
    train = found.split('train')
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.groups[:2] == ('bowl_train_0', 'bowl_train_1')
    for number, got in enumerate(train.split('train')):
        for name in ('image', 'sound', 'proprioception', 'action', 'frames'):
            np.testing.assert_array_equal(getattr(got, name), getattr(sample(number % 3), name))
        np.testing.assert_allclose(got.properties, row().properties, atol=1e-6)
    assert train.read(4).source == 'train/cup/001'


def test_only_the_senses_that_are_wanted_are_read(tmp_path):
    path = folder(tmp_path / 'set')
    found = open_paired(path)
    for file in path.rglob('frames_*.png'):
        file.write_bytes(b'')
    got, whole = found.read(0, ('image',)), found.read(1, ('sound', 'proprioception'))
    assert got.image is not None and got.sound is None and got.frames is None
    assert whole.image is None and whole.sound is not None and whole.proprioception is not None
    with pytest.raises(DataError, match=r'frames_\d+\.png'):
        found.read(0)


def test_the_report_counts_and_says_that_a_set_is_synthetic(tmp_path):
    report = open_paired(folder(tmp_path / 'set')).report
    assert report.num_samples == {'train': 6, 'val': 6}
    assert report.synthetic
    assert 'for tests' in report.text()
    assert report.to_dict()['skipped'] == []


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path):
    found = open_paired(folder(tmp_path / 'set'))
    with pytest.raises(NotEnoughDataError, match=r"'test' holds no samples.*train, val"):
        found.split('test')


def test_a_sense_that_is_not_there_is_named(tmp_path):
    root = tmp_path / 'set'
    write_png(root / 'train' / 'cup' / 'image_000.png')
    write_png(root / 'train' / 'cup' / 'image_001.png')
    with pytest.raises(DataError, match='has no sound, only image; expected image, sound'):
        open_paired(root).require('image', 'sound')


def test_shorter_actions_are_padded_with_zeros(tmp_path):
    root = folder(tmp_path / 'set')
    np.save(root / 'train' / 'cup' / 'action_000.npy', np.ones((STEPS, 2)))
    action = open_paired(root).split('train').read(3).action
    assert action.shape == (STEPS, 16)
    assert action.sum() == 2 * STEPS


def test_a_sound_of_another_rate_is_resampled_and_counted(tmp_path):
    from test_sound_files import wav

    root = folder(tmp_path / 'set')
    (root / 'val' / 'cup' / 'audio_002.wav').write_bytes(wav(tone(440, 1, 8000), 8000, 2))
    found = open_paired(root)
    assert dict(found.report.converted) == {'sound 8000 Hz -> 16000 Hz, 2 channels -> 1': 1}
    assert found.report.skipped == []


def test_a_broken_picture_is_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set')
    path = root / 'train' / 'cup' / 'image_001.png'
    path.write_bytes(path.read_bytes()[:60])
    assert f'{path}: is no whole picture' in skipped(root)


def test_a_sound_that_is_cut_off_is_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set')
    path = root / 'train' / 'cup' / 'audio_001.wav'
    path.write_bytes(path.read_bytes()[:500])
    assert f'{path}: is no whole sound file (cut off' in skipped(root)


def test_a_sample_without_its_sound_is_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'val' / 'bowl' / 'audio_002.wav').unlink()
    assert 'val/bowl/002: has no audio file, other samples have' in skipped(root)


def test_a_sample_with_two_sounds_is_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'val' / 'bowl' / 'audio_002.flac').write_bytes(encode_wav(tone()))
    assert '002: has more than one file of a kind (audio_002.flac, audio_002.wav)' in skipped(root)


@pytest.mark.parametrize(
    ('name', 'array', 'found'),
    [
        ('proprio', np.full((STEPS, 3), np.nan), 'step 0 holds a number that is not finite'),
        ('proprio', np.zeros(3), r'is float64 \[3\], expected numbers \[steps, size\]'),
        ('proprio', np.zeros((STEPS + 1, 3)), '5 of proprioception, 4 of action, 4 of frames'),
        ('action', np.zeros((STEPS, 17)), 'has 17 numbers per action, expected at most 16'),
        ('action', np.zeros((STEPS - 1, 4)), '4 of proprioception, 3 of action'),
    ],
)
def test_numbers_that_are_wrong_are_left_out_by_name(tmp_path, name, array, found):
    root = folder(tmp_path / 'set')
    np.save(root / 'train' / 'bowl' / f'{name}_000.npy', array)
    with pytest.raises(AssertionError, match=found):
        assert skipped(root) == ''


def test_an_array_file_that_is_none_is_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'train' / 'bowl' / 'proprio_000.npy').write_bytes(b'\x80\x04pickle')
    assert 'proprio_000.npy: is no numpy array' in skipped(root)


def test_frames_of_another_size_are_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set')
    write_png(root / 'train' / 'bowl' / 'frames_000.png', size=60)
    assert 'has 60 x 60 pixels, expected frames of 64 in one column' in skipped(root)


def test_a_class_with_one_sample_is_left_out_by_name(tmp_path):
    root = folder(tmp_path / 'set', splits=('train',))
    for path in (root / 'train' / 'cup').glob('*_00[12].*'):
        path.unlink()
    found = open_paired(root)
    assert found.report.skipped == [
        ('train/cup/000', 'its class cup has 1 samples, expected 2 or more')
    ]
    assert found.labels.tolist() == [0, 0, 0]
    assert len(open_paired(root, min_class_samples=1)) == 4


def test_a_set_of_which_nothing_is_left_is_refused_with_the_first_reason(tmp_path):
    root = folder(tmp_path / 'set', names=('cup',), count=1, splits=('train',))
    with pytest.raises(DataError, match=r'none of its 1 samples.*its class cup has 1 samples'):
        open_paired(root)


@pytest.mark.parametrize('make', [lambda path: None, lambda path: path.mkdir()])
def test_a_place_without_data_is_refused(tmp_path, make):
    make(tmp_path / 'set')
    with pytest.raises(DataError, match=r'(is not there|no samples in a layout).*train/CLASS'):
        open_paired(tmp_path / 'set')


def test_unchecked_files_show_what_is_wrong_when_they_are_read(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'train' / 'bowl' / 'audio_000.wav').write_bytes(b'')
    found = open_paired(root, check_files=False)
    assert len(found) == 12
    with pytest.raises(DataError, match=r'audio_000\.wav: is no whole sound file'):
        found.read(0)


def test_a_picture_size_is_kept_for_all(tmp_path):
    found = open_paired(folder(tmp_path / 'set'), image_size=16)
    assert {got.image.shape for got in found} == {(16, 16, 3)}


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('object,size\ncup,1\n', r'properties\.csv: has the columns object, size'),
        ('sample,size\ntrain/cup/000,2\n', r'properties\.csv:2: has size 2, expected 0 to 1'),
        ('sample,size\ntrain/cup/000,big\n', r"properties\.csv:2: has size 'big'"),
        ('sample,role\ntrain/cup/000,none\n', r"properties\.csv:2: has the role 'none'"),
        ('sample,changed\ntrain/cup/000,age\n', r"properties\.csv:2: changes 'age'"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path, text, found):
    root = folder(tmp_path / 'set')
    (root / 'properties.csv').write_text(text)
    with pytest.raises(DataError, match=found):
        open_paired(root)


def test_a_table_that_is_no_text_is_named(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'properties.csv').write_bytes(b'sample\n\xff\xfe\n')
    with pytest.raises(DataError, match=r'properties\.csv: is no table'):
        open_paired(root)


def test_properties_that_nobody_knows_are_nan(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'properties.csv').write_text('sample,weight\ntrain/cup/000,0.5\n')
    got = open_paired(root).split('train').read(3)
    assert got.properties[PROPERTIES.index('weight')] == 0.5
    assert np.isnan(got.properties).sum() == 8


def test_a_wrong_manifest_is_named(tmp_path):
    root = folder(tmp_path / 'set')
    (root / 'manifest.json').write_text('[1]')
    with pytest.raises(DataError, match=r'manifest\.json: holds a list, expected a mapping'):
        open_paired(root)


def with_pairs(path):
    with PairedWriter(path) as writer:
        for pair in ('a', 'b'):
            for number, role in enumerate(('other', 'before', 'after', 'repeat')):
                writer.add(
                    'interventions',
                    'cup',
                    sample(number),
                    row(pair=pair, role=role, changed=3 if pair == 'a' else 4),
                )
        writer.finish({})
    return path


def test_matched_recordings_are_found(tmp_path):
    found = open_paired(with_pairs(tmp_path / 'set')).split('interventions')
    assert [tuple(entry) for entry in found.interventions] == [(3, 1, 2, 3, 0), (4, 5, 6, 7, 4)]


def test_a_pair_of_which_one_recording_is_broken_is_left_out(tmp_path):
    root = with_pairs(tmp_path / 'set')
    (root / 'interventions' / 'cup' / 'audio_002.wav').write_bytes(b'')
    found = open_paired(root)
    assert [tuple(entry) for entry in found.interventions] == [(4, 4, 5, 6, 3)]
