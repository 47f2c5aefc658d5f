import h5py
import numpy as np
import pytest
from paired_files import sample, tone
from robot_learning.errors import DataError
from robot_learning.trajectory.paired_sources import open_paired

COUNT = 4


def write(path, **changes):
    """Write a file of `COUNT` samples; `changes` replace arrays, None removes one."""
    samples = [sample(number) for number in range(COUNT)]
    arrays = {
        'image': np.stack([one.image for one in samples]),
        'sound': np.stack([one.sound for one in samples]),
        'proprioception': np.stack([one.proprioception for one in samples]),
        'action': np.stack([one.action[:, :5] for one in samples]),
        'frames': np.stack([one.frames for one in samples]),
        'properties': np.full((COUNT, 9), 0.5, np.float32),
        'label': np.asarray([0, 0, 1, 1]),
    } | changes
    with h5py.File(path, 'w') as file:
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
        file.attrs['classes'] = ['bowl', 'cup']
        file.attrs['synthetic'] = True
    return path


def test_what_was_written_is_read(tmp_path):
    found = open_paired(write(tmp_path / 'a.hdf5'))
    assert found.classes == ('bowl', 'cup')
    assert found.report.synthetic
    for number, got in enumerate(found):
        expected = sample(number)
        for name in ('image', 'sound', 'proprioception', 'frames'):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
        np.testing.assert_array_equal(got.action[:, :5], expected.action[:, :5])
        assert got.action.shape == (4, 16)


def test_only_the_senses_that_are_wanted_are_read(tmp_path):
    got = open_paired(write(tmp_path / 'a.hdf5')).read(0, ('sound',))
    assert got.sound is not None and got.image is None and got.frames is None


def test_splits_and_groups_are_read(tmp_path):
    split = np.asarray(['train', 'val', 'train', 'val'], 'S')
    found = open_paired(write(tmp_path / 'a.hdf5', split=split, group=np.asarray(['p'] * 4, 'S')))
    assert found.report.num_samples == {'train': 2, 'val': 2}
    assert set(found.groups) == {'p'}


def test_whole_numbers_at_another_rate_become_floats_at_16_khz(tmp_path):
    path = write(tmp_path / 'a.hdf5', sound=np.tile(tone(440, 0.5, 8000) * 32767, (COUNT, 1)))
    with h5py.File(path, 'r+') as file:
        numbers = file['sound'][()].astype(np.int16)
        del file['sound']
        file['sound'] = numbers
        file['sound'].attrs['sample_rate_hz'] = 8000
    found = open_paired(path)
    assert dict(found.report.converted) == {'sound 8000 Hz -> 16000 Hz': COUNT}
    np.testing.assert_allclose(found.read(0).sound[200:7800], tone(440, 0.5)[200:7800], atol=2e-3)


def test_a_row_that_is_not_finite_is_left_out_by_name(tmp_path):
    felt = np.zeros((COUNT, 4, 3))
    felt[2, 1, 0] = np.nan
    path = write(tmp_path / 'a.hdf5', proprioception=felt, label=np.zeros(COUNT, int))
    found = open_paired(path)
    assert len(found) == 3
    assert f'{path}:2: proprioception: step 1' in found.report.skipped[0][1]


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'sound': np.zeros((3, 10))}, r'sound has shape \[3, 10\], label \[4\]'),
        ({'label': np.zeros((4, 1), int)}, r'label is int64 \[4, 1\], expected integers'),
        ({'label': np.asarray([0, 1, 2, 3])}, 'has labels up to 3 and 2 classes'),
        ({'split': np.asarray(['train'], 'S')}, 'has 4 labels, 1 splits'),
        ({'image': np.zeros((4, 8, 8), np.uint8)}, r'image: is uint8 \[8, 8\]'),
        ({'frames': np.zeros((4, 3, 64, 64, 3), np.uint8)}, '4 of proprioception'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, found):
    with pytest.raises(DataError, match=found):
        open_paired(write(tmp_path / 'a.hdf5', **changes))


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = write(tmp_path / 'a.hdf5')
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r'a\.hdf5'):
        open_paired(path)


def test_a_file_that_leads_elsewhere_is_refused(tmp_path):
    write(tmp_path / 'b.hdf5')
    path = write(tmp_path / 'a.hdf5', image=None)
    with h5py.File(path, 'r+') as file:
        file['image'] = h5py.ExternalLink('b.hdf5', 'image')
    with pytest.raises(DataError, match='leads to another file'):
        open_paired(path)
