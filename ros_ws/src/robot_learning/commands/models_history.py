"""What became of every version of a model, also of those that were deleted since."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_store import ModelStore
from robot_learning.version_history import VersionEvent, VersionHistory

Row = dict[str, Any]
COLUMNS = ('version', 'fate', 'served', 'served_s', 'reason')
_STARTS = ('serving', 'rolled_back')  # Events after which a version serves.


class Roles(NamedTuple):
    """What versions are doing, as far as store and history tell."""

    serving: int | None
    in_canary: frozenset[int]


def roles(store: ModelStore, name: str) -> Roles:
    """Return which version serves and which ones are being tried.

    Unless one is pinned, the one that began to serve last does so: a newer one that no node has
    tried yet, or that is still in its canary, does not drive. Where none has served, the newest
    good one will.
    """
    events = VersionHistory(store.root).events(name)
    good = [v for v in store.versions(name) if store.refusal(name, v) is None]
    served = (e.version for e in reversed(events) if e.state in _STARTS and e.version in good)
    serving = store.active(name) or next(served, None) or max(good, default=None)
    return Roles(serving, frozenset(_open_canaries(events) & {*good} - {serving}))


def fates(store: ModelStore, name: str) -> list[Row]:
    """Return a row per version, oldest first.

    `served_s` sums up how long it served, by the clock on the wall, until another one did.
    """
    events = VersionHistory(store.root).events(name)
    present = store.versions(name)
    versions = sorted({*present, *(event.version for event in events)})
    if not versions:
        raise StoreError(
            f'model {name!r}: {store.root} holds no version and no history of it. Train one '
            f'first, or name another --models folder.'
        )
    seconds, serving = _services(events)
    rows = []
    for version in versions:
        row = _fate(store, name, version, version in present, events)
        if version == serving and row['fate'] == 'served':
            row['fate'] = 'serves'
        rows.append(row | {'served_s': seconds.get(version)})
    return rows


def events_of(store: ModelStore, name: str, version: int) -> list[Row]:
    """Return what happened to one version, oldest first."""
    events = VersionHistory(store.root).events(name)
    return [
        {'time': _time(e.time_s), 'state': e.state, 'by': e.by, 'reason': e.reason}
        for e in events
        if e.version == version
    ]


def _fate(
    store: ModelStore, name: str, version: int, is_present: bool, events: list[VersionEvent]
) -> Row:
    own = [event for event in events if event.version == version]
    tried = next((e.time_s for e in own if e.state == 'canary'), None)
    served = next((e.time_s for e in own if e.state in _STARTS), None)
    refusal = store.refusal(name, version) if is_present else None
    refused = next((e.reason for e in reversed(own) if e.state == 'refused'), None)
    fate, reason = 'not tried', ''
    if refusal is not None or (refused is not None and not is_present):
        fate, reason = 'refused', refusal or refused or ''
    elif served is not None:
        fate = 'served'
        reason = next((e.reason for e in reversed(own) if e.state in _STARTS), '')
    elif version in _open_canaries(events):
        fate, reason = 'in canary', own[-1].reason
    return {
        'version': version,
        'published': _published(store, name, version) if is_present else 'deleted',
        'tried': _time(tried),
        'served': _time(served),
        'fate': fate,
        'reason': reason,
    }


def _open_canaries(events: list[VersionEvent]) -> set[int]:
    """Return the versions that a node has begun to try, and said nothing about since."""
    tried: dict[str, int] = {}  # Node -> version.
    for event in events:
        if event.state == 'canary':
            tried[event.by] = event.version
        elif event.state in _STARTS or tried.get(event.by) == event.version:
            tried.pop(event.by, None)
    return set(tried.values())


def _services(events: list[VersionEvent]) -> tuple[dict[int, float], int | None]:
    """Return how many seconds each version has served, and the one that still does."""
    seconds: dict[int, float] = {}
    serving: VersionEvent | None = None
    for event in events:
        is_start = event.state in _STARTS
        is_refusal = event.state == 'refused'
        if serving is not None and (is_start or (is_refusal and event.version == serving.version)):
            duration = max(0.0, event.time_s - serving.time_s)
            seconds[serving.version] = round(seconds.get(serving.version, 0.0) + duration, 1)
            serving = None
        serving = event if is_start else serving
    return seconds, None if serving is None else serving.version


def _published(store: ModelStore, name: str, version: int) -> str | None:
    try:
        created = store.manifest(name, version).get('created')
        return None if created is None else _time(datetime.fromisoformat(created).timestamp())
    except (ModelRefusedError, StoreError, TypeError, ValueError):
        return None


def _time(time_s: float | None) -> str | None:
    if time_s is None:
        return None
    return datetime.fromtimestamp(time_s, timezone.utc).isoformat(' ', 'seconds')[:19]
