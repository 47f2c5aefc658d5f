import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from paired_files import tone, write_png
from pyarrow import parquet
from robot_learning.errors import DataError, EnvironmentSetupError
from robot_learning.trajectory.paired_sources import open_paired
from robot_learning.trajectory.sound_files import encode_wav


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(EnvironmentSetupError, match=r'hf:beans: .*pip install datasets'):
        open_paired('hf:beans')


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Load the real library, which must not look for a network."""
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
    datasets = pytest.importorskip('datasets')
    monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(datasets.config, 'HF_HUB_OFFLINE', True)
    datasets.disable_progress_bars()
    return datasets


def test_pictures_by_name_are_read_with_their_labels(library, tmp_path):
    for split in ('train', 'validation'):
        for name, value in (('apple', 10), ('pear', 200)):
            for number in range(2):
                write_png(tmp_path / 'set' / split / name / f'{number}.png', value)
    found = open_paired(f'hf:{tmp_path / "set"}')
    assert found.classes == ('apple', 'pear')
    assert found.report.num_samples == {'train': 4, 'val': 4}
    assert sorted((got.label, int(got.image[0, 0, 0])) for got in found.split('val')) == [
        (0, 10),
        (0, 10),
        (1, 200),
        (1, 200),
    ]


def test_sounds_by_name_are_read_without_further_decoders(library, tmp_path):
    """A table as the hub has them: files in cells, and what they are in its metadata."""
    features = library.Features(
        {'audio': library.Audio(), 'label': library.ClassLabel(names=['bell', 'dog'])}
    )
    about = {'info': {'features': features.to_dict()}}
    cells = [{'bytes': encode_wav(tone()), 'path': f'{number}.wav'} for number in range(4)]
    kinds = pa.struct({'bytes': pa.binary(), 'path': pa.string()})
    table = pa.table(
        {'audio': pa.array(cells, kinds), 'label': pa.array([0, 0, 1, 1], pa.int64())}
    )
    (tmp_path / 'set').mkdir()
    parquet.write_table(
        table.replace_schema_metadata({'huggingface': json.dumps(about)}),
        tmp_path / 'set' / 'train-00000-of-00001.parquet',
    )
    found = open_paired(f'hf:{tmp_path / "set"}')
    assert found.modalities == ('sound',)
    assert found.classes == ('bell', 'dog')
    np.testing.assert_allclose(found.read(2).sound, tone(), atol=1e-4)


def test_a_set_without_pictures_and_sounds_is_refused(library, tmp_path):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / 'train.csv').write_text('text,label\nhello,1\n')
    with pytest.raises(DataError, match='has no pictures and no sounds, only text: Value'):
        open_paired(f'hf:{tmp_path / "set"}')


def test_a_set_that_cannot_be_loaded_is_named(library):
    with pytest.raises(DataError, match='hf:nobody/nothing: cannot be loaded'):
        open_paired('hf:nobody/nothing')
