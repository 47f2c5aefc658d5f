"""Data sets whose small files stand for far more than they are: refused by name, quickly."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from camera_robot import camera_robot, fill
from foreign_sets import write_lerobot
from PIL import Image
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory.formats import parquet_files
from robot_learning.trajectory.formats.exporting import export
from robot_learning.trajectory.formats.importing import import_dataset, read
from robot_learning.trajectory.formats.parquet_files import read_table
from robot_learning.trajectory.formats.source import EpisodeSource
from robot_learning.trajectory.store import TrajectoryStore

DATA = 'data/chunk-000/file-000.parquet'
EPISODES = 'meta/episodes/chunk-000/file-000.parquet'


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    """Allow less than a real set may have, so that bombs can be small."""
    monkeypatch.setattr(parquet_files, 'LEAST_ALLOWED', 20 << 20)
    monkeypatch.setattr(parquet_files, '_BATCH_BYTES', 1 << 20)


def write(path, column, **options):
    pq.write_table(pa.table({'column': column}), path, compression='zstd', **options)
    assert path.stat().st_size < 20_000
    return path


def zeros():
    return pa.array(np.zeros(4_000_000))


def texts():
    """A text of 100 kB, repeated."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), ['x' * 100_000])


def lists():
    flat = pa.array(np.zeros(4_000_000))
    return pa.ListArray.from_arrays(pa.array([0, 0, 4_000_000], pa.int32()), flat)


@pytest.mark.parametrize('column', [zeros, texts, lists])
def test_a_table_that_becomes_far_larger_than_its_file_is_refused(tmp_path, column):
    file = write(tmp_path / 'bomb.parquet', column(), store_schema=False)
    with pytest.raises(DataError, match=r'bomb\.parquet: becomes more than \d+ bytes in memory'):
        read_table(file)


def test_tables_come_back_whole_and_in_their_types(tmp_path):
    pictures = [{'bytes': b'x' * (i % 50), 'path': None} for i in range(10_000)]
    table = pa.table(
        {
            'number': np.arange(10_000),
            'vector': pa.FixedSizeListArray.from_arrays(pa.array(np.arange(20_000.0)), 2),
            'text': [f'{i}' for i in range(10_000)],
            'stats/mean': np.zeros(10_000),
            'observation.images.top': pictures,
        }
    )
    pq.write_table(table, tmp_path / 'table.parquet', row_group_size=3000)
    assert read_table(tmp_path / 'table.parquet') == table
    left = read_table(tmp_path / 'table.parquet', leave_out='stats/')
    assert left == table.drop_columns(['stats/mean'])
    pq.write_table(table.slice(0, 0), tmp_path / 'empty.parquet')
    assert read_table(tmp_path / 'empty.parquet') == table.slice(0, 0)


@pytest.mark.parametrize('name', [DATA, EPISODES])
def test_a_lerobot_set_with_such_a_table_is_refused(tmp_path, name):
    path = write_lerobot(tmp_path / 'lift', pictures='none')
    table = pq.read_table(path / name)
    more = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(table), np.int32)), ['x' * 15_000_000]
    )
    pq.write_table(table.append_column('more', more), path / name, compression='zstd')
    with pytest.raises(DataError, match=r'file-000\.parquet: becomes more than'):
        list(read(path, 'lerobot'))


def test_a_picture_larger_than_the_set_says_is_not_decoded(tmp_path):
    path = write_lerobot(tmp_path / 'lift', pictures='image')
    Image.new('RGB', (3000, 3000)).save(tmp_path / 'large.png')
    table = pq.read_table(path / DATA)
    pictures = [{'bytes': (tmp_path / 'large.png').read_bytes(), 'path': None}] * len(table)
    place = table.column_names.index('observation.images.top')
    table = table.set_column(place, 'observation.images.top', pa.array(pictures))
    pq.write_table(table, path / DATA)
    with pytest.raises(DataError, match='a picture of 3000x3000 is larger than the set says'):
        list(read(path, 'lerobot'))


def test_a_video_larger_than_the_set_says_is_not_decoded(tmp_path):
    path = write_lerobot(tmp_path / 'lift')
    info = json.loads((path / 'meta/info.json').read_text())
    info['features']['observation.images.top']['shape'] = [8, 8, 3]
    (path / 'meta/info.json').write_text(json.dumps(info))
    with pytest.raises(DataError, match=r'\.mp4: has frames of 96x64, which are larger'):
        list(read(path, 'lerobot'))


@pytest.mark.parametrize(
    'pattern', ['{chunk_index:9999999999d}', '{chunk_index.__class__}', '{file_index!r:>99999999}']
)
def test_a_pattern_of_names_that_is_a_trap_is_refused(tmp_path, pattern):
    path = write_lerobot(tmp_path / 'lift', pictures='none')
    info = json.loads((path / 'meta/info.json').read_text()) | {'data_path': pattern}
    (path / 'meta/info.json').write_text(json.dumps(info))
    with pytest.raises(DataError, match='expected chunk and file numbers in it'):
        list(read(path, 'lerobot'))


@pytest.mark.parametrize('kind', ['npz', 'lerobot'])
def test_a_set_cannot_put_a_session_outside_of_the_store(tmp_path, kind):
    store = fill(tmp_path / 'recorded')
    out = tmp_path / 'out'
    export(EpisodeSource(store.root), kind, out)
    index = out / {'npz': 'index.json', 'lerobot': 'meta/robot_learning.json'}[kind]
    text = index.read_text()
    name = json.loads(text)['episodes' if kind == 'npz' else 'trajectories'][0]
    session = name['attributes']['session']
    index.write_text(text.replace(f'"session": "{session}"', '"session": "../../evil"'))
    with pytest.raises(StoreError, match=r"'../../evil' is no name of a session"):
        import_dataset(out, kind, camera_robot(), TrajectoryStore(tmp_path / 'store'))
    assert not [path for path in tmp_path.rglob('*') if 'evil' in path.name]
