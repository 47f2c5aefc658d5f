import json
import os
import time
import zipfile
from pathlib import Path

import pytest
from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import MAX_DEPTH, Refusal

REFUSE = Refusal(DataError, 'Use another one.')


def parse(data):
    return foreign_files.parse_json(data, 'stranger.json', REFUSE)


def test_plain_data_come_back_as_they_are():
    content = {'a': [1, -2.5, None, True, 'ä'], 'b': {'c': {}}, 'largest': 2**64 - 1}
    assert parse(json.dumps(content).encode()) == content


@pytest.mark.parametrize(
    ('data', 'named'),
    [
        (b'[' * 200_000, 'nests deeper than 64'),
        (b'[' * 500 + b']' * 500, 'nests deeper than 64'),
        (b'{"a":' * 100_000 + b'1' + b'}' * 100_000, 'nests deeper than 64'),
        (b'1e999999', 'number 1e999999 is too large'),
        (b'-' + b'9' * 100_000, 'is too large'),
        (b'18446744073709551616', 'is too large'),
        (b'{"a": NaN}', 'NaN is no JSON number'),
        (b'[-Infinity]', '-Infinity is no JSON number'),
        (b'{"a": 1, "b": 2, "a": 3}', "key 'a' stands twice"),
        (b'["\\ud800"]', 'surrogates not allowed'),
        (b'{"\\udfff": 1}', 'surrogates not allowed'),
        (b'\xff\xfe\xfd', 'is not JSON'),
        (b'', r'json:1: is not JSON'),
        (b'[1,\n2,\n]', r'json:3: is not JSON'),
    ],
)
def test_json_that_is_a_trap_is_named(data, named):
    start = time.process_time()
    with pytest.raises(DataError, match=named) as caught:
        parse(data)
    assert time.process_time() - start < 5
    assert str(caught.value).startswith('stranger.json')
    assert len(str(caught.value)) < 500


def test_depth_is_counted_to_the_last_level():
    sound = b'[' * MAX_DEPTH + b']' * MAX_DEPTH
    assert parse(sound)
    with pytest.raises(DataError, match='nests deeper'):
        parse(b'[' + sound + b']')


def test_large_but_plain_json_is_read():
    assert len(parse(json.dumps(list(range(200_000))).encode())) == 200_000


@pytest.mark.parametrize('read', ['below', 'named'])
def test_what_is_no_file_is_named_and_does_not_hang(tmp_path, read):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    for name, named in (
        ('pipe', 'pipe: is a pipe, expected a file'),
        ('folder', r'folder: cannot be read \(Is a directory'),
        ('absent', r'absent: cannot be read \(No such file'),
    ):
        with pytest.raises(DataError, match=named):
            if read == 'below':
                foreign_files.read_below(tmp_path, (name,), 100, REFUSE)
            else:
                foreign_files.read(tmp_path / name, 100, REFUSE)
    with pytest.raises(DataError, match='is a device'):
        foreign_files.read(Path('/dev/zero'), 100, REFUSE)
    with pytest.raises(DataError, match='null byte'):
        foreign_files.read(tmp_path / 'a\0b', 100, REFUSE)


def test_a_file_that_claims_terabytes_is_not_read(tmp_path):
    with (tmp_path / 'sparse').open('wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match='has 1099511627776 bytes, expected at most 1000'):
        foreign_files.read_below(tmp_path, ('sparse',), 1000, REFUSE)


def test_links_below_the_root_are_refused_and_above_it_followed(tmp_path):
    (tmp_path / 'real' / 'inner').mkdir(parents=True)
    (tmp_path / 'real' / 'inner' / 'file').write_bytes(b'content')
    (tmp_path / 'root').symlink_to(tmp_path / 'real')
    names = ('inner', 'file')
    assert foreign_files.read_below(tmp_path / 'root', names, 100, REFUSE) == b'content'
    (tmp_path / 'real' / 'link').symlink_to('inner')
    with pytest.raises(DataError, match='link: is a symbolic link, expected a folder'):
        foreign_files.read_below(tmp_path / 'real', ('link', 'file'), 100, REFUSE)
    (tmp_path / 'real' / 'inner' / 'other').symlink_to('file')
    with pytest.raises(DataError, match='other: is a symbolic link, expected a file'):
        foreign_files.read_below(tmp_path / 'real', ('inner', 'other'), 100, REFUSE)
    with pytest.raises(DataError, match='file: is a file, expected a folder'):
        foreign_files.read_below(tmp_path / 'real', ('inner', 'file', 'x'), 100, REFUSE)


def test_a_file_of_exactly_the_limit_is_read(tmp_path):
    (tmp_path / 'file').write_bytes(b'x' * 100)
    assert len(foreign_files.read(tmp_path / 'file', 100, REFUSE)) == 100
    with pytest.raises(DataError, match='has 100 bytes, expected at most 99'):
        foreign_files.read(tmp_path / 'file', 99, REFUSE)


def test_no_descriptor_is_left_open(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'file').write_bytes(b'x')
    before = len(list(Path('/proc/self/fd').iterdir()))
    for _ in range(20):
        foreign_files.read_below(tmp_path, ('a', 'file'), 100, REFUSE)
        for names in (('b', 'file'), ('a', 'file', 'x'), ('a', 'absent')):
            with pytest.raises(DataError):
                foreign_files.read_below(tmp_path, names, 100, REFUSE)
    assert len(list(Path('/proc/self/fd').iterdir())) == before


def test_text_for_terminals_holds_no_control_characters():
    assert foreign_files.printable('\x1b[2Jred\n\u202e\ud800') == r'\x1b[2Jred\n\u202e\ud800'
    assert len(foreign_files.printable('x' * 10_000)) == 201


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path):
    sound, bomb, noise = (tmp_path / name for name in ('sound.npz', 'bomb.npz', 'noise.npz'))
    with zipfile.ZipFile(sound, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.npy', bytes(1 << 20))
    foreign_files.check_zip(sound, REFUSE)
    with zipfile.ZipFile(bomb, 'w', zipfile.ZIP_DEFLATED) as archive:
        for number in range(17):
            archive.writestr(f'{number}.npy', bytes(1 << 20))
    data = bytearray(bomb.read_bytes())
    size = (1 << 20).to_bytes(4, 'little')
    data = data.replace(size, (1 << 30).to_bytes(4, 'little'))  # What each entry claims.
    bomb.write_bytes(data)
    with pytest.raises(DataError, match=r'bomb\.npz: unpacks to 18253611008 bytes, expected at'):
        foreign_files.check_zip(bomb, REFUSE)
    noise.write_bytes(b'PK' + os.urandom(1000))
    with pytest.raises(DataError, match=r'noise\.npz: is no zip archive'):
        foreign_files.check_zip(noise, REFUSE)
