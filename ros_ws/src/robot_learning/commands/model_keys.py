"""The part of `./run models` that is about keys: who signs versions, and whom we trust."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot_learning.errors import KeyFileError, StoreError
from robot_learning.model_signatures import (
    generate_key,
    public_key_path,
    read_public_key,
    read_signer,
)
from robot_learning.model_store import ModelStore, parse_reference
from robot_learning.trusted_keys import TrustedKeys, key_identity

Say = Callable[[str], None]
Row = dict[str, Any]


def ask_passphrase(path: Path) -> Callable[[], str] | None:
    """Return what asks for the passphrase of a key; None where nobody sits at a terminal."""
    if not sys.stdin.isatty():
        return None
    return lambda: getpass.getpass(f'Passphrase of {path}: ')


def generate(store: ModelStore, options: argparse.Namespace, say: Say) -> Row:
    """Make a key pair outside the store."""
    path: Path = options.file
    if path.resolve().is_relative_to(store.root.resolve()):
        raise KeyFileError(
            f'{path}: lies in the model store {store.root}, which is shared with others. Keep '
            f'the private key elsewhere.'
        )
    signer = generate_key(path, _new_passphrase() if options.passphrase else None)
    say(
        f'Key {signer.identity}. {path} signs: keep it to yourself. {public_key_path(path)} is '
        f'for those who are to trust you: ./run models trust {public_key_path(path)}'
    )
    return {'key': signer.identity, 'private': str(path), 'public': str(public_key_path(path))}


def sign(store: ModelStore, options: argparse.Namespace, say: Say) -> list[Row]:
    """Sign one version, or all that are good."""
    name, version = parse_reference(options.model)
    signer = read_signer(options.key, ask_passphrase(options.key))
    if version is None and not options.all:
        version = store.serving(name)
    chosen = store.versions(name) if options.all else [version]
    if chosen in ([], [None]):
        raise StoreError(f'model {name!r}: {store.root} holds no version. Train one first.')
    rows = []
    for number in chosen:
        assert number is not None, 'looked at above'
        store.sign(name, number, signer)
        rows.append({'model': name, 'version': number, 'key': signer.identity})
        say(f'{name}@{number} is signed by {signer.identity}.')
    return rows


def trust(store: ModelStore, options: argparse.Namespace, say: Say) -> Row:
    """Let a key count from now on."""
    keys = TrustedKeys(options.trusted_keys)
    keys.read(store.root)  # Refuses a list that lies in the store.
    key = keys.add(read_public_key(options.public_key), options.name or options.public_key.stem)
    say(f'{key.label} ({key.key}) is trusted. Does its owner read out the same number?')
    return key._asdict() | {'public_key': str(options.public_key)}


def untrust(store: ModelStore, options: argparse.Namespace, say: Say) -> Row:
    """Let a key count no more."""
    key = TrustedKeys(options.trusted_keys).remove(options.name)
    say(f'{key.label} ({key.key}) is no longer trusted. Running nodes notice within a second.')
    return {'key': key.key, 'label': key.label}


def trusted(store: ModelStore, options: argparse.Namespace, say: Say) -> list[Row]:
    """List whom we trust."""
    keys = TrustedKeys(options.trusted_keys)
    rows = [
        {'label': key.label, 'key': key_identity(key.public_key), 'added': key.added}
        for key in keys.read(store.root).values()
    ]
    if not rows:
        say(f'{keys.path}: nobody is trusted. Add a key: ./run models trust PUBLIC_KEY_FILE')
    for row in rows:
        say(f'{row["label"]}  {row["key"]}  since {row["added"]}')
    return rows


def add_parsers(actions: Any, shared: argparse.ArgumentParser) -> None:
    """Add these actions to the parser of `./run models`."""
    action = actions.add_parser('keygen', help='make a key pair to sign with', parents=[shared])
    action.add_argument('file', type=Path, metavar='FILE', help='private key; FILE.pub: public')
    action.add_argument('--passphrase', action='store_true', help='ask for one and encrypt')
    action = actions.add_parser('sign', help='vouch for a version', parents=[shared])
    action.add_argument('model', metavar='NAME[@VERSION]', help='default: the one that serves')
    action.add_argument('--key', type=Path, required=True, metavar='FILE', help='private key')
    action.add_argument('--all', action='store_true', help='every version of the model')
    action = actions.add_parser('trust', help='let a key count', parents=[shared])
    action.add_argument('public_key', type=Path, metavar='PUBLIC_KEY')
    action.add_argument('--name', metavar='LABEL', help="what to call it (the file's name)")
    action = actions.add_parser('untrust', help='let a key count no more', parents=[shared])
    action.add_argument('name', metavar='KEY', help='label or identity')
    actions.add_parser('trusted', help='list the keys that count', parents=[shared])


def _new_passphrase() -> str:
    first = getpass.getpass('New passphrase: ')
    if not first or getpass.getpass('Once more: ') != first:
        raise KeyFileError('passphrase: is empty or differs the second time. Start again.')
    return first
