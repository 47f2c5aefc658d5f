"""Version folders made by somebody who wishes us ill, and by chance."""

import hashlib
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from robot_learning.errors import ModelRefusedError, RobotLearningError, StoreError
from robot_learning.model_files import ModelFileRules, manifest_digest
from robot_learning.model_store import MANIFEST, WEIGHTS, ModelStore

TENSORS = {'w': np.arange(6, dtype=np.float32).reshape(2, 3), 'bias': np.ones(2)}


@pytest.fixture
def store(tmp_path):
    store = ModelStore(tmp_path / 'models')
    store.publish('navigator', TENSORS, {'phase': 'sac', 'provenance': {'update': 3}})
    return store


@pytest.fixture
def folder(store):
    return store.root / 'navigator' / '000001'


def reseal(folder, **changes):
    """Write a manifest that is consistent, as everybody can who knows our format."""
    content = json.loads((folder / MANIFEST).read_text()) | changes
    content['manifest_sha256'] = manifest_digest(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def put_weights(folder, data, **changes):
    (folder / WEIGHTS).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    reseal(folder, sha256=digest, bytes=len(data), **changes)


def safetensors(header, body=b''):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(header)) + header + body


def one(dtype='F32', shape=(1,), offsets=(0, 4)):
    return {'a': {'dtype': dtype, 'shape': list(shape), 'data_offsets': list(offsets)}}


HEADERS = {
    'empty': b'',
    'header longer than the file': struct.pack('<Q', 1000) + b'{}',
    'header of exabytes': struct.pack('<Q', 2**63) + b'{}',
    'header above our limit': safetensors(b'{}' + b' ' * (5 << 20)),
    'header of brackets': safetensors(b'{"a":' + b'[' * 100_000 + b']' * 100_000 + b'}'),
    'unknown type': safetensors(one('X9'), b'0000'),
    'type numpy lacks': safetensors(one('BF16', (2,)), b'0000'),
    'shape that overflows': safetensors(one(shape=(2**62, 8)), b'0000'),
    'shape that overflows to nothing': safetensors(one(shape=(2**32, 2**32, 0), offsets=(0, 0))),
    'negative shape': safetensors(one(shape=(-1,)), b'0000'),
    'shape larger than the data': safetensors(one(shape=(2**40,), offsets=(0, 4)), b'0000'),
    'offsets beyond the file': safetensors(one(shape=(2**40,), offsets=(0, 2**42)), b'0000'),
    'offsets backwards': safetensors(one(offsets=(4, 0)), b'0000'),
    'hole': safetensors(one(offsets=(4, 8)), b'0' * 8),
    'overlap': safetensors({**one(), 'b': one()['a']}, b'0000'),
    'bytes that belong to nobody': safetensors(one(), b'0' * 12),
    'a hundred axes': safetensors(one(shape=(1,) * 100), b'0000'),
    'fractions of an element': safetensors(one(shape=(1.5,)), b'0000'),
    'no header': safetensors(b'[]'),
}


@pytest.mark.parametrize('data', HEADERS.values(), ids=HEADERS.keys())
def test_weights_that_are_a_trap_are_refused(store, folder, data):
    put_weights(folder, data)
    start = time.process_time()
    with pytest.raises(ModelRefusedError, match=r'weights\.safetensors: '):
        store.load('navigator', 1)
    assert time.process_time() - start < 5


def test_weights_other_than_the_manifest_says_are_refused(store, folder):
    put_weights(folder, safetensors(one(), b'0000'))
    with pytest.raises(ModelRefusedError, match=r"tensors \['a', 'bias', 'w'\] differ"):
        store.load('navigator', 1)


def test_oversized_weights_are_refused_without_being_read(store, folder):
    with (folder / WEIGHTS).open('r+b') as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelRefusedError, match='has 1099511627776 bytes, expected at most'):
        store.load('navigator', 1)
    reseal(folder, bytes=1 << 40)
    with pytest.raises(ModelRefusedError, match='Raise max_model_bytes'):
        store.load('navigator', 1)
    small = ModelStore(store.root, ModelFileRules(max_model_bytes=10))
    with pytest.raises(StoreError, match='expected at most 10'):
        small.publish('navigator', TENSORS, {})


def test_a_refusal_of_a_large_file_takes_little_memory(store, folder):
    with (folder / WEIGHTS).open('r+b') as file:
        file.truncate(1 << 40)
    (folder / MANIFEST).write_bytes(b'[' * (8 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelRefusedError, match='nests deeper'):
        store.load('navigator', 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB.


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        (b'[' * 100_000, 'nests deeper than 64'),
        (b'{"a": 1e999999}', 'number 1e999999 is too large'),
        (b'{"a": NaN}', 'NaN is no JSON number'),
        (b'{"a": 1, "a": 1}', "key 'a' stands twice"),
        (b'"' + b'x' * (9 << 20) + b'"', 'expected at most 8388608'),
        (b'[]', 'lacks one of'),
        (b'null', 'lacks one of'),
        (b'\x00\x01', 'is not JSON'),
    ],
)
def test_a_manifest_that_is_a_trap_is_named(store, folder, content, named):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ModelRefusedError, match=rf'manifest\.json.*: .*{named}'):
        store.load('navigator', 1)


