"""Looks at model versions and chooses which one serves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robot_learning.commands import model_keys, models_history
from robot_learning.errors import (
    KeyFileError,
    ModelRefusedError,
    RobotLearningError,
    StoreError,
)
from robot_learning.foreign_files import printable
from robot_learning.model_diff import compare
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore, parse_reference
from robot_learning.trusted_keys import default_path

_EXAMPLES = """examples:
  ./run models list                          all versions of all models
  ./run models show navigator                the version that serves; or navigator@12
  ./run models diff navigator@3 navigator@12
  ./run models activate navigator@12         pin it; without @12: follow the newest again
  ./run models rollback navigator            pin the sound version before the one that serves
  ./run models pardon navigator@12           take a refusal back
  ./run models history navigator             what became of each version and why; or navigator@12
  ./run models verify                        read everything, name what is damaged and who signed
  ./run models keygen ~/keys/me.pem          a key to sign with; its .pub goes to those who trust
  ./run models sign navigator@12 --key ~/keys/me.pem
  ./run models trust me.pem.pub --name maker     also: trusted, untrust maker
Without --models, the models of the last demo run (runs/latest/models) if there is one, else
runs/models. A running policy node follows within a second."""

_Result = dict[str, Any] | list[dict[str, Any]]


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if `verify` found damage."""
    options = _parser().parse_args(argv)
    rules = ModelFileRules(getattr(options, 'require_signature', False), options.trusted_keys)
    store = ModelStore(options.models or default_models(), rules)
    try:
        if options.action in _KEY_ACTIONS:
            say = partial(_say, options)
            result: _Result = _KEY_ACTIONS[options.action](store, options, say)
        else:
            result = _ACTIONS[options.action](store, options)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, indent=2))
    found_damage = options.action == 'verify' and any(
        isinstance(row, dict) and row['problem'] for row in result
    )
    return int(found_damage)


def default_models() -> Path:
    """Return the models of the last demo run if there is one, else runs/models."""
    latest = Path('runs/latest/models')
    return latest if latest.is_dir() else Path('runs/models')


def _list(store: ModelStore, options: argparse.Namespace) -> _Result:
    names = [options.model] if options.model else store.names()
    rows = [row for name in names for row in _rows(store, name)]
    if not rows:
        raise StoreError(
            f'{store.root}: holds no versions{" of " + options.model if options.model else ""}. '
            f'Train one with "./run train" or "./run demo", or name another --models folder.'
        )
    keys = ('model', 'version', 'state', 'phase', 'update', 'environment_step', 'score', 'created')
    _show_table(options, str(store.root), keys, rows)
    return rows


def _rows(store: ModelStore, name: str) -> list[dict[str, Any]]:
    roles, active = models_history.roles(store, name), store.active(name)
    rows = []
    for version in store.versions(name):
        refusal = store.refusal(name, version)
        state = 'refused' if refusal else ''
        if version == roles.serving:
            state = 'pinned' if version == active else 'serves'
        elif version in roles.in_canary:
            state = 'canary'
        row: dict[str, Any] = {'model': name, 'version': version, 'state': state}
        try:
            manifest = store.manifest(name, version)
        except ModelRefusedError as error:
            rows.append(row | {'state': 'damaged', 'problem': str(error)})
            continue
        provenance = manifest.get('provenance', {})
        rows.append(
            row
            | {
                'phase': manifest.get('phase'),
                'update': provenance.get('update'),
                'environment_step': provenance.get('environment_step'),
                'score': manifest.get('score'),
                'created': manifest.get('created'),
                'sha256': manifest['sha256'],
                'refusal': refusal,
            }
        )
    return rows


