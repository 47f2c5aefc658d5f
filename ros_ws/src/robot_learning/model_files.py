"""The files of one model version: read once, bounded, checked, and only then used.

A version's folder holds `weights.safetensors`, `manifest.json` and perhaps `signature.json`, and
nothing else. Whoever made it, reading it ends in tensors that fit the manifest or in one
`ModelRefusedError` that names the file; links are not followed and nothing is read twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from robot_learning import foreign_files, model_signatures
from robot_learning.config import STRICT
from robot_learning.errors import KeyFileError, ModelRefusedError, SignatureError, StoreError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.trusted_keys import TrustedKey, TrustedKeys

Array = np.ndarray[Any, Any]
WEIGHTS, MANIFEST, SIGNATURE = 'weights.safetensors', 'manifest.json', 'signature.json'
MAX_MANIFEST_BYTES = 8 << 20  # Some 200 000 segments.
_MAX_HEADER_BYTES = 4 << 20  # Of the weights; some 40 000 tensors.
_MAX_SIGNATURE_BYTES = 1 << 16
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    'policy': dict,
    'config': dict,
    'contract': dict,
    'contract_hash': str,
    'metrics': dict,
    'phase': str,
    'created': (str, int, float),
    'score': (int, float),
    'provenance': dict,
}
_OPTIONAL_PROVENANCE: dict[str, type | tuple[type, ...]] = {
    'update': int,
    'environment_step': int,
    'segments': list,
}
_USE_ANOTHER = Refusal(ModelRefusedError, 'Use another version.')
_DAMAGED = Refusal(ModelRefusedError, 'The file is damaged; use another version.')


@dataclass(frozen=True, config=STRICT)
class ModelFileRules:
    """What a model version must fulfil before it is used."""

    require_signature: bool = False  # Refuse versions that no trusted key signed.
    trusted_keys: Path | None = None  # File of `models trust`; empty: that of this user.
    oldest_version: NonNegativeInt = 0  # Refuse versions below, signed ones too: no way back.
    max_model_bytes: PositiveInt = 1 << 30  # Larger weights are refused without being read.


class VersionFacts(NamedTuple):
    """What the small files of a version say."""

    manifest: dict[str, Any]
    sha256: dict[str, str]  # By file name, as stated or measured; what a signature covers.
    signature: bytes | None


def read_facts(root: Path, name: str, version: int) -> VersionFacts:
    """Read manifest and signature of a version.

    Raises:
        ModelRefusedError: a file is missing, strange, damaged or belongs to another version.
    """
    folders = (name, f'{version:06d}')
    folder = root.joinpath(*folders)
    entries = foreign_files.names_below(root, folders, _USE_ANOTHER)
    odd = [entry for entry in entries if entry not in (WEIGHTS, MANIFEST, SIGNATURE)]
    odd = [entry for entry in odd if not entry.startswith('.nfs')]  # Deleted while still open.
    if odd:
        raise ModelRefusedError(
            f'{folder}: holds {printable(odd)}, expected only {WEIGHTS}, {MANIFEST} and '
            f'{SIGNATURE}. It was not written by this package; use another version.'
        )
    path = folder / MANIFEST
    data = foreign_files.read_below(root, (*folders, MANIFEST), MAX_MANIFEST_BYTES, _USE_ANOTHER)
    manifest = _checked_manifest(foreign_files.parse_json(data, path, _DAMAGED), path)
    for key, value in (('model', name), ('version', version)):
        found = manifest.get(key)
        if type(found) is not type(value) or found != value:
            raise ModelRefusedError(
                f'{path}: {key} is {printable(repr(found))}, expected {value!r}. '
                f'The folder was copied or renamed; publish anew instead.'
            )
    signature = None
    if SIGNATURE in entries:
        signature = foreign_files.read_below(
            root, (*folders, SIGNATURE), _MAX_SIGNATURE_BYTES, _USE_ANOTHER
        )
    sha256 = {MANIFEST: hashlib.sha256(data).hexdigest(), WEIGHTS: manifest['sha256']}
    return VersionFacts(manifest, sha256, signature)


def read_weights(
    root: Path, name: str, version: int, manifest: Mapping[str, Any], max_bytes: int
) -> dict[str, Array]:
    """Read the weights that `manifest` promises.

    Raises:
        ModelRefusedError: they are missing, too large, changed or differ from the manifest.
    """
    names = (name, f'{version:06d}', WEIGHTS)
    path = root.joinpath(*names)
    too_large = Refusal(ModelRefusedError, 'Raise max_model_bytes or use another version.')
    if manifest['bytes'] > max_bytes:
        raise too_large(path, f'has {manifest["bytes"]} bytes, expected at most {max_bytes}')
    data = foreign_files.read_below(root, names, manifest['bytes'], _USE_ANOTHER)
    if len(data) != manifest['bytes']:
        raise ModelRefusedError(
            f'{path}: has {len(data)} bytes, the manifest says {manifest["bytes"]}. '
            f'The file is truncated or changed; use another version.'
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest['sha256']:
        raise ModelRefusedError(
            f'{path}: SHA-256 is {digest[:12]}…, the manifest says {manifest["sha256"][:12]}…. '
            f'The file was changed; use another version.'
        )
    tensors = decode_tensors(data, path)
    found = {key: list(tensor.shape) for key, tensor in tensors.items()}
    if found != manifest['tensors']:
        stated = manifest['tensors']
        odd = sorted(k for k in {*found, *stated} if found.get(k) != stated.get(k))
        raise ModelRefusedError(
            f'model {name!r}: version {version}: tensors {printable(odd)} differ from the '
            f'manifest. Use another version.'
        )
    return tensors


def decode_tensors(data: bytes, path: Path | str) -> dict[str, Array]:
    """Turn the content of a safetensors file into arrays.

    Raises:
        ModelRefusedError: it is none, or holds what numpy has no type for.
    """
    header = int.from_bytes(data[:8], 'little')
    if header > _MAX_HEADER_BYTES:
        raise _USE_ANOTHER(path, f'has a header of {header} bytes, expected fewer')
    try:
        return dict(load_tensors(data))
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelRefusedError(
            f'{path}: is not a safetensors file that numpy can hold ({printable(error)}). '
            f'Use another version.'
        ) from error


def check_rules(
    facts: VersionFacts, rules: ModelFileRules, root: Path, name: str, version: int
) -> None:
    """Refuse a version that the rules exclude, whatever its content.

    Raises:
        ModelRefusedError: it is too old.
        SignatureError: nobody trusted signed it.
    """
    where = f'{name}@{version}'
    if version < rules.oldest_version:
        raise ModelRefusedError(
            f'{where}: is older than {rules.oldest_version}, the oldest version that may be used '
            f'here. Use a newer version or lower oldest_version.'
        )
    if rules.require_signature:
        try:
            signed_by(facts, rules, root, name, version)
        except KeyFileError as error:
            raise SignatureError(f'{where}: its signature cannot be checked. {error}') from error


def signed_by(
    facts: VersionFacts, rules: ModelFileRules, root: Path, name: str, version: int
) -> TrustedKey:
    """Return the trusted key that signed a version.

    Raises:
        SignatureError: there is none, or the signature is wrong.
        KeyFileError: the list of trusted keys cannot be relied on.
    """
    trusted = TrustedKeys(rules.trusted_keys).read(root)
    signed = model_signatures.statement(name, version, facts.sha256)
    return model_signatures.check(facts.signature, signed, trusted, f'{name}@{version}')


def encode_manifest(content: dict[str, Any], where: str) -> bytes:
    """Return the bytes of a manifest that states its own digest; sets it in `content`.

    Raises:
        StoreError: the content cannot be read back: too large, or not plain JSON.
    """
    content['manifest_sha256'] = manifest_digest(content)
    data = json.dumps(content, indent=1).encode()
    if len(data) > MAX_MANIFEST_BYTES:
        raise StoreError(
            f'{where}: its manifest has {len(data)} bytes, expected at most '
            f'{MAX_MANIFEST_BYTES}. Put less into it.'
        )
    unreadable = Refusal(StoreError, 'Put plain JSON data with finite numbers into it.')
    foreign_files.parse_json(data, f'{where}: its manifest', unreadable)
    return data


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 over everything in a manifest but this digest itself."""
    content = {key: value for key, value in manifest.items() if key != 'manifest_sha256'}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_finite(tensors: Mapping[str, Array], where: str) -> None:
    """Refuse weights with NaN or infinity.

    Raises:
        ModelRefusedError: names the tensor.
    """
    for key, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelRefusedError(
                f'{where}: tensor {printable(key)} holds NaN or infinity and must not drive a '
                f'robot. Lower the learning rate or look for broken data; use another version.'
            )


