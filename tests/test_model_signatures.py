import json
import multiprocessing
import os
import shutil
import stat

import numpy as np
import pytest
from robot_learning import model_signatures, trusted_keys
from robot_learning.errors import KeyFileError, ModelRefusedError, SignatureError, StoreError
from robot_learning.model_files import ModelFileRules
from robot_learning.model_signatures import generate_key, public_key_path, read_signer
from robot_learning.model_store import MANIFEST, SIGNATURE, WEIGHTS, ModelStore
from robot_learning.trusted_keys import TrustedKeys, key_identity


@pytest.fixture
def keys(tmp_path):
    return TrustedKeys(tmp_path / 'configuration' / 'trusted_keys.json')


@pytest.fixture
def maker(tmp_path, keys):
    """Somebody whose signature counts."""
    signer = generate_key(tmp_path / 'keys' / 'maker.pem')
    keys.add(signer.public_key, 'maker')
    return signer


@pytest.fixture
def stranger(tmp_path):
    return generate_key(tmp_path / 'keys' / 'stranger.pem')


@pytest.fixture
def store(tmp_path, keys):
    """A store whose versions must be signed."""
    return ModelStore(tmp_path / 'models', ModelFileRules(True, keys.path))


def publish(store, signer=None, count=1, name='navigator'):
    writer = ModelStore(store.root, signer=signer)
    return [writer.publish(name, {'w': np.full(3, float(i))}, {}) for i in range(count)][-1]


def folder(store, version, name='navigator'):
    return store.root / name / f'{version:06d}'


def test_a_version_signed_while_published_is_loaded(store, maker):
    publish(store, maker)
    assert store.load('navigator', 1)[0]['w'].tolist() == [0, 0, 0]
    assert store.signed_by('navigator', 1) == 'maker'


def test_a_version_signed_afterwards_is_loaded(store, maker):
    publish(store)
    assert store.serving('navigator') is None
    with pytest.raises(SignatureError, match=r'navigator@1: is not signed. .*models sign'):
        store.load('navigator', 1)
    ModelStore(store.root).sign('navigator', 1, maker)
    assert store.serving('navigator') == 1
    store.verify('navigator', 1)


def test_without_the_rule_unsigned_versions_are_loaded(store):
    publish(store)
    assert ModelStore(store.root).load('navigator', 1)


def test_a_key_that_nobody_trusts_is_named(store, maker, stranger):
    publish(store, stranger)
    named = rf'signed by key {stranger.identity}, which is not trusted here \(trusted: maker\)'
    with pytest.raises(SignatureError, match=named):
        store.load('navigator', 1)


def test_a_key_counts_no_more_once_it_is_untrusted(store, maker, keys):
    publish(store, maker)
    store.load('navigator', 1)
    keys.remove('maker')
    with pytest.raises(SignatureError, match='trusted: nobody'):
        store.load('navigator', 1)
    assert 'not trusted' in store.refusal('navigator', 1)


def resealed(store, number, **changes):
    """Change a manifest as somebody would who knows our format but has no key."""
    from robot_learning.model_files import manifest_digest

    path = folder(store, number) / MANIFEST
    content = json.loads(path.read_text()) | changes
    content['manifest_sha256'] = manifest_digest(content)
    path.write_text(json.dumps(content, indent=1))


def test_a_version_changed_after_signing_is_refused(store, maker):
    publish(store, maker)
    resealed(store, 1, phase='other')
    with pytest.raises(SignatureError, match='by maker does not fit it: it was changed'):
        store.load('navigator', 1)


def test_weights_exchanged_under_a_signed_manifest_are_refused(store, maker):
    publish(store, maker)
    publish(store, None, count=2)
    shutil.copy(folder(store, 3) / WEIGHTS, folder(store, 1) / WEIGHTS)
    with pytest.raises(ModelRefusedError, match='SHA-256'):
        store.load('navigator', 1)


def test_a_signed_version_cannot_be_passed_off_as_another(store, maker):
    """An old, worse version replayed as the newest, or as another model's."""
    publish(store, maker)
    shutil.copytree(folder(store, 1), folder(store, 9))
    with pytest.raises(ModelRefusedError, match='version is 1, expected 9'):
        store.load('navigator', 9)
    resealed(store, 9, version=9)
    with pytest.raises(SignatureError, match='does not fit'):
        store.load('navigator', 9)
    shutil.copytree(store.root / 'navigator', store.root / 'racer')
    with pytest.raises(ModelRefusedError, match="model is 'navigator', expected 'racer'"):
        store.load('racer', 1)


