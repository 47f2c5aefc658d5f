import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_diff import compare
from robot_learning.model_files import manifest_digest
from robot_learning.model_store import MANIFEST, WEIGHTS, ModelStore, parse_reference
from robot_learning.version_history import VersionHistory


def tensors(value=1.0):
    return {'layer.weight': np.full((4, 3), value, np.float32), 'bias': np.arange(3.0)}


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / 'models')


def publish(store, count=1, name='navigator', **manifest):
    return [store.publish(name, tensors(float(i)), manifest) for i in range(count)]


def files(store, version=1, name='navigator'):
    folder = store.root / name / f'{version:06d}'
    return folder / WEIGHTS, folder / MANIFEST


def test_what_is_published_is_loaded_bit_by_bit(store):
    sent = {'a': np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)}
    version = store.publish('navigator', sent, {'phase': 'sac', 'nested': {'list': [1, 2.5]}})
    received, manifest = store.load('navigator', version)
    assert np.array_equal(received['a'], sent['a'])
    assert (manifest['phase'], manifest['nested']) == ('sac', {'list': [1, 2.5]})
    assert (manifest['model'], manifest['version']) == ('navigator', 1)


def test_arrays_that_are_not_contiguous_survive(store):
    sent = np.arange(12, dtype=np.float32).reshape(3, 4).T
    store.publish('navigator', {'a': sent}, {})
    assert np.array_equal(store.load('navigator')[0]['a'], sent)


def test_versions_count_up_from_one(store):
    assert store.newest('navigator') is None
    assert publish(store, 3) == [1, 2, 3]
    assert store.names() == ['navigator']
    assert store.versions('navigator') == [1, 2, 3]


@pytest.mark.parametrize('name', ['../evil', 'a/b', '', '.hidden', 'x' * 65, 'a\0', '..'])
def test_names_cannot_leave_the_store(store, name):
    with pytest.raises(StoreError, match='expected 1 to 64'):
        store.publish(name, tensors(), {})
    with pytest.raises(StoreError, match='expected 1 to 64'):
        store.load(name, 1)


def test_symbolic_links_are_refused_wherever_they_stand(store, tmp_path):
    publish(store, 2)
    elsewhere = tmp_path / 'elsewhere'
    (store.root / 'navigator' / '000002').rename(elsewhere)
    (store.root / 'navigator' / '000002').symlink_to(elsewhere)
    assert store.versions('navigator') == [1]
    with pytest.raises(StoreError, match='symbolic link'):
        store.load('navigator', 2)
    weights, _ = files(store)
    weights.rename(tmp_path / 'weights')
    weights.symlink_to(tmp_path / 'weights')
    with pytest.raises(ModelRefusedError, match=r'weights\.safetensors: is a symbolic link'):
        store.load('navigator', 1)
    (store.root / 'other').symlink_to(elsewhere)
    with pytest.raises(StoreError, match='symbolic link'):
        store.publish('other', tensors(), {})


def truncate(path):
    path.write_bytes(path.read_bytes()[:-4])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ('damage', 'file', 'named'),
    [
        (truncate, WEIGHTS, r'the manifest says \d+\. The file is truncated'),
        (flip, WEIGHTS, 'SHA-256'),
        (os.unlink, WEIGHTS, r'weights\.safetensors: cannot be read'),
        (os.unlink, MANIFEST, r'manifest\.json: cannot be read'),
        (truncate, MANIFEST, 'is not JSON'),
        (lambda path: path.write_text('[]'), MANIFEST, 'lacks one of'),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b'0.5', b'0.6')),
            MANIFEST,
            'its own SHA-256',
        ),
    ],
)
def test_damage_is_named(store, damage, file, named):
    publish(store, score=0.5)
    damage(store.root / 'navigator' / '000001' / file)
    with pytest.raises(ModelRefusedError, match=named):
        store.load('navigator', 1)