def _checked_manifest(manifest: Any, path: Path) -> dict[str, Any]:
    kinds = {'sha256': str, 'bytes': int, 'tensors': dict, 'manifest_sha256': str}
    if not isinstance(manifest, dict) or any(key not in manifest for key in kinds):
        raise ModelRefusedError(
            f'{path}: lacks one of {", ".join(kinds)}. It was not written by this package; '
            f'use another version.'
        )
    for key, kind in kinds.items():
        if not isinstance(manifest[key], kind) or isinstance(manifest[key], bool):
            found = printable(repr(manifest[key]), 60)
            raise _DAMAGED(path, f'{key} is {found}, expected a {kind.__name__}')
    _check_kinds(manifest, _OPTIONAL, path)
    _check_kinds(manifest.get('provenance') or {}, _OPTIONAL_PROVENANCE, path)
    if manifest['manifest_sha256'] != manifest_digest(manifest):
        raise ModelRefusedError(
            f'{path}: its content differs from its own SHA-256. The file was changed; '
            f'use another version.'
        )
    return manifest


def _check_kinds(
    mapping: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]], path: Path
) -> None:
    """Refuse entries that readers of manifests would stumble over; absent and null are fine."""
    for key, kind in kinds.items():
        value = mapping.get(key)
        if value is None:
            continue
        is_right = isinstance(value, kind) and not isinstance(value, bool)
        if not is_right or (kind is int and not 0 <= value < 2**63):
            found = printable(repr(value), 60)
            raise _DAMAGED(path, f'{key} is {found}, which is no value for it')
