"""Whose signatures count: a file of public keys that the user of this machine keeps.

    {"format": 1, "keys": [{"key": id, "public_key": base64, "label": text, "added": time}]}

It lies apart from the models, by default in ~/.config/robot_learning, and is refused where
others than its owner could write to it: who drops model versions must not choose who is trusted.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning import durable_files, foreign_files
from robot_learning.errors import KeyFileError
from robot_learning.foreign_files import Refusal, printable

PUBLIC_KEY_BYTES = 32
_MAX_BYTES = 1 << 20
_REFUSAL = Refusal(KeyFileError, 'Correct it, or delete it and trust the keys anew.')


class TrustedKey(NamedTuple):
    """One public key and what the user calls it."""

    key: str  # Identity, see `key_identity`.
    public_key: bytes
    label: str
    added: str  # ISO 8601.


def key_identity(public_key: bytes) -> str:
    """Return 32 hex digits that stand for a public key."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def default_path() -> Path:
    """Return `robot_learning/trusted_keys.json` in the user's configuration folder."""
    home = os.environ.get('XDG_CONFIG_HOME') or '~/.config'
    return Path(home).expanduser() / 'robot_learning' / 'trusted_keys.json'


class TrustedKeys:
    """The file of trusted keys; read anew at every question, so that changes count at once."""

    def __init__(self, path: Path | None = None):
        self.path = path or default_path()

    def read(self, models: Path | None = None) -> dict[str, TrustedKey]:
        """Return all keys by identity; no file is no keys.

        Args:
            models: model store, in which the file must not lie.

        Raises:
            KeyFileError: the file is damaged, or others may write to it.
        """
        path = self.path.resolve()
        if models is not None and path.is_relative_to(models.resolve()):
            raise KeyFileError(
                f'{self.path}: lies in the model store {models}: who may add versions could add '
                f'keys. Keep it elsewhere.'
            )
        if not os.path.lexists(path):
            return {}
        _check_owner(path)
        data = foreign_files.parse_json(
            foreign_files.read(path, _MAX_BYTES, _REFUSAL), path, _REFUSAL
        )
        entries = data.get('keys') if isinstance(data, Mapping) else None
        if not isinstance(entries, list):
            raise _REFUSAL(path, 'holds no list of keys')
        keys = [_key(entry, path) for entry in entries]
        return {key.key: key for key in keys}

    def add(self, public_key: bytes, label: str) -> TrustedKey:
        """Trust a key from now on; one that is there already gets the new label."""
        added = datetime.now(timezone.utc).isoformat(timespec='seconds')
        key = TrustedKey(key_identity(public_key), public_key, printable(label, 80), added)
        with self._locked():
            self._write({**self.read(), key.key: key})
        return key

    def remove(self, text: str) -> TrustedKey:
        """Stop trusting a key, named by its label, its identity or the beginning of it.

        Raises:
            KeyFileError: no key or several are meant.
        """
        with self._locked():
            keys = self.read()
            named = [key for key in keys.values() if key.label == text]
            found = named or [key for key in keys.values() if text and key.key.startswith(text)]
            if len(found) != 1:
                known = ', '.join(f'{key.label} ({key.key[:8]})' for key in keys.values())
                raise KeyFileError(
                    f'{self.path}: {len(found)} keys are called {printable(text, 80)!r}, expected '
                    f'one of: {known or "none, the list is empty"}. Name its label or identity.'
                )
            self._write({name: key for name, key in keys.items() if key != found[0]})
        return found[0]

    def _write(self, keys: Mapping[str, TrustedKey]) -> None:
        entries = [
            key._asdict() | {'public_key': base64.b64encode(key.public_key).decode()}
            for key in keys.values()
        ]
        durable_files.replace(
            self.path.resolve(),
            json.dumps({'format': 1, 'keys': entries}, indent=1).encode(),
            mode=0o600,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers out; the lock ends with the process."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = os.open(self.path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)
        except OSError as error:
            raise KeyFileError(
                f'{self.path}: cannot be written ({error.strerror}). Correct the permissions or '
                f'name another file.'
            ) from error


def _key(entry: Any, path: Path) -> TrustedKey:
    try:
        public_key = base64.b64decode(entry['public_key'], validate=True)
        key = TrustedKey(
            key_identity(public_key),
            public_key,
            printable(entry.get('label', ''), 80),
            printable(entry.get('added', ''), 40),
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _REFUSAL(path, f'holds {printable(repr(entry), 80)}, expected a key') from error
    if len(public_key) != PUBLIC_KEY_BYTES or entry.get('key') != key.key:
        raise _REFUSAL(path, f'holds a key called {key.label!r} that is no ed25519 key')
    return key


def _check_owner(path: Path) -> None:
    """Refuse a file that somebody else could have written or replaced.

    Only the owner may write to the file and its folder; the folders above must not be open to
    everybody, unless only owners may rename in them (sticky, as /tmp is).
    """
    forbidden = stat.S_IWGRP | stat.S_IWOTH
    for place in (path, *path.parents):
        status = place.stat()
        is_open = status.st_mode & forbidden
        if place != path and status.st_mode & stat.S_ISVTX:
            is_open = 0
        if is_open or status.st_uid not in (0, os.geteuid()):
            raise KeyFileError(
                f'{path}: others than its owner may write to {place} (owner {status.st_uid}, '
                f'permissions {stat.S_IMODE(status.st_mode):o}), so anybody could be trusted. '
                f'Correct it with: chmod go-w {place}'
            )
        if place == path.parent:
            forbidden = stat.S_IWOTH