def _show(store: ModelStore, options: argparse.Namespace) -> _Result:
    name, version = _chosen(store, options.model)
    manifest = store.manifest(name, version) | {'refusal': store.refusal(name, version)}
    if options.json:
        return manifest
    rows: list[tuple[str, str]] = []
    summary = Table(box=box.SIMPLE, show_header=False, title=f'{name}@{version}')
    provenance = dict(manifest.get('provenance', {}))
    segments = provenance.pop('segments', [])
    plain = ('phase', 'created', 'score', 'sha256', 'bytes', 'contract_hash', 'refusal')
    for key in plain:
        rows.append((key, _text(manifest.get(key))))
    for group in ('policy', 'config', 'metrics'):
        for key, value in manifest.get(group, {}).items():
            rows.append((f'{group}.{key}', _text(value)))
    for key, value in provenance.items():
        rows.append((f'provenance.{key}', _text(value)))
    rows.append(('provenance.segments', ', '.join(map(_text, segments))))
    for key, text in rows:
        summary.add_row(Text(printable(key)), Text(printable(text, 2000)))
    Console().print(summary)
    return manifest


def _diff(store: ModelStore, options: argparse.Namespace) -> _Result:
    name, before = _chosen(store, options.before)
    other, after = _chosen(store, options.after)
    if name != other:
        raise StoreError(
            f'models diff: {name!r} and {other!r} are different models, expected two versions '
            f'of one. Write {name}@1 {name}@2.'
        )
    difference = compare(store, name, before, after)
    tensors = [
        {
            'tensor': change.name,
            'shape': _shape(change.before, change.after),
            'relative change': change.relative_change,
            'largest change': change.max_change,
        }
        for change in difference.tensors
    ]
    left_out = ('sha256', 'manifest_sha256', 'provenance.segments', 'version', 'created')
    manifest = [
        {'key': key, 'before': pair[0], 'after': pair[1]}
        for key, pair in difference.manifest.items()
        if key not in left_out
    ]
    title = f'{name}: {before} and {after}'
    _show_table(options, title, tuple(tensors[0]) if tensors else (), tensors)
    _show_table(options, 'manifest', ('key', 'before', 'after'), manifest)
    return {'tensors': tensors, 'manifest': manifest}


def _activate(store: ModelStore, options: argparse.Namespace) -> _Result:
    name, version = parse_reference(options.model)
    if version is None:
        store.release(name)
        serving = store.serving(name)
        _say(options, f'{name} follows the newest good version, now {serving}.')
        return {'model': name, 'version': serving, 'pinned': False}
    store.activate(name, version)
    _say(options, f'{name}@{version} serves from now on. "activate {name}" follows the newest.')
    return {'model': name, 'version': version, 'pinned': True}


def _rollback(store: ModelStore, options: argparse.Namespace) -> _Result:
    name, before = _chosen(store, options.model)
    version = store.rollback(name, before)
    _say(options, f'{name}: back from {before} to {version}, which serves from now on.')
    return {'model': name, 'before': before, 'version': version}


def _pardon(store: ModelStore, options: argparse.Namespace) -> _Result:
    name, version = parse_reference(options.model)
    if version is None:
        raise StoreError(f'models pardon: found {name!r}, expected NAME@VERSION. Add the version.')
    was_refused = store.pardon(name, version)
    _say(
        options,
        f'{name}@{version} may be served again.'
        if was_refused
        else f'{name}@{version} was not refused; nothing changed.',
    )
    return {'model': name, 'version': version, 'was_refused': was_refused}


def _verify(store: ModelStore, options: argparse.Namespace) -> _Result:
    names = [options.model] if options.model else store.names()
    rows: list[dict[str, Any]] = []
    strange = [] if options.model else store.strange_entries()
    for reference in names:
        name, chosen = parse_reference(reference)
        for version in store.versions(name) if chosen is None else [chosen]:
            problem = None
            try:
                store.verify(name, version)
            except ModelRefusedError as error:
                problem = str(error)
            found = {'model': name, 'version': version, 'problem': problem}
            rows.append(found | {'signature': _signature(store, name, version)})
    damaged = [row for row in rows if row['problem']]
    _show_table(options, str(store.root), ('model', 'version', 'signature'), rows)
    for row in damaged:
        _say(options, str(row['problem']))
    _say(options, f'{len(rows) - len(damaged)} of {len(rows)} versions are sound.')
    for path in strange:
        problem = f'{path}: does not belong into a model store. Look at it and remove it.'
        _say(options, problem)
        rows.append({'model': None, 'version': None, 'problem': problem, 'signature': None})
    return rows