@pytest.mark.parametrize(
    'changes',
    [
        {'sha256': 5},
        {'bytes': True},
        {'bytes': '10'},
        {'bytes': -1},
        {'tensors': []},
        {'provenance': []},
        {'provenance': {'update': 'many'}},
        {'provenance': {'update': -1}},
        {'provenance': {'segments': 'all'}},
        {'metrics': 5},
        {'config': 'x'},
        {'score': 'best'},
        {'score': True},
        {'policy': [1]},
        {'version': True},
        {'version': 1.0},
        {'model': 'racer'},
        {'model': None},
    ],
)
def test_entries_of_the_wrong_kind_are_named(store, folder, changes):
    reseal(folder, **changes)
    with pytest.raises(ModelRefusedError, match=rf'{next(iter(changes))}|update|segments'):
        store.load('navigator', 1)


def test_files_that_do_not_belong_there_are_named(store, folder):
    (folder / 'setup.py').write_text('')
    with pytest.raises(ModelRefusedError, match=r"holds \['setup\.py'\], expected only"):
        store.load('navigator', 1)


NAMES = (
    '..',
    '../navigator',
    '/etc',
    'a/../b',
    'a\\b',
    'a\nb',
    'a\0b',
    'a b',
    '',
    '.hidden',
    '-option',
    'x' * 65,
    'navigator\u202egpj',
    'nаvigator',  # The second letter is Cyrillic.
    'ﬁle',
    '\ud800',
)


@pytest.mark.parametrize('name', NAMES, ids=[ascii(name) for name in NAMES])
def test_names_that_lead_elsewhere_are_refused_by_every_method(store, name):
    for use in (
        lambda: store.publish(name, TENSORS, {}),
        lambda: store.load(name, 1),
        lambda: store.manifest(name, 1),
        lambda: store.versions(name),
        lambda: store.serving(name),
        lambda: store.activate(name, 1),
        lambda: store.refuse(name, 1, 'no'),
        lambda: store.prune(name, 1, 1),
    ):
        with pytest.raises(StoreError, match='expected 1 to 64 letters') as caught:
            use()
        assert str(caught.value).isprintable()


@pytest.mark.parametrize('entry', ['٠٠٠٠٠٧', '000000000007', '00007', '-00007', '7', '000007 '])
def test_folders_with_odd_numbers_are_no_versions(store, entry):
    shutil.copytree(store.root / 'navigator' / '000001', store.root / 'navigator' / entry)
    assert store.versions('navigator') == [1]
    assert store.strange_entries() == [store.root / 'navigator' / entry]


def link_away(path, outside):
    shutil.move(path, outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    'parts', [(), ('000001',), ('000001', WEIGHTS), ('000001', MANIFEST), ('active.json',)]
)
def test_links_out_of_the_store_are_refused_wherever_they_stand(store, tmp_path, parts):
    store.activate('navigator', 1)
    link_away(store.root.joinpath('navigator', *parts), tmp_path / 'outside')
    with pytest.raises(RobotLearningError, match=r'symbolic link'):
        store.load('navigator', None if parts == ('active.json',) else 1)
    if len(parts) < 2:
        assert store.strange_entries() == [store.root.joinpath('navigator', *parts)]
    if not parts:
        assert store.names() == []


@pytest.mark.parametrize('file', [WEIGHTS, MANIFEST, 'active.json', '000001.refused.json'])
@pytest.mark.parametrize('make', [os.mkfifo, os.mkdir], ids=['pipe', 'folder'])
def test_what_is_no_file_is_refused_without_waiting(store, folder, file, make):
    path = (folder if file in (WEIGHTS, MANIFEST) else folder.parent) / file
    path.unlink(missing_ok=True)
    make(path)
    start = time.monotonic()
    if file == '000001.refused.json':
        assert store.serving('navigator') is None
    else:
        with pytest.raises(RobotLearningError, match=rf'{file}: (is a pipe|.*Is a directory)'):
            store.load('navigator')
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    'content',
    [
        '{"version": 1e999}',
        '{"version": true}',
        '{"version": -1}',
        '{"version": "1"}',
        '[1]',
        '{}',
    ],
)
def test_a_pin_that_is_none_is_named(store, content):
    (store.root / 'navigator' / 'active.json').write_text(content)
    with pytest.raises(StoreError, match=r'active\.json.*models activate'):
        store.serving('navigator')


