"""How each verb of the table is done: small programs that order the robot about, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from robot_learning.language import handling
from robot_learning.language.body import PLACE_M, Body, Surroundings
from robot_learning.language.handling import Arguments
from robot_learning.language.motions import Ended, Turn, Wait
from robot_learning.language.senses import Order, Outcome, Senses, Skill
from robot_learning.language.skills import Step

_JUST_NOW_S = 15.0  # A turn once round takes some ten.


class Performer:
    """Carries out one call after the other; whoever owns it ticks it at every control step."""

    def __init__(self, around: Surroundings):
        self._body = Body(around)
        self._skill: Skill | None = None

    @property
    def progress(self) -> float:
        """Of the call, 0 to 1; -1: unknown."""
        return self._body.progress

    @property
    def is_holding(self) -> bool:
        """Whether the gripper holds something."""
        return self._body.is_holding

    @property
    def held_color(self) -> str:
        """Colour of what the gripper holds; '' if nothing, or if it is not known."""
        return self._body.held_color if self._body.is_holding else ''

    def begin(self, step: Step) -> None:
        """Take the next call."""
        self.cancel()
        self._body.progress = -1.0
        self._skill = SKILLS[step.verb.name](self._body, step.arguments)

    def tick(self, senses: Senses) -> Order | Outcome:
        """Return what to do until the next control step, or how the call has ended."""
        assert self._skill is not None, 'begin comes first'
        self._body.senses = senses
        try:
            return next(self._skill)
        except StopIteration as end:
            self._skill = None
            outcome: Outcome = end.value
            return outcome

    def cancel(self) -> None:
        """Forget the call; its owner stops the robot."""
        if self._skill is not None:
            self._skill.close()
            self._skill = None


def _straight(sign: float) -> Callable[[Body, Arguments], Skill]:
    def skill(body: Body, arguments: Arguments) -> Skill:
        distance = sign * float(arguments['distance'])
        return _outcome((yield from body.straight(distance, float(arguments['speed']))))

    return skill


def _turn(body: Body, arguments: Arguments) -> Skill:
    angle, speed = (math.radians(float(arguments[name])) for name in ('angle', 'speed'))
    return _outcome((yield from body.follow(Turn(angle, speed, body.around.limits))))


def _move_to(body: Body, arguments: Arguments) -> Skill:
    x, y, timeout_s = (float(arguments[name]) for name in ('x', 'y', 'timeout'))
    return _outcome((yield from body.go_to(x, y, timeout_s)))


def _stop(body: Body, arguments: Arguments) -> Skill:
    yield Order()
    return Outcome(True)


def _wait(body: Body, arguments: Arguments) -> Skill:
    return _outcome((yield from body.follow(Wait(float(arguments['duration'])))))


def _report(body: Body, arguments: Arguments) -> Skill:
    yield Order()
    return Outcome(True, said=_REPORTS[str(arguments['about'])](body.senses))


def _go_home(body: Body, arguments: Arguments) -> Skill:
    return _outcome((yield from body.go_to(*body.around.places['home'], 120.0, PLACE_M)))


def _go_to_room(body: Body, arguments: Arguments) -> Skill:
    x, y = body.around.places[str(arguments['room'])]
    return _outcome((yield from body.go_to(x, y, float(arguments['timeout']), PLACE_M)))


def _go_to_object(body: Body, arguments: Arguments) -> Skill:
    found = yield from body.approach(*_object(arguments), float(arguments['timeout']))
    return _outcome(found) if isinstance(found, Ended) else Outcome(True)


def _follow_path(body: Body, arguments: Arguments) -> Skill:
    points = body.around.paths[str(arguments['path'])]
    timeout_s = float(arguments['timeout'])
    start_s = body.senses.view.time_s
    for number, (x, y) in enumerate(points):
        left_s = timeout_s - (body.senses.view.time_s - start_s)
        shares = number / len(points), (number + 1) / len(points)
        ended = yield from body.go_to_exactly(x, y, left_s, shares)
        if not ended.success:
            return _outcome(ended)
    return Outcome(True)


def _scan(body: Body, arguments: Arguments) -> Skill:
    ended = yield from body.look_round()
    count = sum(seen.age_s <= _JUST_NOW_S for seen in body.senses.objects)
    return Outcome(ended.success, ended.reason, float(count))


def _detect(body: Body, arguments: Arguments) -> Skill:
    yield Order()
    return Outcome(True, value=body.sees(*_object(arguments)))


def _look_for(body: Body, arguments: Arguments) -> Skill:
    seen = yield from body.look_for(*_object(arguments))
    if seen is None:
        kind, color = _object(arguments)
        return Outcome(True, value=False, said=f'I see no {f"{color} " if color else ""}{kind}.')
    view = body.senses.view
    far_m = math.dist((seen.x, seen.y), (view.x, view.y))
    return Outcome(True, value=True, said=f'I see a {seen.name}, {far_m:.1f} m away.')


def _measure_distance(body: Body, arguments: Arguments) -> Skill:
    yield Order()
    direction = str(arguments['direction'])
    distance = body.senses.distances.get(direction, math.nan)
    if math.isnan(distance):
        return Outcome(False, f'the lidar sees nothing known in direction {direction}')
    return Outcome(True, value=distance)


def _object(arguments: Arguments) -> tuple[str, str | None]:
    color = arguments.get('color')
    return str(arguments['object_type']), None if color is None else str(color)


def _outcome(ended: Ended) -> Outcome:
    return Outcome(ended.success, ended.reason)


def _view_report(senses: Senses) -> str:
    seen = [each for each in senses.objects if each.age_s <= _JUST_NOW_S]
    if not seen:
        return 'I see nothing that I know.'
    here = senses.view.x, senses.view.y
    parts = [f'a {each.name} {math.dist((each.x, each.y), here):.1f} m away' for each in seen]
    return f'I see {", ".join(parts)}.'


def _distance_report(senses: Senses) -> str:
    known = [f'{meters:.2f} m {name}' for name, meters in senses.distances.items()]
    return f'Free way: {", ".join(known)}.' if known else 'I do not know: there is no lidar.'


def _battery_report(senses: Senses) -> str:
    if math.isnan(senses.battery):
        return 'I do not know: nothing publishes battery_state.'
    return f'The battery is at {senses.battery:.0%}.'


_REPORTS: Mapping[str, Callable[[Senses], str]] = {
    'battery': _battery_report,
    'pose': lambda senses: (
        f'I am at x {senses.view.x:.2f} m, y {senses.view.y:.2f} m, '
        f'looking to {math.degrees(senses.view.yaw):.0f} degrees.'
    ),
    'distance': _distance_report,
    'view': _view_report,
}
SKILLS: Mapping[str, Callable[[Body, Arguments], Skill]] = {
    'robot.move_forward': _straight(1.0),
    'robot.move_backward': _straight(-1.0),
    'robot.turn': _turn,
    'robot.move_to': _move_to,
    'robot.stop': _stop,
    'robot.wait': _wait,
    'robot.report': _report,
    'navigation.return_home': _go_home,
    'navigation.go_to_room': _go_to_room,
    'navigation.go_to_object': _go_to_object,
    'navigation.follow_path': _follow_path,
    'gripper.pick_up': handling.pick_up,
    'gripper.put_down': handling.put_down,
    'gripper.drop_at': handling.drop_at,
    'gripper.drop': handling.release,
    'gripper.grab': handling.grab,
    'gripper.release': handling.release,
    'sensors.scan': _scan,
    'sensors.detect': _detect,
    'sensors.look_for': _look_for,
    'sensors.measure_distance': _measure_distance,
}