def test_a_version_copied_under_another_number_is_refused(store):
    publish(store, 1)
    (store.root / 'navigator' / '000001').rename(store.root / 'navigator' / '000009')
    with pytest.raises(ModelRefusedError, match='version is 1, expected 9'):
        store.load('navigator', 9)


def test_a_version_that_is_not_there_is_named_beside_those_that_are(store):
    publish(store, 2)
    with pytest.raises(StoreError, match=r'version 7 is not in .*Newest versions: 1, 2'):
        store.load('navigator', 7)
    with pytest.raises(StoreError, match='holds no version that may be served'):
        store.load('absent')


def test_weights_that_are_not_finite_are_not_published(store):
    with pytest.raises(ModelRefusedError, match='tensor bias holds NaN'):
        store.publish('navigator', {'bias': np.array([1.0, np.nan])}, {})
    assert store.versions('navigator') == []


def test_half_written_versions_are_invisible_and_do_not_block_numbers(store):
    publish(store, 1)
    unfinished = store.root / 'navigator' / '.writing-123-abc'
    unfinished.mkdir()
    (unfinished / WEIGHTS).write_bytes(b'half')
    assert store.versions('navigator') == [1]
    assert publish(store, 1) == [2]


def test_abandoned_temporary_folders_are_removed_when_pruning(store):
    publish(store, 1)
    old, young = (store.root / 'navigator' / f'.writing-{age}' for age in ('old', 'young'))
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    store.prune('navigator', 1, 1)
    assert not old.exists()
    assert young.exists()


def _publish_until_killed(root):
    store = ModelStore(root)
    while True:
        store.publish('navigator', {'w': np.random.default_rng(0).normal(size=(300, 300))}, {})


def test_a_publisher_killed_at_any_moment_leaves_only_sound_versions(store):
    context = multiprocessing.get_context('fork')
    for _ in range(3):
        process = context.Process(target=_publish_until_killed, args=(store.root,), daemon=True)
        process.start()
        goal = len(store.versions('navigator')) + 3
        deadline = time.monotonic() + 20
        while len(store.versions('navigator')) < goal and time.monotonic() < deadline:
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    versions = store.versions('navigator')
    assert len(versions) >= 9
    assert versions == list(range(1, len(versions) + 1))
    for version in versions:
        store.verify('navigator', version)


def _publish_some(root, count):
    for _ in range(count):
        ModelStore(root).publish('navigator', tensors(), {'process': os.getpid()})