def test_the_reason_of_a_refusal_cannot_write_on_the_terminal(store):
    marker = store.root / 'navigator' / '000001.refused.json'
    marker.write_text(json.dumps({'reason': '\x1b[2J' + 'x' * 50_000}))
    reason = store.refusal('navigator', 1)
    assert reason.isprintable()
    assert len(reason) < 5000


def test_publishing_refuses_what_could_not_be_read_again(store):
    with pytest.raises(StoreError, match=r'its manifest has .* bytes, expected at most'):
        store.publish('navigator', TENSORS, {'provenance': {'segments': ['x' * 100] * 100_000}})
    with pytest.raises(StoreError, match='its manifest: is not JSON'):
        store.publish('navigator', TENSORS, {'metrics': {'loss': float('nan')}})
    assert store.versions('navigator') == [1]


_READ_ONLY = """
import os, sys
import numpy as np
from robot_learning.errors import RobotLearningError
from robot_learning.model_signatures import generate_key
from robot_learning.model_store import ModelStore
from pathlib import Path
if os.geteuid() == 0:
    os.setuid(65534)  # Nobody: permissions do not hold for root.
store = ModelStore(sys.argv[1])
for use in (
    lambda: store.publish('navigator', {'w': np.ones(1)}, {}),
    lambda: store.publish('other', {'w': np.ones(1)}, {}),
    lambda: store.activate('navigator', 1),
    lambda: store.refuse('navigator', 1, 'no'),
    lambda: store.release('navigator'),
    lambda: store.pardon('navigator', 1),
    lambda: store.prune('navigator', 0, 1),
    lambda: generate_key(Path(sys.argv[1]) / 'key.pem'),
):
    try:
        use()
        print('done')
    except RobotLearningError as error:
        print(error)
print(store.load('navigator', 2)[0]['w'].tolist())
"""


def test_a_store_that_may_only_be_read_says_so(tmp_path):
    root = tmp_path / 'models'
    store = ModelStore(root)
    for _ in range(2):
        store.publish('navigator', {'w': np.ones(1)}, {})
    store.activate('navigator', 2)
    store.refuse('navigator', 1, 'It circles.')
    for path in (root, root / 'navigator'):
        path.chmod(0o555)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path.is_relative_to(tempfile.gettempdir()):
            path.chmod(path.stat().st_mode | 0o055)
    command = [sys.executable, '-c', _READ_ONLY, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    for path in (root, root / 'navigator'):
        path.chmod(0o755)
    *lines, loaded = done.stdout.splitlines()
    assert loaded == '[1.0]', done.stderr
    assert len(lines) == 8
    for line in lines:
        denied = 'cannot be written (Permission denied)' in line
        assert denied or 'was refused: It circles.' in line, line


def mutated(data, rng):
    """Change some bytes of a file in one of the ways in which files change."""
    data = bytearray(data)
    kind = rng.randrange(6)
    place = rng.randrange(len(data))
    if kind == 0:
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[place : place + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(40))
    elif kind == 2:
        del data[place:]
    elif kind == 3:
        data[place:place] = data[: rng.randrange(100)]
    elif kind == 4:
        data[: min(8, len(data))] = rng.randbytes(8)
    else:
        digits = [i for i, byte in enumerate(data) if chr(byte).isdigit()] or [place]
        data[rng.choice(digits)] = ord(rng.choice('0123456789-.e'))
    return bytes(data)


def test_no_random_change_gives_wrong_weights_or_another_exception(store, folder):
    """One or both files changed; half of the time the digests are made to fit again."""
    rng = random.Random(20)
    sound = {name: (folder / name).read_bytes() for name in (WEIGHTS, MANIFEST)}
    outcomes = {'refused': 0, 'loaded': 0}
    for _ in range(800):
        files = dict(sound)
        for name in rng.sample(sorted(files), rng.randrange(1, 3)):
            files[name] = mutated(files[name], rng)
        is_sealed = rng.random() < 0.5
        for name, data in files.items():
            (folder / name).write_bytes(data)
        if is_sealed:
            (folder / MANIFEST).write_bytes(sound[MANIFEST])
            put_weights(folder, files[WEIGHTS])
        try:
            tensors, manifest = store.load('navigator', 1)
            store.verify('navigator', 1)
        except RobotLearningError as error:
            outcomes['refused'] += 1
            assert 'navigator' in str(error)
            continue
        outcomes['loaded'] += 1
        assert {name: value.shape for name, value in tensors.items()} == {
            'w': (2, 3),
            'bias': (2,),
        }
        assert manifest['model'] == 'navigator'
        if not is_sealed:  # Nobody made the digests fit: then nothing may differ.
            assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert outcomes['refused'] > 300 and outcomes['loaded'] > 0, outcomes
    for name, data in sound.items():
        (folder / name).write_bytes(data)
    store.verify('navigator', 1)
