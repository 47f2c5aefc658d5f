import io
import json
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image
from robot_learning.errors import DataError, EnvironmentSetupError
from robot_learning.trajectory import captioned_images
from robot_learning.trajectory.captioned_images import read


def png(value=0, size=(6, 4)):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, 'PNG')
    return buffer.getvalue()


def lines(*entries):
    return ''.join(f'{json.dumps(entry)}\n' for entry in entries)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep' / 'a.png').write_bytes(png(10))
    with zipfile.ZipFile(tmp_path / 'more.zip', 'w') as archive:
        archive.writestr('b.png', png(20))
    (tmp_path / 'captions.jsonl').write_text(
        lines(
            {'image': 'a.png', 'caption': 'A Dog'},
            {'image': 'b.png', 'captions': ['two cats', 'cats']},
            {'image': 'a.png', 'caption': 'a brown dog'},
        )
    )
    return tmp_path


@pytest.fixture
def shop(tmp_path):
    for name, value in (('x.png', 1), ('y.png', 2), ('z.png', 3), ('icon.png', 4)):
        (tmp_path / name).write_bytes(png(value))
    (tmp_path / 'meta.csv').write_text(
        'file,split,fine\nx.png,train,0\ny.png,train,1\nz.png,val,1\n'
    )
    (tmp_path / 'class_descriptions.jsonl').write_text(
        lines(
            {
                'fine': 0,
                'name': 'Red-Apple',
                'description': 'Red and round.',
                'iconic': 'icon.png',
            },
            {'fine': 1, 'name': 'Leek', 'description': 'Long and green.'},
        )
    )
    return tmp_path


def test_pictures_come_from_folders_and_archives(folder):
    images = read(folder)
    assert [row.name for row in images.rows] == ['a.png', 'b.png']
    assert images.rows[0].captions == ('a dog', 'a brown dog')
    assert images.load('a.png').shape == (6, 4, 3) and images.load('a.png')[0, 0, 0] == 10
    assert images.load('b.png')[0, 0, 0] == 20
    assert len(images.sha256) == 64 and images.classes == {}


def test_pictures_of_a_class_share_its_description(shop):
    images = read(shop)
    assert images.classes == {'Red-Apple': 'red and round.', 'Leek': 'long and green.'}
    by_name = {row.name: row for row in images.rows}
    assert by_name['y.png'].captions[0] == by_name['z.png'].captions[0] == 'long and green.'
    assert by_name['x.png'].captions[1] == 'red apple. red and round.'
    assert by_name['icon.png'].group == 'Red-Apple' and by_name['icon.png'].split == 'train'


def test_what_the_data_mark_is_held_out(shop):
    learned, held = read(shop).split(0.5, seed=0)
    assert [row.name for row in held] == ['z.png']
    assert {row.name for row in learned} == {'x.png', 'y.png', 'icon.png'}


def test_else_a_share_is_held_out_by_name(tmp_path):
    names = [f'{number}.png' for number in range(200)]
    for name in names:
        (tmp_path / name).write_bytes(png())
    (tmp_path / 'captions.jsonl').write_text(
        lines(*({'image': name, 'caption': 'x'} for name in names))
    )
    learned, held = read(tmp_path).split(0.2, seed=3)
    assert 20 < len(held) < 60 and len(learned) + len(held) == 200
    again = read(tmp_path).split(0.2, seed=3)[1]
    assert held == again and held != read(tmp_path).split(0.2, seed=4)[1]


def test_real_captions_are_read(data_directory):
    images = read(data_directory / 'coco_captions')
    assert len(images.rows) == 106
    assert sum(len(row.captions) for row in images.rows) == pytest.approx(530, abs=5)
    assert images.load(images.rows[0].name).shape[2] == 3


def test_real_shop_photographs_are_read(data_directory):
    images = read(data_directory / 'grocery')
    assert len(images.classes) == 81
    learned, held = images.split(0.1, 0)
    assert (len(learned), len(held)) == (2640 + 81, 296)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('', r'names 0 pictures, expected at least 2'),
        ('{oh\n', r'captions.jsonl:1: is no JSON'),
        ('[1]\n', r'captions.jsonl:1: is no JSON object'),
        (lines({'image': 'a.png'}), r"keys \['image'\], expected \"image\" and \"caption\""),
        (lines({'image': 'a.png', 'caption': ' '}), r"caption of a.png is ' ', expected a text"),
        (lines({'image': 'a.png', 'captions': []}), r'expected "image" and "caption"'),
        (
            lines({'image': 'c.png', 'caption': 'x'}),
            r'c.png is neither in this folder nor in a zip',
        ),
        (lines({'image': 'a.png', 'caption': 'x'}), r'names 1 pictures, expected at least 2'),
    ],
)
def test_a_wrong_line_is_one_clear_error(folder, content, said):
    (folder / 'captions.jsonl').write_text(content)
    with pytest.raises(DataError, match=said):
        read(folder)


def test_a_damaged_picture_is_named(folder):
    (folder / 'deep' / 'a.png').write_bytes(png()[:30])
    with pytest.raises(DataError, match=r'a.png: cannot be read as a picture'):
        read(folder).load('a.png')


def test_a_damaged_archive_is_named(folder):
    (folder / 'more.zip').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'more.zip: is no zip archive'):
        read(folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match=r'holds neither captions.jsonl nor meta.csv'):
        read(tmp_path)
    with pytest.raises(DataError, match=r'is no folder, expected one with captions.jsonl'):
        read(tmp_path / 'missing')


def test_pictures_of_one_class_only_are_refused(shop):
    (shop / 'meta.csv').write_text('file,split,fine\nx.png,train,0\ny.png,train,0\n')
    with pytest.raises(DataError, match=r'pictures of 1 class, expected at least 2'):
        read(shop)


def test_a_class_that_nobody_describes_is_refused(shop):
    (shop / 'meta.csv').write_text('file,split,fine\nx.png,train,7\n')
    with pytest.raises(DataError, match=r'meta.csv:2: found file .x.png. of class 7'):
        read(shop)


def test_a_set_by_name_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(EnvironmentSetupError, match=r'pip install datasets'):
        read(captioned_images.Path('coco'))


def test_a_set_by_name_is_read_where_the_package_is(monkeypatch):
    class Loaded(list):
        def remove_columns(self, name):
            return [{k: v for k, v in row.items() if k != name} for row in self]

    picture = Image.fromarray(np.zeros((5, 7, 3), np.uint8))
    rows = Loaded(
        [
            {'image': picture, 'caption': ['A Man', ' ']},
            {'image': picture, 'caption_0': 'one', 'caption_1': 'two'},
            {'image': picture, 'caption': []},
        ]
    )
    asked = []
    fake = types.ModuleType('datasets')
    fake.load_dataset = lambda name, split: asked.append((name, split)) or rows
    monkeypatch.setitem(sys.modules, 'datasets', fake)
    images = read(captioned_images.Path('coco'))
    assert asked[0][0] == 'jxie/coco_captions'
    assert [row.captions for row in images.rows] == [('a man',), ('one', 'two')]
    assert images.load('1').shape == (5, 7, 3)


def test_a_set_that_cannot_be_loaded_is_one_error(monkeypatch):
    fake = types.ModuleType('datasets')

    def fail(name, split):
        raise ConnectionError('no network')

    fake.load_dataset = fail
    monkeypatch.setitem(sys.modules, 'datasets', fake)
    with pytest.raises(DataError, match=r'--data coco: cannot be loaded .*no network'):
        read(captioned_images.Path('coco'))