def test_a_signature_of_another_version_does_not_fit(store, maker):
    publish(store, maker, count=2)
    shutil.copy(folder(store, 1) / SIGNATURE, folder(store, 2) / SIGNATURE)
    with pytest.raises(SignatureError, match='does not fit'):
        store.load('navigator', 2)


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        (b'', 'is not JSON'),
        (b'[]', 'is no ed25519 signature'),
        (b'[' * 5000, 'nests deeper'),
        (b'{"algorithm": "none", "key": "KEY", "signature": ""}', 'is no ed25519 signature'),
        (b'{"algorithm": "ed25519", "key": "KEY"}', 'no signature in base64'),
        (b'{"algorithm": "ed25519", "key": "KEY", "signature": "!"}', 'no signature in base64'),
        (b'{"algorithm": "ed25519", "key": "KEY", "signature": 5}', 'no signature in base64'),
        (b'{"algorithm": "ed25519", "key": "KEY", "signature": ""}', 'does not fit'),
        (b'{"algorithm": "ed25519", "key": "KEY", "signature": "AAAA"}', 'does not fit'),
        (b'{"algorithm": "ed25519", "key": ["KEY"], "signature": "AAAA"}', 'not trusted'),
        (b'{"algorithm": "ed25519", "signature": "AAAA"}', 'not trusted'),
        (b' ' * 100_000, 'expected at most 65536'),
    ],
)
def test_a_signature_file_that_is_none_is_named(store, maker, content, named):
    publish(store, maker)
    path = folder(store, 1) / SIGNATURE
    path.write_bytes(content.replace(b'KEY', maker.identity.encode()))
    with pytest.raises(ModelRefusedError, match=named):
        store.load('navigator', 1)


def test_serving_takes_the_newest_version_that_is_signed(store, maker, stranger):
    publish(store, maker, count=2)
    publish(store, None)
    publish(store, stranger)
    assert (store.newest('navigator'), store.serving('navigator')) == (4, 2)
    with pytest.raises(SignatureError):
        store.activate('navigator', 3)


def test_who_demands_signatures_does_not_mark_unsigned_versions_for_others(store):
    publish(store)
    store.refuse('navigator', 1, 'not signed')
    assert ModelStore(store.root).refusal('navigator', 1) is None


def test_versions_older_than_allowed_are_refused_signed_or_not(store, maker, keys):
    publish(store, maker, count=3)
    strict = ModelStore(store.root, ModelFileRules(True, keys.path, oldest_version=3))
    assert strict.serving('navigator') == 3
    with pytest.raises(ModelRefusedError, match='navigator@2: is older than 3'):
        strict.load('navigator', 2)


def test_pruning_keeps_the_newest_signed_version(store, maker):
    publish(store, maker)
    publish(store, None, count=6)
    ModelStore(store.root).prune('navigator', keep_best=0, keep_newest=2)
    assert store.versions('navigator') == [1, 6, 7]


def test_damaged_versions_are_not_signed(store, maker):
    publish(store)
    path = folder(store, 1) / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelRefusedError, match='truncated'):
        ModelStore(store.root).sign('navigator', 1, maker)
    with pytest.raises(StoreError, match='version 2 is not in'):
        store.sign('navigator', 2, maker)


def _sign_often(root, key):
    signer = read_signer(key)
    for _ in range(30):
        ModelStore(root).sign('navigator', 1, signer)
        ModelStore(root).activate('navigator', 1)
        ModelStore(root).publish('navigator', {'w': np.ones(2)}, {})


def test_signing_publishing_and_activating_side_by_side_tear_nothing(store, maker, tmp_path):
    publish(store, maker)
    context = multiprocessing.get_context('fork')
    key = tmp_path / 'keys' / 'maker.pem'
    crowd = [context.Process(target=_sign_often, args=(store.root, key)) for _ in range(3)]
    for process in crowd:
        process.start()
    while any(process.is_alive() for process in crowd):
        store.load('navigator', 1)
        assert store.active('navigator') in (None, 1)
        assert all(v == 1 or store.refusal('navigator', v) for v in store.versions('navigator'))
    assert [process.exitcode for process in crowd] == [0, 0, 0]
    assert store.versions('navigator') == list(range(1, 92))
    assert store.strange_entries() == []