def test_publishers_side_by_side_get_numbers_of_their_own(store):
    context = multiprocessing.get_context('fork')
    crowd = [context.Process(target=_publish_some, args=(store.root, 8)) for _ in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
        assert process.exitcode == 0
    assert store.versions('navigator') == list(range(1, 33))
    owners = [store.manifest('navigator', v)['process'] for v in range(1, 33)]
    assert sorted(owners.count(process.pid) for process in crowd) == [8] * 4


def test_serving_follows_the_newest_that_nobody_refused(store):
    publish(store, 3)
    store.refuse('navigator', 3, 'navigator@3: acts outside its limits.')
    assert store.newest('navigator') == 3
    assert store.newest_good('navigator') == store.serving('navigator') == 2
    assert store.refusal('navigator', 3) == 'navigator@3: acts outside its limits.'
    assert store.refusal('navigator', 2) is None
    assert store.load('navigator')[1]['version'] == 2


def test_activating_pins_and_releasing_follows_again(store):
    publish(store, 2)
    store.activate('navigator', 1)
    publish(store, 1)
    assert (store.active('navigator'), store.serving('navigator')) == (1, 1)
    store.release('navigator')
    assert (store.active('navigator'), store.serving('navigator')) == (None, 3)


def test_refused_or_damaged_versions_cannot_be_pinned(store):
    publish(store, 2)
    store.refuse('navigator', 1, 'It circles.')
    with pytest.raises(ModelRefusedError, match='It circles'):
        store.activate('navigator', 1)
    flip(files(store, 2)[0])
    with pytest.raises(ModelRefusedError, match='SHA-256'):
        store.activate('navigator', 2)


def test_rollback_pins_the_sound_version_before(store):
    publish(store, 5)
    store.refuse('navigator', 4, 'It circles.')
    flip(files(store, 3)[0])
    assert store.rollback('navigator') == 2
    assert store.serving('navigator') == 2
    assert store.rollback('navigator') == 1
    with pytest.raises(StoreError, match='no sound version before 1'):
        store.rollback('navigator')


def test_a_damaged_pin_is_named(store):
    publish(store, 1)
    (store.root / 'navigator' / 'active.json').write_text('{')
    with pytest.raises(StoreError, match=r'active\.json:1: is not JSON'):
        store.serving('navigator')


def test_pruning_keeps_the_best_the_newest_and_what_serves(store):
    for score in (0.9, 0.1, 0.8, 0.2, 0.3, None, 0.25):
        store.publish('navigator', tensors(), {'score': score})
    store.activate('navigator', 4)
    assert store.prune('navigator', keep_best=2, keep_newest=2) == [2, 5]
    assert store.versions('navigator') == [1, 3, 4, 6, 7]
    assert publish(store, 1) == [8]  # Numbers are not used twice.


def test_pruning_keeps_the_newest_good_one_when_newer_ones_are_refused(store):
    publish(store, 4)
    for version in (2, 3, 4):
        store.refuse('navigator', version, 'No.')
    store.prune('navigator', keep_best=0, keep_newest=1)
    assert store.versions('navigator') == [1, 4]
    assert store.serving('navigator') == 1


def test_pruning_keeps_what_served_last_while_newer_ones_wait_for_their_canary(store):
    publish(store, 8)
    history = VersionHistory(store.root)
    for version in (1, 2, 3, 4):
        history.append('navigator', version, 'serving')
    store.prune('navigator', keep_best=0, keep_newest=2)
    assert store.versions('navigator') == [2, 3, 4, 7, 8]


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match=r'file/navigator: cannot be written'):
        ModelStore(tmp_path / 'file').publish('navigator', tensors(), {})


def test_the_difference_of_two_versions(store):
    store.publish(
        'navigator', {'w': np.array([3.0, 4.0]), 'old': np.zeros(2)}, {'config': {'a': 1}}
    )
    store.publish(
        'navigator', {'w': np.array([3.0, 4.5]), 'old': np.zeros(3)}, {'config': {'a': 2}}
    )
    difference = compare(store, 'navigator', 1, 2)
    changes = {change.name: change for change in difference.tensors}
    assert changes['w'].relative_change == pytest.approx(0.1)
    assert changes['w'].max_change == 0.5
    assert (changes['old'].before, changes['old'].after) == ((2,), (3,))
    assert np.isnan(changes['old'].relative_change)
    assert difference.manifest['config.a'] == (1, 2)


def test_verifying_names_a_tensor_that_differs_from_the_manifest(store):
    publish(store, 1)
    _, manifest = files(store)
    content = json.loads(manifest.read_text())
    content['tensors']['bias'] = [4]
    content['manifest_sha256'] = manifest_digest(content)
    manifest.write_text(json.dumps(content))
    with pytest.raises(ModelRefusedError, match=r"tensors \['bias'\] differ"):
        store.verify('navigator', 1)


@pytest.mark.parametrize(('text', 'expected'), [('nav', ('nav', None)), ('nav@12', ('nav', 12))])
def test_references_name_a_model_and_perhaps_a_version(text, expected):
    assert parse_reference(text) == expected


def test_a_reference_whose_version_is_no_number_is_refused():
    with pytest.raises(StoreError, match=r"version 'best' is no number. Write nav@12"):
        parse_reference('nav@best')
