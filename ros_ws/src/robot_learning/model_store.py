"""Immutable, verified model versions on disk, shared by trainers and inference nodes.

    <root>/<name>/000012/{weights.safetensors, manifest.json}   written once, under another name
    <root>/<name>/000012.refused.json                           why nobody may serve it
    <root>/<name>/active.json                                   the pinned version, if any

A version becomes visible by one rename, so readers and a killed writer need no lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from robot_learning import durable_files
from robot_learning.errors import ModelRefusedError, StoreError

Array = np.ndarray[Any, Any]
WEIGHTS, MANIFEST, ACTIVE = 'weights.safetensors', 'manifest.json', 'active.json'
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_VERSION = re.compile(r'\d{6,12}')
_ABANDONED_S = 3600.0  # A temporary folder older than this belongs to a writer that died.


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Split `NAME` or `NAME@VERSION`.

    Raises:
        StoreError: the name is not allowed or the version is no number.
    """
    name, separator, version = reference.partition('@')
    _check_name(name)
    if separator and not version.isdigit():
        raise StoreError(
            f'model {reference!r}: version {version!r} is no number. Write {name}@12, or only '
            f'{name} for the version that serves.'
        )
    return name, int(version) if separator else None


class ModelStore:
    """All versions of all models under one folder."""

    def __init__(self, root: Path | str):
        self.root = Path(root)

    def publish(self, name: str, tensors: Mapping[str, Array], manifest: Mapping[str, Any]) -> int:
        """Write a new version and return its number, one above the newest.

        Several processes may publish under one name; each gets its own number.

        Raises:
            StoreError: the folder cannot be written.
            ModelRefusedError: a tensor holds NaN or infinity.
        """
        _check_finite(tensors, f'model {name!r}')
        folder = self._model_folder(name)
        data = save_tensors({key: np.ascontiguousarray(value) for key, value in tensors.items()})
        content = {
            **manifest,
            'model': name,
            'sha256': hashlib.sha256(data).hexdigest(),
            'bytes': len(data),
            'tensors': {key: list(value.shape) for key, value in tensors.items()},
        }
        temporary = folder / f'.writing-{os.getpid()}-{uuid.uuid4().hex}'
        try:
            temporary.mkdir(parents=True)
            durable_files.write(temporary / WEIGHTS, data)
            return self._claim(folder, temporary, content)
        except OSError as error:
            raise StoreError(
                f'{folder}: cannot be written ({error.strerror}). Free space, correct the '
                f'permissions or choose another --models folder.'
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def load(
        self, name: str, version: int | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return tensors and manifest, checked against size and SHA-256.

        Args:
            name: model.
            version: None is the version that serves, see `serving`.

        Raises:
            ModelRefusedError: a file is missing, truncated or changed.
            StoreError: there is no such version.
        """
        number = self.serving(name) if version is None else version
        if number is None:
            raise StoreError(
                f'model {name!r}: {self.root} holds no version that may be served. '
                f'Train one, or look at "models list".'
            )
        manifest = self.manifest(name, number)
        path = self._version_folder(name, number) / WEIGHTS
        data = _read(path)
        if len(data) != manifest['bytes']:
            raise ModelRefusedError(
                f'{path}: has {len(data)} bytes, the manifest says {manifest["bytes"]}. '
                f'The file is truncated or changed; use another version.'
            )
        digest = hashlib.sha256(data).hexdigest()
        if digest != manifest['sha256']:
            raise ModelRefusedError(
                f'{path}: SHA-256 is {digest[:12]}…, the manifest says '
                f'{manifest["sha256"][:12]}…. The file was changed; use another version.'
            )
        try:
            tensors = load_tensors(data)
        except SafetensorError as error:
            raise ModelRefusedError(
                f'{path}: is not a safetensors file ({error}). Use another version.'
            ) from error
        return tensors, manifest

    def manifest(self, name: str, version: int) -> dict[str, Any]:
        """Return the manifest of one version.

        Raises:
            ModelRefusedError: it is missing, damaged or belongs to another version.
            StoreError: there is no such version.
        """
        folder = self._version_folder(name, version)
        if not folder.is_dir():
            known = ', '.join(map(str, self.versions(name)[-5:])) or 'none'
            raise StoreError(
                f'model {name!r}: version {version} is not in {self.root}. '
                f'Newest versions: {known}.'
            )
        path = folder / MANIFEST
        try:
            manifest = json.loads(_read(path))
        except ValueError as error:
            raise ModelRefusedError(
                f'{path}: is not JSON ({error}). The file is damaged; use another version.'
            ) from error
        self._check_manifest(manifest, path, name, version)
        return dict(manifest)

    def names(self) -> list[str]:
        """Return the names of all models that have a version."""
        if not self.root.is_dir():
            return []
        entries = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        return [name for name in entries if _NAME.fullmatch(name) and self.versions(name)]

    def versions(self, name: str) -> list[int]:
        """Return all complete versions, oldest first; the content is not checked."""
        folder = self._model_folder(name)
        entries = folder.iterdir() if folder.is_dir() else ()
        return sorted(int(entry.name) for entry in entries if _is_version(entry))

    def newest(self, name: str) -> int | None:
        """Return the highest version number, refused or not."""
        return max(self.versions(name), default=None)

    def newest_good(self, name: str) -> int | None:
        """Return the highest version that nobody refused."""
        newest_first = reversed(self.versions(name))
        return next((v for v in newest_first if self.refusal(name, v) is None), None)

    def serving(self, name: str) -> int | None:
        """Return the version to serve: the pinned one, else the newest good one."""
        return self.active(name) or self.newest_good(name)

    def active(self, name: str) -> int | None:
        """Return the pinned version, None if serving follows the newest."""
        path = self._model_folder(name) / ACTIVE
        if not path.is_file():
            return None
        try:
            return int(json.loads(_read(path))['version'])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f'{path}: is damaged ({error}). Delete it or run "models activate".'
            ) from error

    def activate(self, name: str, version: int) -> None:
        """Pin a version after checking it; serving stays with it until `release`.

        Raises:
            ModelRefusedError: the version is damaged or was refused.
        """
        self.verify(name, version)
        reason = self.refusal(name, version)
        if reason is not None:
            raise ModelRefusedError(
                f'model {name!r}: version {version} was refused: {reason} Choose another one.'
            )
        _write_marker(
            self._model_folder(name) / ACTIVE, {'version': version, 'created': time.time()}
        )

    def release(self, name: str) -> None:
        """Unpin: serving follows the newest good version again."""
        (self._model_folder(name) / ACTIVE).unlink(missing_ok=True)

    def rollback(self, name: str) -> int:
        """Pin the newest sound version before the one that serves, and return it.

        Raises:
            StoreError: there is none.
        """
        current = self.serving(name) or 0
        for version in reversed([v for v in self.versions(name) if v < current]):
            with contextlib.suppress(ModelRefusedError):
                self.activate(name, version)
                return version
        raise StoreError(
            f'model {name!r}: no sound version before {current} to roll back to. '
            f'Look at "models list".'
        )

    def refuse(self, name: str, version: int, reason: str) -> None:
        """Mark a version so that nobody serves it; the version itself stays as it is."""
        content = {'version': version, 'reason': reason, 'created': time.time()}
        _write_marker(self._refusal_path(name, version), content)

    def refusal(self, name: str, version: int) -> str | None:
        """Return why a version was refused, None if it was not."""
        path = self._refusal_path(name, version)
        try:
            return str(json.loads(path.read_bytes())['reason'])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return f'{path.name} is damaged.'

    def verify(self, name: str, version: int) -> None:
        """Read everything of a version.

        Raises:
            ModelRefusedError: a file is missing or damaged, a shape differs from the manifest
                or a value is not finite.
        """
        tensors, manifest = self.load(name, version)
        found = {key: list(tensor.shape) for key, tensor in tensors.items()}
        if found != manifest['tensors']:
            stated = manifest['tensors']
            odd = sorted(k for k in {*found, *stated} if found.get(k) != stated.get(k))
            raise ModelRefusedError(
                f'model {name!r}: version {version}: tensors {odd} differ from the manifest. '
                f'Use another version.'
            )
        _check_finite(tensors, f'model {name!r}: version {version}')

    def prune(self, name: str, keep_best: int, keep_newest: int) -> list[int]:
        """Delete versions beyond the best by `score` and the newest; return the deleted.

        The pinned version, the one that serves and the newest are never deleted.
        """
        versions = self.versions(name)
        scores = {v: score for v in versions if (score := self._score(name, v)) is not None}
        best = sorted(scores, key=lambda v: (scores[v], v), reverse=True)[:keep_best]
        kept = {*best, *versions[-max(keep_newest, 1) :], self.active(name), self.serving(name)}
        deleted = [version for version in versions if version not in kept]
        folder = self._model_folder(name)
        for version in deleted:
            doomed = folder / f'.deleting-{version:06d}-{uuid.uuid4().hex}'
            with contextlib.suppress(FileNotFoundError):  # Another process may prune as well.
                self._version_folder(name, version).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            self._refusal_path(name, version).unlink(missing_ok=True)
        _remove_abandoned(folder)
        return deleted

    def _claim(self, folder: Path, temporary: Path, content: dict[str, Any]) -> int:
        """Rename `temporary` to the first free version number above all there are."""
        version = (self.newest(content['model']) or 0) + 1
        while True:
            content['version'] = version
            content['manifest_sha256'] = _manifest_digest(content)
            durable_files.write(temporary / MANIFEST, json.dumps(content, indent=1).encode())
            durable_files.sync_folder(temporary)
            try:
                temporary.rename(folder / f'{version:06d}')
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                version += 1  # Another process was faster.
            else:
                durable_files.sync_folder(folder)
                return version

    def _score(self, name: str, version: int) -> float | None:
        try:
            score: Any = self.manifest(name, version).get('score')
        except (ModelRefusedError, StoreError):
            return None
        if not isinstance(score, int | float) or self.refusal(name, version) is not None:
            return None
        return float(score)

    def _check_manifest(self, manifest: Any, path: Path, name: str, version: int) -> None:
        keys = ('sha256', 'bytes', 'tensors', 'manifest_sha256')
        if not isinstance(manifest, dict) or any(key not in manifest for key in keys):
            raise ModelRefusedError(
                f'{path}: lacks one of {", ".join(keys)}. It was not written by this package; '
                f'use another version.'
            )
        if manifest['manifest_sha256'] != _manifest_digest(manifest):
            raise ModelRefusedError(
                f'{path}: its content differs from its own SHA-256. The file was changed; '
                f'use another version.'
            )
        for key, value in (('model', name), ('version', version)):
            if manifest[key] != value:
                raise ModelRefusedError(
                    f'{path}: {key} is {manifest[key]!r}, expected {value!r}. '
                    f'The folder was copied or renamed; publish anew instead.'
                )

    def _model_folder(self, name: str) -> Path:
        _check_name(name)
        return _own_folder(self.root / name)

    def _version_folder(self, name: str, version: int) -> Path:
        return _own_folder(self._model_folder(name) / f'{version:06d}')

    def _refusal_path(self, name: str, version: int) -> Path:
        return self._model_folder(name) / f'{version:06d}.refused.json'


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise StoreError(
            f'model name {name!r}: expected 1 to 64 letters, digits, "_", "-" or "." that begin '
            f'with a letter or digit. Choose such a name.'
        )


def _own_folder(folder: Path) -> Path:
    if folder.is_symlink():
        raise StoreError(f'{folder}: is a symbolic link, expected a folder. Remove it.')
    return folder


def _check_finite(tensors: Mapping[str, Array], where: str) -> None:
    for key, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelRefusedError(
                f'{where}: tensor {key} holds NaN or infinity and must not drive a robot. '
                f'Lower the learning rate or look for broken data; use another version.'
            )


def _is_version(entry: Path) -> bool:
    return bool(_VERSION.fullmatch(entry.name)) and entry.is_dir() and not entry.is_symlink()


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != 'manifest_sha256'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> bytes:
    if path.is_symlink():
        raise ModelRefusedError(f'{path}: is a symbolic link, expected a file. Remove it.')
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelRefusedError(
            f'{path}: cannot be read ({error.strerror}). Use another version.'
        ) from error


def _write_marker(path: Path, content: Mapping[str, Any]) -> None:
    try:
        durable_files.replace(path, json.dumps(content).encode())
    except OSError as error:
        raise StoreError(
            f'{path}: cannot be written ({error.strerror}). Correct the permissions.'
        ) from error


def _remove_abandoned(folder: Path) -> None:
    for entry in folder.glob('.*'):
        with contextlib.suppress(FileNotFoundError):
            if entry.is_dir() and time.time() - entry.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(entry, ignore_errors=True)