def _signature(store: ModelStore, name: str, version: int) -> str:
    """Say in few words who vouches for a version."""
    try:
        return f'by {store.signed_by(name, version)}'
    except (ModelRefusedError, KeyFileError) as error:
        return str(error) if store.has_signature(name, version) else 'none'


def _history(store: ModelStore, options: argparse.Namespace) -> _Result:
    name, version = parse_reference(options.model)
    if version is None:
        rows = models_history.fates(store, name)
        _show_table(options, f'{name}, times in UTC', models_history.COLUMNS, rows)
        return rows
    rows = models_history.events_of(store, name, version)
    _show_table(options, f'{options.model}, times in UTC', ('time', 'state', 'by', 'reason'), rows)
    return rows


def _chosen(store: ModelStore, reference: str) -> tuple[str, int]:
    name, version = parse_reference(reference)
    version = models_history.roles(store, name).serving if version is None else version
    if version is None:
        raise StoreError(f'model {name!r}: {store.root} holds no version. Train one first.')
    return name, version


def _show_table(
    options: argparse.Namespace, title: str, keys: tuple[str, ...], rows: list[dict[str, Any]]
) -> None:
    if options.json:
        return
    table = Table(box=box.SIMPLE, title=title)
    for key in keys:
        is_number = any(isinstance(row.get(key), int | float) for row in rows)
        table.add_column(key.replace('_', ' '), justify='right' if is_number else 'left')
    for row in rows:
        table.add_row(*(Text(_text(row.get(key))) for key in keys))
    Console().print(table)


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        print(text)


def _shape(before: tuple[int, ...] | None, after: tuple[int, ...] | None) -> str:
    texts = ['absent' if shape is None else str(list(shape)) for shape in (before, after)]
    return texts[0] if texts[0] == texts[1] else ' → '.join(texts)


def _text(value: Any) -> str:
    if value is None:
        return ''
    return f'{value:.4g}' if isinstance(value, float) else printable(value, 2000)


_ACTIONS: dict[str, Callable[[ModelStore, argparse.Namespace], _Result]] = {
    'list': _list,
    'show': _show,
    'diff': _diff,
    'activate': _activate,
    'rollback': _rollback,
    'pardon': _pardon,
    'history': _history,
    'verify': _verify,
}
_KEY_ACTIONS: dict[
    str, Callable[[ModelStore, argparse.Namespace, Callable[[str], None]], _Result]
] = {
    'keygen': model_keys.generate,
    'sign': model_keys.sign,
    'trust': model_keys.trust,
    'untrust': model_keys.untrust,
    'trusted': model_keys.trusted,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run models',
        description='Look at model versions and choose which one serves.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument('--models', type=Path, metavar='DIR', help='model store')
    shared.add_argument('--json', action='store_true', help='print JSON instead of tables')
    shared.add_argument(
        '--trusted-keys',
        type=Path,
        metavar='FILE',
        help=f'list of trusted keys (default: {default_path()})',
    )
    actions = parser.add_subparsers(dest='action', required=True)
    for name, about in (
        ('list', 'all versions, or those of one model'),
        ('verify', 'read everything and name what is damaged'),
    ):
        action = actions.add_parser(name, help=about, parents=[shared])
        action.add_argument('model', nargs='?', metavar='NAME')
    action.add_argument(
        '--require-signature', action='store_true', help='unsigned versions are not sound'
    )
    model_keys.add_parsers(actions, shared)
    for name, about in (
        ('show', 'where a version comes from and what it scored'),
        ('activate', 'pin a version, or follow the newest again'),
        ('rollback', 'pin the sound version before the one that serves'),
        ('pardon', 'take a refusal back'),
        ('history', 'what became of each version and why'),
    ):
        action = actions.add_parser(name, help=about, parents=[shared])
        action.add_argument('model', metavar='NAME[@VERSION]')
    action = actions.add_parser('diff', help='what changed between two', parents=[shared])
    action.add_argument('before', metavar='NAME@VERSION')
    action.add_argument('after', metavar='NAME@VERSION')
    return parser


if __name__ == '__main__':
    sys.exit(main())
