"""One field of a contract, observed or commanded, checked against its ROS type and itself.

Every check yields (path of the key within the field, what is wrong and what to do).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from robot_learning.config import KeyPath
from robot_learning.message_types import COMMANDS, HEADERLESS, PARTS, UNITS, Part, default_part

if TYPE_CHECKING:
    from robot_learning.contract import ActionField, ObservationField

Problems = Iterator[tuple[KeyPath, str]]

_TOPIC = re.compile(r'[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
_LARGEST_READING = 2**27  # Values; an image of 7680 x 4320 in colour has three quarters of it.
_LIMITS = ('unit', 'low', 'high', 'stop', 'max_rate', 'max_acceleration')
_SCAN_KEYS = ('angle_min', 'angle_max')
_RANGE_KEYS = ('range_min', 'range_max')


def field_problems(spec: ObservationField) -> Problems:
    """Check one observation field against its message type and itself."""
    yield from _topic_name(spec.topic)
    yield from _age_problems(spec)
    parts = PARTS.get(spec.type)
    if parts is None:
        yield (
            ('type',),
            f'found {spec.type!r}, for which there is no converter. '
            f'Choose one of: {", ".join(sorted(PARTS))}.',
        )
        return
    if spec.part is not None and spec.part not in parts:
        yield (
            ('part',),
            f'found {spec.part!r}, expected a part of {spec.type}: {", ".join(parts)}. '
            f'Choose one of them.',
        )
        return
    if not spec.shape:
        yield ('shape',), 'is empty, expected the size of every axis. Write [1] for one number.'
        return
    if math.prod(spec.shape) > _LARGEST_READING:
        yield (
            ('shape',),
            f'found {list(spec.shape)}, expected at most {_LARGEST_READING} values in a message. '
            f'Correct it.',
        )
        return
    name = spec.part or default_part(spec.type)
    yield from _shape_problems(spec, name, parts[name])
    yield from _unit_problems(spec, name, parts[name])
    if spec.dtype not in parts[name].dtypes:
        yield (
            ('dtype',),
            f'found {spec.dtype}, which cannot hold {name} of {spec.type} without loss. '
            f'Choose one of: {", ".join(parts[name].dtypes)}.',
        )
    if spec.frame and spec.type in HEADERLESS:
        yield (
            ('frame',),
            f'found {spec.frame!r}, but {spec.type} has no header to check. Remove it.',
        )
    yield from _joint_name_problems(spec)
    yield from _scan_problems(spec)


def action_problems(action: ActionField) -> Problems:
    """Check one action field: components, units and limits."""
    yield from _topic_name(action.topic)
    yield from _component_problems(action)
    lengths_fit = True
    for key in _LIMITS:
        values = getattr(action, key)
        if values is not None and len(values) != action.size:
            lengths_fit = False
            yield (
                (key,),
                f'holds {len(values)} values for {action.size} components '
                f'{list(action.components)}. Give one value per component.',
            )
    if lengths_fit:
        yield from _limit_problems(action)
        yield from _command_unit_problems(action)


# --- one observation field ---------------------------------------------------------------


def _topic_name(topic: str) -> Problems:
    if topic.startswith('/'):
        yield (
            ('topic',),
            f'found {topic!r}, expected a relative name, so that namespaces work. '
            f'Write {topic.lstrip("/")!r}.',
        )
    elif not _TOPIC.fullmatch(topic) or '__' in topic:
        yield (
            ('topic',),
            f'found {topic!r}, expected a ROS topic name: words of letters, digits and single '
            f'underscores, joined by "/", none starting with a digit. Correct it.',
        )


def _shape_problems(spec: ObservationField, name: str, part: Part) -> Problems:
    if part.shape is None:
        return
    fits = len(spec.shape) == len(part.shape) and all(
        size in (None, found) for size, found in zip(part.shape, spec.shape, strict=True)
    )
    if not fits:
        wanted = ', '.join('any' if size is None else str(size) for size in part.shape)
        yield (
            ('shape',),
            f'found {list(spec.shape)}, expected [{wanted}] for {name} of {spec.type}. '
            f'Correct it.',
        )
    elif name == 'image' and spec.shape[2] not in (1, 3, 4):
        yield (
            ('shape',),
            f'found {spec.shape[2]} channels, expected [height, width, channels] with 1 (grey, '
            f'depth), 3 (RGB) or 4 (RGBA). Correct it.',
        )


def _unit_problems(spec: ObservationField, name: str, part: Part) -> Problems:
    units = [spec.unit] if isinstance(spec.unit, str) else spec.unit
    unknown = [unit for unit in units if unit not in UNITS]
    if unknown:
        yield ('unit',), _unknown_units(unknown)
        return
    if not isinstance(spec.unit, str) and len(units) != spec.shape[-1]:
        yield (
            ('unit',),
            f'holds {len(units)} units for {spec.shape[-1]} values. Give one unit per value, or '
            f'one for all.',
        )
        return
    if spec.unit in ('', 'raw') or not any(part.unit):
        return
    wanted = [part.unit] * len(units) if isinstance(part.unit, str) else list(part.unit)
    if len(units) == 1 and len(set(wanted)) == 1:
        wanted = wanted[:1]
    fits = len(units) == len(wanted) and all(
        unit in (right, 'raw', *part.also) for unit, right in zip(units, wanted, strict=True)
    )
    if not fits:
        expected = part.unit if isinstance(part.unit, str) else list(part.unit)
        also = ''.join(f' or {unit!r}' for unit in part.also)
        yield (
            ('unit',),
            f'found {spec.unit!r}, expected {expected!r}{also} for {name} of {spec.type}. '
            f'Correct it, or write "raw" if the publisher misuses the type.',
        )


def _unknown_units(unknown: Sequence[str]) -> str:
    known = ', '.join(sorted(unit for unit in UNITS if unit))
    return (
        f'found {", ".join(map(repr, unknown))}, expected SI units with radians (REP 103). '
        f'Choose from: {known}.'
    )


def _age_problems(spec: ObservationField) -> Problems:
    if spec.max_age_s is None:
        return
    if spec.qos == 'latched':
        yield (
            ('max_age_s',),
            f'found {spec.max_age_s:g} s on a latched topic, whose reading stays valid until '
            f'the next. Remove it, or choose another qos.',
        )
    elif spec.rate_hz is not None and spec.max_age_s * spec.rate_hz < 1 - 1e-6:
        yield (
            ('max_age_s',),
            f'found {spec.max_age_s:g} s, expected at least one period of the topic, '
            f'{1 / spec.rate_hz:g} s at {spec.rate_hz:g} Hz: every step would be a gap. '
            f'Raise max_age_s.',
        )


def _joint_name_problems(spec: ObservationField) -> Problems:
    if spec.names is None:
        return
    if spec.type != 'sensor_msgs/msg/JointState':
        yield ('names',), f'found joint names, but {spec.type} has no joints. Remove them.'
    elif len(spec.names) != spec.shape[0] or len(set(spec.names)) != len(spec.names):
        yield (
            ('names',),
            f'found {len(set(spec.names))} different names in {list(spec.names)} for shape '
            f'{list(spec.shape)}. Give one name per value.',
        )


def _scan_problems(spec: ObservationField) -> Problems:
    is_scan = spec.type == 'sensor_msgs/msg/LaserScan'
    for key in (*_SCAN_KEYS, *_RANGE_KEYS):
        is_range = spec.type == 'sensor_msgs/msg/Range' and key in _RANGE_KEYS
        if getattr(spec, key) is not None and not is_scan and not is_range:
            yield (key,), f'has no meaning for {spec.type}. Remove it.'
    near, far = spec.range_min, spec.range_max
    if (near is not None and near < 0) or (near is not None and far is not None and near >= far):
        yield (
            ('range_min',),
            f'found {near} with range_max {far}, expected 0 <= range_min < range_max. '
            f'Correct them.',
        )
    first, last = spec.angle_min, spec.angle_max
    if (first is None) != (last is None):
        yield (
            ('angle_min' if first is not None else 'angle_max',),
            'stands alone, expected angle_min and angle_max together. Add the other.',
        )
    elif is_scan and first is not None and last is not None:
        beams, span = spec.shape[0], last - first
        if (beams > 1 and span <= 0) or (beams == 1 and span != 0):
            yield (
                ('angle_max',),
                f'found {last:g} with angle_min {first:g} for {beams} beams, expected the angle '
                f'of the last beam, above that of the first. Correct them.',
            )
        elif span > 2 * math.pi + 1e-3:
            yield (
                ('angle_max',),
                f'found a field of view of {span:g} rad, expected at most one turn, 6.283 rad. '
                f'Correct angle_min and angle_max, in radians.',
            )


# --- one action field --------------------------------------------------------------------


def _component_problems(action: ActionField) -> Problems:
    if action.type not in COMMANDS:
        yield (
            ('type',),
            f'found {action.type!r}, which cannot be commanded. '
            f'Choose one of: {", ".join(sorted(COMMANDS))}.',
        )
        return
    if not action.components:
        yield ('components',), 'is empty, expected what is commanded. Name the components.'
    if len(set(action.components)) != action.size:
        yield (
            ('components',),
            f'found {list(action.components)}, expected different ones. Remove the repetition.',
        )
    known = COMMANDS[action.type]
    wrong = [name for name in action.components if known is not None and name not in known]
    if wrong and known is not None:
        yield (
            ('components',),
            f'found {", ".join(map(repr, wrong))}, which {action.type} does not have. '
            f'Choose from: {", ".join(known)}.',
        )


def _command_unit_problems(action: ActionField) -> Problems:
    unknown = [unit for unit in action.unit if unit not in UNITS]
    if unknown:
        yield ('unit',), _unknown_units(unknown)
        return
    known = COMMANDS.get(action.type) or {}
    for component, unit in zip(action.components, action.unit, strict=True):
        wanted = known.get(component, unit)
        if unit not in (wanted, 'raw'):
            yield (
                ('unit',),
                f'{component}: found {unit!r}, expected {wanted!r} for {action.type}. '
                f'Correct it, or write "raw" if the robot misuses the type.',
            )


def _limit_problems(action: ActionField) -> Problems:
    for i, component in enumerate(action.components):
        low, high, stop = action.low[i], action.high[i], action.stop[i]
        if not low < high:
            yield (
                ('low',),
                f'{component}: low {low:g} is not below high {high:g}. Correct the limits.',
            )
        elif not low <= stop <= high:
            yield (
                ('stop',),
                f'{component}: stop {stop:g} lies outside [{low:g}, {high:g}]. '
                f'Choose a reachable stop command.',
            )
        elif action.max_rate is not None and action.max_acceleration is not None:
            # Speeding up and slowing down again within the range peaks at this rate.
            peak = math.sqrt(action.max_acceleration[i] * (high - low))
            if action.max_rate[i] > peak * (1 + 1e-6):
                yield (
                    ('max_rate',),
                    f'{component}: {action.max_rate[i]:g} per s is never reached: between '
                    f'{low:g} and {high:g}, max_acceleration {action.max_acceleration[i]:g} '
                    f'allows at most {peak:.4g}. Lower max_rate or raise max_acceleration.',
                )
