"""What became of every version of a model, also of those that were deleted since."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_store import ModelStore
from robot_learning.version_history import VersionEvent, VersionHistory

Row = dict[str, Any]
COLUMNS = ('version', 'fate', 'served', 'served_s', 'reason')
_STARTS = ('serving', 'rolled_back')  # Events after which a version serves.


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
    elif own:
        fate, reason = 'in canary', own[-1].reason
    return {
        'version': version,
        'published': _published(store, name, version) if is_present else 'deleted',
        'tried': _time(tried),
        'served': _time(served),
        'fate': fate,
        'reason': reason,
    }


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
