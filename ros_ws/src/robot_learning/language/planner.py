"""From intents to a plan of calls: what must hold before each, and what holds after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from robot_learning.errors import CommandError
from robot_learning.language import intents, skills
from robot_learning.language.intents import OUT_OF_SCOPE, Intent
from robot_learning.language.skills import Step, Value

Point = tuple[float, float]

MAX_ACTIONS = 20
_TURN_DEG = 90.0  # 'turn left' without a number.


class Zone(NamedTuple):
    """A box of the map where the robot must not go, metres."""

    name: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def holds(self, x: float, y: float) -> bool:
        """Tell whether a point is in it."""
        return self.x_min <= x <= self.x_max and self.y_min <= y <= self.y_max


@dataclass(frozen=True)
class Situation:
    """What is known when a plan is made."""

    abilities: frozenset[str]  # Of the robot, see `Verb.needs`.
    places: Mapping[str, Point] = field(default_factory=dict)  # x, y in metres.
    paths: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    forbidden: tuple[Zone, ...] = ()
    bounds: Zone | None = None  # The part of the map where the robot may be; None: all.
    is_holding: bool = False


class Plan(NamedTuple):
    """What will be done, in order; or what to ask first, and then nothing is done."""

    steps: tuple[Step, ...]
    missing: str = ''  # Slot that the question is about.
    question: str = ''


def plan(wanted: Sequence[Intent], situation: Situation) -> Plan:
    """Return the calls that do what is wanted, checked one by one and together.

    Raises:
        CommandError: it must or can not be done; says why.
    """
    if not wanted:
        raise CommandError('command: is empty, expected something to do.')
    for intent in wanted:
        missing, question = intents.question(intent)
        if question:
            return Plan((), missing, question)
    steps: list[Step] = []
    is_holding = situation.is_holding
    for intent in wanted:
        for step in _steps(intent):
            skills.check_abilities(step.verb, situation.abilities)
            check_target(step, situation)
            is_holding = _after(step, is_holding)
            steps.append(step)
    if len(steps) > MAX_ACTIONS:
        raise CommandError(f'command: takes {len(steps)} actions, expected at most {MAX_ACTIONS}.')
    return Plan(tuple(steps))


def _steps(intent: Intent) -> list[Step]:
    if intent.name == OUT_OF_SCOPE:
        known = [name.replace('_', ' ') for name in intents.INTENTS if name != OUT_OF_SCOPE]
        raise CommandError(
            f'command: {intent.text[:80]!r} is nothing that this robot is for. It can '
            f'{", ".join(known)}.'
        )
    return _STEPS[intent.name](intent.slots)


def _call(name: str, **given: Value | None) -> Step:
    verb = skills.verb(name)
    known = {key: value for key, value in given.items() if value is not None}
    return Step(verb, verb.completed(known))


def _move(slots: Mapping[str, Value]) -> list[Step]:
    direction = slots.get('direction', 'forward')
    distance, speed = slots['distance'], slots.get('speed')
    if direction in ('left', 'right'):  # It cannot drive sideways.
        turn = _call('robot.turn', angle=_TURN_DEG if direction == 'left' else -_TURN_DEG)
        return [turn, _call('robot.move_forward', distance=distance, speed=speed)]
    return [_call(f'robot.move_{direction}', distance=distance, speed=speed)]


def _turn(slots: Mapping[str, Value]) -> list[Step]:
    direction, angle = slots['direction'], float(slots.get('angle', _TURN_DEG))
    if direction == 'backward':  # Round.
        return [_call('robot.turn', angle=180.0)]
    if direction == 'forward':
        raise CommandError('turn: direction is forward, expected left, right or backward.')
    return [_call('robot.turn', angle=math.copysign(angle, 1.0 if direction == 'left' else -1.0))]


def _object(name: str) -> Callable[[Mapping[str, Value]], list[Step]]:
    def steps(slots: Mapping[str, Value]) -> list[Step]:
        given = {'object_type': slots['object'], 'color': slots.get('color')}
        takes_size = any(argument.name == 'size' for argument in skills.verb(name).arguments)
        return [_call(name, **given, **({'size': slots.get('size')} if takes_size else {}))]

    return steps


def _put_down(slots: Mapping[str, Value]) -> list[Step]:
    if 'place' in slots:
        return [_call('gripper.drop_at', room=slots['place'])]
    return [_call('gripper.put_down')]


def _bring(slots: Mapping[str, Value]) -> list[Step]:
    picked = _object('gripper.pick_up')(slots)
    return [*picked, _call('gripper.drop_at', room=slots.get('place', 'home'))]


_STEPS: dict[str, Callable[[Mapping[str, Value]], list[Step]]] = {
    'move': _move,
    'turn': _turn,
    'go_to_place': lambda slots: [_call('navigation.go_to_room', room=slots['place'])],
    'go_to_object': _object('navigation.go_to_object'),
    'go_to_pose': lambda slots: [_call('robot.move_to', x=slots['x'], y=slots['y'])],
    'follow_path': lambda slots: [_call('navigation.follow_path', path=slots['path'])],
    'look_for': _object('sensors.look_for'),
    'pick_up': _object('gripper.pick_up'),
    'put_down': _put_down,
    'bring': _bring,
    'return_home': lambda slots: [_call('navigation.return_home')],
    'stop': lambda slots: [_call('robot.stop')],
    'wait': lambda slots: [_call('robot.wait', duration=slots['duration'])],
    'report': lambda slots: [_call('robot.report', about=slots['about'])],
}
_LETS_GO = ('gripper.put_down', 'gripper.drop', 'gripper.drop_at', 'gripper.release')


def _after(step: Step, is_holding: bool) -> bool:
    """Check what must hold before a step; return whether something is held after it."""
    name = step.verb.name
    if name == 'gripper.pick_up':
        if is_holding:
            raise CommandError(f'{step.text}: something is held already. Put it down first.')
        return True
    if name in _LETS_GO:
        if not is_holding:
            raise CommandError(f'{step.text}: nothing is held. Pick something up first.')
        return False
    return is_holding


def check_target(step: Step, situation: Situation) -> None:
    """Refuse what leads to where the robot must not be, or where nobody knows the way to.

    Raises:
        CommandError: says which place, path or zone.
    """
    for point in _targets(step, situation):
        if problem := off_limits(*point, situation.forbidden, situation.bounds):
            raise CommandError(f'{step.text}: leads {problem}.')


def off_limits(x: float, y: float, forbidden: Sequence[Zone], bounds: Zone | None) -> str:
    """Return into or out of what a point lies, '' where the robot may be."""
    for zone in forbidden:
        if zone.holds(x, y):
            return f'into {zone.name}, which is forbidden'
    if bounds is not None and not bounds.holds(x, y):
        return f'out of {bounds.name}'
    return ''


def _targets(step: Step, situation: Situation) -> Sequence[Point]:
    """Return the points of the map that a step leads to."""
    name, arguments = step.verb.name, step.arguments
    room = 'home' if name == 'navigation.return_home' else arguments.get('room')
    if room is not None:
        if room not in situation.places:
            known = ', '.join(situation.places) or 'none'
            raise CommandError(f'{step.text}: nobody has told me where {room} is. I know {known}.')
        return [situation.places[str(room)]]
    if name == 'navigation.follow_path':
        path = str(arguments['path'])
        if path not in situation.paths:
            known = ', '.join(situation.paths) or 'none'
            raise CommandError(f'{step.text}: nobody has shown me that path. I know {known}.')
        return situation.paths[path]
    if name == 'robot.move_to':
        return [(float(arguments['x']), float(arguments['y']))]
    return []
