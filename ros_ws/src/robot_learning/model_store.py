"""Immutable, verified model versions on disk, shared by trainers and inference nodes.

    <root>/<name>/000012/{weights.safetensors, manifest.json}   written once, under another name
    <root>/<name>/000012/signature.json                         who vouches for it, if anybody
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
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from robot_learning import (
    durable_files,
    foreign_files,
    model_files,
    model_folders,
    model_signatures,
)
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.model_files import (
    MANIFEST,
    SIGNATURE,
    WEIGHTS,
    Array,
    ModelFileRules,
    VersionFacts,
)
from robot_learning.model_folders import ACTIVE, parse_reference
from robot_learning.model_signatures import Signer
from robot_learning.version_history import VersionHistory

__all__ = ['MANIFEST', 'SIGNATURE', 'WEIGHTS', 'Array', 'ModelStore', 'parse_reference']

_MAX_MARKER_BYTES = 1 << 16
_MAX_REASON = 4000  # Characters.
_NUM_SERVED = 3  # Versions that served last, to go on with or back to; prune leaves them.
_DAMAGED_PIN = Refusal(StoreError, 'Delete it or run "models activate".')
_DAMAGED_REFUSAL = Refusal(StoreError, 'Delete it if the version may be served.')


class ModelStore:
    """All versions of all models in a folder, as far as `rules` allow; `signer` signs new ones."""

    def __init__(
        self, root: Path | str, rules: ModelFileRules | None = None, signer: Signer | None = None
    ):
        self.root = Path(root)
        self.rules = rules or ModelFileRules()
        self._signer = signer

    def publish(self, name: str, tensors: Mapping[str, Array], manifest: Mapping[str, Any]) -> int:
        """Write a new version and return its number, one above the newest.

        Several processes may publish under one name; each gets its own number.

        Raises:
            StoreError: the folder cannot be written, or the version is too large to be read.
            ModelRefusedError: a tensor holds NaN or infinity.
        """
        model_files.check_finite(tensors, f'model {name!r}')
        folder = self._model_folder(name)
        data = save_tensors({key: np.asarray(value, order='C') for key, value in tensors.items()})
        if len(data) > self.rules.max_model_bytes:
            raise StoreError(
                f'model {name!r}: has {len(data)} bytes of weights, expected at most '
                f'{self.rules.max_model_bytes}. Raise max_model_bytes or make it smaller.'
            )
        content = {
            **manifest,
            'model': name,
            'sha256': hashlib.sha256(data).hexdigest(),
            'bytes': len(data),
            'tensors': {key: list(value.shape) for key, value in tensors.items()},
        }
        temporary = folder / f'.writing-{os.getpid()}-{uuid.uuid4().hex}'
        try:
            with model_folders.writing(folder):
                temporary.mkdir(parents=True)
                durable_files.write(temporary / WEIGHTS, data)
                return self._claim(folder, temporary, content)
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
        return self._read(name, number)[:2]

    def manifest(self, name: str, version: int) -> dict[str, Any]:
        """Return the manifest of one version.

        Raises:
            ModelRefusedError: it is missing, damaged or belongs to another version.
            StoreError: there is no such version.
        """
        return self._facts(name, version).manifest

    def sign(self, name: str, version: int, signer: Signer) -> None:
        """Vouch for a version after reading all of it; an older signature is replaced.

        Raises:
            ModelRefusedError: the version is damaged.
            StoreError: there is no such version, or the folder cannot be written.
        """
        tensors, _, facts = self._read(name, version)
        model_files.check_finite(tensors, f'model {name!r}: version {version}')
        signed = model_signatures.statement(name, version, facts.sha256)
        path = self._version_folder(name, version) / SIGNATURE
        with model_folders.writing(path):
            durable_files.replace(path, signer.sign(signed), temporary_folder=path.parent.parent)

    def signed_by(self, name: str, version: int) -> str:
        """Return the label of the trusted key that signed a version, as far as it was not changed.

        Raises:
            ModelRefusedError: it is damaged, not signed, or not by a trusted key.
            KeyFileError: the list of trusted keys cannot be relied on.
        """
        facts = self._facts(name, version)
        key = model_files.signed_by(facts, self.rules, self.root, name, version)
        return key.label or key.key

    def has_signature(self, name: str, version: int) -> bool:
        """Tell whether a version comes with a signature, right or wrong."""
        return (self._version_folder(name, version) / SIGNATURE).is_file()

    def names(self) -> list[str]:
        """Return the names of all models that have a version."""
        entries = model_folders.entries(self.root)
        models = sorted(entry.name for entry in entries if model_folders.is_model(entry))
        return [name for name in models if self.versions(name)]

    def strange_entries(self) -> list[Path]:
        """Return what lies in the store, or in a model's folder, and does not belong there."""
        return model_folders.strange_entries(self.root)

    def versions(self, name: str) -> list[int]:
        """Return all complete versions, oldest first; the content is not checked."""
        entries = model_folders.entries(self._model_folder(name))
        return sorted(int(entry.name) for entry in entries if model_folders.is_version(entry))

    def newest(self, name: str) -> int | None:
        """Return the highest version number, refused or not."""
        return max(self.versions(name), default=None)

    def newest_good(self, name: str) -> int | None:
        """Return the highest version that nobody refused and that fulfils the rules."""
        newest_first = reversed(self.versions(name))
        return next((v for v in newest_first if self.refusal(name, v) is None), None)

    def serving(self, name: str) -> int | None:
        """Return the version to serve: the pinned one, else the newest good one."""
        return self.active(name) or self.newest_good(name)

    def active(self, name: str) -> int | None:
        """Return the pinned version, None if serving follows the newest."""
        content = self._marker(name, ACTIVE, _DAMAGED_PIN)
        if content is None:
            return None
        version = content.get('version')
        if type(version) is not int or not 0 < version < 10**12:
            found = printable(repr(version), 60)
            raise _DAMAGED_PIN(
                self._model_folder(name) / ACTIVE, f'is damaged: version is {found}'
            )
        return version

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
        self._write_marker(name, ACTIVE, {'version': version, 'created': time.time()})

    def release(self, name: str) -> None:
        """Unpin: serving follows the newest good version again."""
        path = self._model_folder(name) / ACTIVE
        with model_folders.writing(path):
            path.unlink(missing_ok=True)

    def rollback(self, name: str, before: int | None = None) -> int:
        """Pin the newest sound version before `before`, else before the one that serves.

        Raises:
            StoreError: there is none.
        """
        current = before or self.serving(name) or 0
        for version in reversed([v for v in self.versions(name) if v < current]):
            with contextlib.suppress(ModelRefusedError):
                self.activate(name, version)
                return version
        raise StoreError(
            f'model {name!r}: no sound version before {current} to roll back to. '
            f'Look at "models list".'
        )

    def refuse(self, name: str, version: int, reason: str) -> None:
        """Mark a version so that nobody serves it; the version itself stays as it is.

        One that our own rules exclude is not marked: it may be good for others, or once signed.
        """
        if self._excluded(name, version) is not None:
            return
        content = {'version': version, 'reason': reason[:_MAX_REASON], 'created': time.time()}
        self._write_marker(name, self._refusal_path(name, version).name, content)

    def pardon(self, name: str, version: int) -> bool:
        """Take a refusal back; False: nobody had refused the version."""
        path = self._refusal_path(name, version)
        if not os.path.lexists(path):
            return False
        with model_folders.writing(path):
            path.unlink()
        return True

    def refusal(self, name: str, version: int) -> str | None:
        """Return why a version may not be served, None if it may.

        Somebody refused it, or it does not fulfil the rules; its weights are not read.
        """
        path = self._refusal_path(name, version)
        try:
            content = self._marker(name, path.name, _DAMAGED_REFUSAL)
        except StoreError as error:
            return str(error)
        if content is not None:
            return printable(content.get('reason', f'{path.name} gives no reason.'), _MAX_REASON)
        return self._excluded(name, version)

    def verify(self, name: str, version: int) -> None:
        """Read everything of a version.

        Raises:
            ModelRefusedError: a file is missing or damaged, a shape differs from the manifest,
                a value is not finite, or the version does not fulfil the rules.
        """
        tensors, _ = self.load(name, version)
        model_files.check_finite(tensors, f'model {name!r}: version {version}')

    def prune(self, name: str, keep_best: int, keep_newest: int) -> list[int]:
        """Delete versions beyond the best by `score` and the newest; return the deleted.

        The pinned version, the next to serve, those that served last, the newest and the newest
        signed one are never deleted.
        """
        versions = self.versions(name)
        scores = {v: score for v in versions if (score := self._score(name, v)) is not None}
        best = sorted(scores, key=lambda v: (scores[v], v), reverse=True)[:keep_best]
        signed = next((v for v in reversed(versions) if self.has_signature(name, v)), None)
        kept = {*best, *versions[-max(keep_newest, 1) :], signed, self.active(name)}
        kept |= {self.serving(name), *VersionHistory(self.root).served(name)[-_NUM_SERVED:]}
        deleted = [version for version in versions if version not in kept]
        folder = self._model_folder(name)
        with model_folders.writing(folder):
            for version in deleted:
                doomed = folder / f'.deleting-{version:06d}-{uuid.uuid4().hex}'
                with contextlib.suppress(FileNotFoundError):  # Another process may prune as well.
                    self._version_folder(name, version).rename(doomed)
                    shutil.rmtree(doomed, ignore_errors=True)
                self._refusal_path(name, version).unlink(missing_ok=True)
            model_folders.remove_abandoned(folder)
        return deleted

    def _claim(self, folder: Path, temporary: Path, content: dict[str, Any]) -> int:
        """Rename `temporary` to the first free version number above all there are."""
        version = (self.newest(content['model']) or 0) + 1
        while True:
            content['version'] = version
            data = model_files.encode_manifest(content, f'model {content["model"]!r}')
            durable_files.write(temporary / MANIFEST, data)
            if self._signer is not None:
                sha256 = {
                    MANIFEST: hashlib.sha256(data).hexdigest(),
                    WEIGHTS: content['sha256'],
                }
                signed = model_signatures.statement(content['model'], version, sha256)
                durable_files.write(temporary / SIGNATURE, self._signer.sign(signed))
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

    def _read(
        self, name: str, version: int
    ) -> tuple[dict[str, Array], dict[str, Any], VersionFacts]:
        facts = self._facts(name, version)
        model_files.check_rules(facts, self.rules, self.root, name, version)
        tensors = model_files.read_weights(
            self.root, name, version, facts.manifest, self.rules.max_model_bytes
        )
        return tensors, facts.manifest, facts

    def _facts(self, name: str, version: int) -> VersionFacts:
        if not self._version_folder(name, version).is_dir():
            known = ', '.join(map(str, self.versions(name)[-5:])) or 'none'
            raise StoreError(
                f'model {name!r}: version {version} is not in {self.root}. '
                f'Newest versions: {known}.'
            )
        return model_files.read_facts(self.root, name, version)

    def _excluded(self, name: str, version: int) -> str | None:
        """Return why our own rules exclude a version."""
        rules = self.rules
        if not rules.require_signature and version >= rules.oldest_version:
            return None
        try:
            facts = self._facts(name, version)
            model_files.check_rules(facts, rules, self.root, name, version)
        except ModelRefusedError as error:
            return str(error)
        except StoreError:  # Deleted meanwhile; whoever serves it may go on.
            return None
        return None

    def _marker(self, name: str, file: str, refuse: Refusal) -> dict[str, Any] | None:
        """Return the content of a small file of a model, None if there is none."""
        path = self._model_folder(name) / file
        try:
            data = foreign_files.read_below(self.root, (name, file), _MAX_MARKER_BYTES, refuse)
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        content = foreign_files.parse_json(data, path, refuse)
        if not isinstance(content, dict):
            raise refuse(path, f'is damaged: holds a {type(content).__name__}')
        return content

    def _write_marker(self, name: str, file: str, content: Mapping[str, Any]) -> None:
        path = self._model_folder(name) / file
        with model_folders.writing(path):
            durable_files.replace(path, json.dumps(content).encode())

    def _model_folder(self, name: str) -> Path:
        model_folders.check_name(name)
        return model_folders.own_folder(self.root / name)

    def _version_folder(self, name: str, version: int) -> Path:
        return model_folders.own_folder(self._model_folder(name) / f'{version:06d}')

    def _refusal_path(self, name: str, version: int) -> Path:
        return self._model_folder(name) / f'{version:06d}.refused.json'
