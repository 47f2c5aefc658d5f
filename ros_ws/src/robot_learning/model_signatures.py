"""Who made a model version: ed25519 signatures in `signature.json` beside its other files.

What is signed names the model, the version and the SHA-256 of every file, so that no file can be
changed and no signature moved to another name or number. A signature says nothing about which
version is newest: see `oldest_version` of `ModelFileRules` for that.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_learning import durable_files, foreign_files
from robot_learning.errors import KeyFileError, SignatureError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.trusted_keys import TrustedKey, key_identity

if TYPE_CHECKING:  # 30 ms that only those who sign and verify need to wait.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ALGORITHM = 'ed25519'
_STATEMENT = b'robot_learning model version, format 1\n'
_MAX_KEY_BYTES = 1 << 16
_MAKE_KEY = Refusal(KeyFileError, 'Name a key file made by "./run models keygen FILE".')


def statement(model: str, version: int, sha256: Mapping[str, str]) -> bytes:
    """Return the bytes that are signed.

    Args:
        model: name.
        version: number.
        sha256: hex digest of every file of the version but the signature, by file name.
    """
    content = {'files': dict(sha256), 'model': model, 'version': version}
    return _STATEMENT + json.dumps(content, sort_keys=True, separators=(',', ':')).encode()


class Signer:
    """Holds a private key."""

    def __init__(self, key: Ed25519PrivateKey):
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        self.identity = key_identity(self.public_key)

    def sign(self, signed: bytes) -> bytes:
        """Return the content of a signature file over `signed`."""
        content = {
            'format': 1,
            'algorithm': _ALGORITHM,
            'key': self.identity,
            'signature': base64.b64encode(self._key.sign(signed)).decode(),
        }
        return json.dumps(content, indent=1).encode()


def generate_key(path: Path, passphrase: str | None = None) -> Signer:
    """Make a key pair: `path`, readable by its owner only, and `path`.pub to hand out.

    Raises:
        KeyFileError: one of the files exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = public_key_path(path)
    for existing in (path, public_path):
        if os.path.lexists(existing):
            raise KeyFileError(f'{existing}: is there already. Choose another name for the key.')
    key = Ed25519PrivateKey.generate()
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable_files.write(path, private, mode=0o600)
        durable_files.write(public_path, public)
        durable_files.sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(
            f'{path}: cannot be written ({error.strerror}). Choose another place for the key.'
        ) from error
    return Signer(key)


def public_key_path(path: Path) -> Path:
    """Return where the public key of a private key file lies."""
    return path.with_name(f'{path.name}.pub')


def read_signer(path: Path, ask_passphrase: Callable[[], str] | None = None) -> Signer:
    """Read a private key.

    Args:
        path: PEM file.
        ask_passphrase: called if the key has one; None: such a key cannot be used.

    Raises:
        KeyFileError: the file is no ed25519 key, its passphrase is wrong, or others may read it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = foreign_files.read(path, _MAX_KEY_BYTES, _MAKE_KEY)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(
            f'{path}: has permissions {mode:o}, so that others than its owner can sign with it. '
            f'Correct it with: chmod 600 {path}'
        )
    passphrase = None
    if b'ENCRYPTED' in data:
        if ask_passphrase is None:
            raise KeyFileError(
                f'{path}: has a passphrase, which nobody can be asked for here. Sign afterwards '
                f'with "./run models sign", or make a key without one.'
            )
        passphrase = ask_passphrase().encode()
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = 'its passphrase is another one' if passphrase is not None else 'is no private key'
        raise _MAKE_KEY(path, what) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _MAKE_KEY(path, f'holds a {type(key).__name__}, expected an ed25519 key')
    return Signer(key)


def read_public_key(path: Path) -> bytes:
    """Read a public key in PEM.

    Raises:
        KeyFileError: the file is no public ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = foreign_files.read(path, _MAX_KEY_BYTES, _MAKE_KEY)
    if b'PRIVATE KEY' in data:
        raise KeyFileError(
            f'{path}: is a private key, expected the public one. Name {public_key_path(path)}; '
            f'a private key stays with its owner.'
        )
    try:
        key = load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _MAKE_KEY(path, 'is no public key') from error
    if not isinstance(key, Ed25519PublicKey):
        raise _MAKE_KEY(path, f'holds a {type(key).__name__}, expected an ed25519 key')
    return key.public_bytes_raw()


def check(
    signature: bytes | None, signed: bytes, trusted: Mapping[str, TrustedKey], where: str
) -> TrustedKey:
    """Return the trusted key that signed a version.

    Args:
        signature: content of the signature file; None: there is none.
        signed: what `statement` gives for the files that were read.
        trusted: keys by identity.
        where: what to call the version in errors, 'navigator@12'.

    Raises:
        SignatureError: names what is wrong and what to do.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if signature is None:
        raise SignatureError(
            f'{where}: is not signed. Have its maker sign it: ./run models sign {where} --key FILE'
        )
    identity, content = _parsed(signature, where)
    key = trusted.get(identity)
    if key is None:
        known = ', '.join(entry.label or entry.key[:8] for entry in trusted.values()) or 'nobody'
        raise SignatureError(
            f'{where}: is signed by key {identity}, which is not trusted here (trusted: {known}). '
            f"If it is its maker's: ./run models trust PUBLIC_KEY_FILE"
        )
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(content, signed)
    except InvalidSignature as error:
        raise SignatureError(
            f'{where}: the signature by {key.label or identity} does not fit it: it was changed '
            f'after signing, or the signature is that of another version. Use another version.'
        ) from error
    return key


def _parsed(signature: bytes, where: str) -> tuple[str, bytes]:
    """Return the key's identity and the raw signature."""
    refuse = Refusal(SignatureError, 'Have its maker sign it again.')
    content = foreign_files.parse_json(signature, f'{where}: signature.json', refuse)
    if not isinstance(content, dict) or content.get('algorithm') != _ALGORITHM:
        raise refuse(f'{where}: signature.json', f'is no {_ALGORITHM} signature')
    try:
        raw = base64.b64decode(content['signature'], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise refuse(f'{where}: signature.json', 'holds no signature in base64') from error
    return printable(content.get('key'), 64), raw
