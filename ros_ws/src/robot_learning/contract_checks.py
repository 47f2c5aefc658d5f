"""What types alone cannot say about a contract: parts of it that contradict each other.

Every check returns (path of the key, what is wrong and what to do) pairs; `robot_learning.
contract` adds file and line and raises them all together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robot_learning.config import KeyPath
from robot_learning.field_checks import action_problems, field_problems
from robot_learning.message_types import PARTS, default_part

if TYPE_CHECKING:
    from robot_learning.contract import ActionField, Feature, ObservationField, Task

Problem = tuple[KeyPath, str]
Problems = Iterator[Problem]

_NAME = re.compile(r'[a-z][a-z0-9_]*')


@dataclass(frozen=True)
class Draft:
    """The entries of a contract that have the right types; `unread` names the others."""

    control_rate_hz: float | None
    observation: dict[str, ObservationField]
    actions: dict[str, ActionField]
    features: dict[int, Feature]
    task: Task | None
    unread: frozenset[str] = (
        frozenset()
    )  # Observation fields left out because of their own mistakes.


def problems(draft: Draft) -> list[Problem]:
    """List everything in the draft that contradicts the ROS types or itself."""
    return [
        *_within('observation', draft.observation, field_problems),
        *_within('actions', draft.actions, action_problems),
        *_topic_problems(draft),
        *_rate_problems(draft),
        *_derivation_problems(draft),
        *_feature_problems(draft),
        *_task_problems(draft),
    ]


def _within(
    section: str, entries: Mapping[str, Any], check: Callable[[Any], Problems]
) -> Problems:
    for name, spec in entries.items():
        if not _NAME.fullmatch(name):
            yield (
                (section, name),
                f'found the name {name!r}, expected lower-case letters, digits and underscores '
                f'(it names an array in files). Rename it.',
            )
        for path, text in check(spec):
            yield (section, name, *path), text


def _topic_problems(draft: Draft) -> Problems:
    types: dict[str, tuple[str, str]] = {}
    taken: dict[object, str] = {}
    sections: list[tuple[str, Mapping[str, ObservationField | ActionField]]]
    sections = [('observation', draft.observation), ('actions', draft.actions)]
    for section, name, spec in [
        (section, *item) for section, entries in sections for item in entries.items()
    ]:
        first, known = types.setdefault(spec.topic, (f'{section}.{name}', spec.type))
        if known != spec.type:
            yield (
                (section, name, 'type'),
                f'found {spec.type} on topic {spec.topic!r}, which {first} says carries {known}. '
                f'A topic has one type: correct one of them.',
            )
    for name, field in draft.observation.items():
        if field.type in PARTS:
            part = field.part or default_part(field.type)
            first = taken.setdefault((field.topic, part, field.names), name)
            if first != name:
                yield (
                    ('observation', name, 'topic'),
                    f'takes {part} of {field.topic!r} like field {first!r}. Remove one of them.',
                )


def _rate_problems(draft: Draft) -> Problems:
    if draft.control_rate_hz is None:
        return
    period = 1 / draft.control_rate_hz
    for name, spec in draft.observation.items():
        slow = spec.rate_hz is not None and spec.rate_hz < draft.control_rate_hz * (1 - 1e-6)
        if spec.required and slow and spec.max_age_s is not None and spec.max_age_s < period:
            yield (
                ('observation', name, 'rate_hz'),
                f'found {spec.rate_hz:g} Hz, slower than the control rate of '
                f'{draft.control_rate_hz:g} Hz, and readings expire after {spec.max_age_s:g} s, '
                f'within one control period. Raise max_age_s or lower control_rate_hz.',
            )
    for name, action in draft.actions.items():
        if action.learned and action.max_age_s < period * (1 - 1e-6):
            yield (
                ('actions', name, 'max_age_s'),
                f'found {action.max_age_s:g} s, expected at least the control period of '
                f'{period:g} s: every command would expire before the next. Raise max_age_s.',
            )


def _derivation_problems(draft: Draft) -> Problems:
    for name, action in draft.actions.items():
        source_name = action.derive_from
        if source_name is None or source_name in draft.unread:
            continue
        path = ('actions', name, 'derive_from')
        source = draft.observation.get(source_name)
        if source is None:
            yield path, _no_such_field(source_name, draft)
            continue
        part = source.part or (default_part(source.type) if source.type in PARTS else '')
        if part == 'pose2d' and action.components == ('linear.x', 'angular.z'):
            continue  # The motion from pose to pose: `trajectory.derived_action`.
        if math.prod(source.shape) != action.size:
            yield (
                path,
                f'found {source_name!r} with shape {list(source.shape)}, expected '
                f'{action.size} values for {list(action.components)}, or a pose2d for a planar '
                f'twist. Choose another field or part.',
            )


def _feature_problems(draft: Draft) -> Problems:
    # Features read contracts, and so stand above this module.
    from robot_learning.features import problems as kind_problems

    for index, feature in draft.features.items():
        unknown = [name for name in feature.fields if name not in draft.observation]
        unknown = [name for name in unknown if name not in draft.unread]
        for name in unknown:
            yield ('features', index, 'fields'), _no_such_field(name, draft)
        if all(name in draft.observation for name in feature.fields):
            for path, text in kind_problems(feature, draft.observation):
                yield ('features', index, *path), text


def _task_problems(draft: Draft) -> Problems:
    if draft.task is None:
        return
    limit, rate = draft.task.time_limit_s, draft.control_rate_hz
    if limit is not None and (not math.isfinite(limit) or (rate and limit * rate < 1)):
        yield (
            ('task', 'time_limit_s'),
            f'found {limit:g} s, expected a finite time of at least one control period. '
            f'Correct it.',
        )
    for key, value in draft.task.parameters.items():
        length = key.endswith(('radius_m', 'distance_m', '_s', '_hz'))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value) or (length and value < 0):
                yield (
                    ('task', 'parameters', key),
                    f'found {value}, expected a finite {"non-negative " if length else ""}number. '
                    f'Correct it.',
                )
        elif length:
            yield (
                ('task', 'parameters', key),
                f'found {value!r}, expected a number, as the unit in its name says. Correct it.',
            )


def _no_such_field(name: str, draft: Draft) -> str:
    known = ', '.join(sorted({*draft.observation, *draft.unread})) or 'none'
    return f'found {name!r}, expected an observation field. Choose one of: {known}.'