# --- keys --------------------------------------------------------------------------------


def test_the_private_key_is_its_owners_alone(tmp_path, maker):
    path = tmp_path / 'keys' / 'maker.pem'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_signer(path).identity == maker.identity
    read = model_signatures.read_public_key(public_key_path(path))
    assert key_identity(read) == maker.identity
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=r'permissions 640.*chmod 600'):
        read_signer(path)


def test_keys_are_not_overwritten(tmp_path, maker):
    with pytest.raises(KeyFileError, match=r'maker\.pem: is there already'):
        generate_key(tmp_path / 'keys' / 'maker.pem')


def test_a_key_with_a_passphrase_asks_for_it(tmp_path):
    path = tmp_path / 'secret.pem'
    signer = generate_key(path, 'open sesame')
    assert read_signer(path, lambda: 'open sesame').identity == signer.identity
    with pytest.raises(KeyFileError, match='passphrase is another one'):
        read_signer(path, lambda: 'wrong')
    with pytest.raises(KeyFileError, match='nobody can be asked'):
        read_signer(path)


def test_what_is_no_key_is_named(tmp_path, maker):
    path = tmp_path / 'noise.pem'
    path.write_bytes(os.urandom(500))
    path.chmod(0o600)
    for read in (read_signer, model_signatures.read_public_key):
        with pytest.raises(KeyFileError, match=r'noise\.pem: is no'):
            read(path)
    with pytest.raises(KeyFileError, match='is a private key, expected the public one'):
        model_signatures.read_public_key(tmp_path / 'keys' / 'maker.pem')


def test_keys_of_other_kinds_are_named(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / 'ec.pub'
    path.write_bytes(
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(KeyFileError, match='expected an ed25519 key'):
        model_signatures.read_public_key(path)


# --- the list of trusted keys ------------------------------------------------------------


def test_the_list_must_not_lie_among_the_models(tmp_path, maker):
    inside = TrustedKeys(tmp_path / 'models' / 'trusted_keys.json')
    with pytest.raises(KeyFileError, match='who may add versions could add'):
        inside.read(tmp_path / 'models')
    store = ModelStore(tmp_path / 'models', ModelFileRules(True, inside.path))
    publish(store, maker)
    with pytest.raises(SignatureError, match='cannot be checked'):
        store.load('navigator', 1)


@pytest.mark.parametrize(('what', 'mode'), [('file', 0o666), ('file', 0o620), ('folder', 0o777)])
def test_a_list_that_others_may_write_is_refused(store, maker, keys, what, mode):
    publish(store, maker)
    (keys.path if what == 'file' else keys.path.parent).chmod(mode)
    with pytest.raises(SignatureError, match=r'others than its owner may write.*chmod go-w'):
        store.load('navigator', 1)


@pytest.mark.parametrize(
    'content', [b'', b'{}', b'{"keys": [5]}', b'{"keys": [{"public_key": "AAAA"}]}', b'[' * 9999]
)
def test_a_damaged_list_trusts_nobody(store, maker, keys, content):
    publish(store, maker)
    keys.path.write_bytes(content)
    with pytest.raises(SignatureError, match=r'trusted_keys\.json'):
        store.load('navigator', 1)


def test_a_key_must_be_named_clearly_to_be_removed(keys, maker, stranger):
    keys.add(stranger.public_key, 'maker')
    with pytest.raises(KeyFileError, match='2 keys are called'):
        keys.remove('maker')
    with pytest.raises(KeyFileError, match="0 keys are called 'nobody'"):
        keys.remove('nobody')
    keys.remove(stranger.identity[:10])
    assert list(keys.read()) == [maker.identity]


def _trust_some(path, count):
    for _ in range(count):
        public_key = os.urandom(32)
        TrustedKeys(path).add(public_key, 'one of a crowd')


def test_keys_added_side_by_side_are_all_there(keys):
    context = multiprocessing.get_context('fork')
    crowd = [context.Process(target=_trust_some, args=(keys.path, 10)) for _ in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert len(keys.read()) == 30


def test_the_list_is_the_users_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    assert trusted_keys.default_path() == tmp_path / 'robot_learning' / 'trusted_keys.json'
