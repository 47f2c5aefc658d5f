"""Skills of a lift with a gripper: grasp, carry, put down."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping

from robot_learning.language.body import PLACE_M, Body, Hand, Motions
from robot_learning.language.motions import Ended, Straight, Turn, View
from robot_learning.language.senses import Order, Outcome, Skill
from robot_learning.language.skills import Value

Arguments = Mapping[str, Value]

_CREEP_M_S = 0.08
_HALF_WIDTH_M = 0.06  # Of what is grasped, from the surface that the lidar sees to its middle.
_AIMS, _AIM_RAD, _AIM_RAD_S = 3, math.radians(2.5), math.radians(30.0)
_LIFTING_S, _GRASPING_S = 1.6, 1.0
_LEAST_WIDTH_M = 0.03  # Fingers closer together hold nothing.
_BACK_M = 0.25
_TRIES = 3
_FORGET_M = 0.15


def pick_up(body: Body, arguments: Arguments) -> Skill:
    """Go to an object, close the gripper on it and lift it."""
    if body.is_holding:
        return Outcome(False, 'something is held already')
    kind, color = str(arguments['object_type']), arguments.get('color')
    reason = ''
    for _ in range(_TRIES):
        found = yield from body.approach(kind, None if color is None else str(color))
        if isinstance(found, Ended):
            return Outcome(False, reason or found.reason)
        reason = yield from _grasp(body, kind)
        if not reason:
            body.held_color = found.color
            return Outcome(True)
    return Outcome(False, reason)


def _grasp(body: Body, kind: str) -> Generator[Order, None, str]:
    """Grasp and lift what stands right ahead; returns why it did not work, '' if it did."""
    hand = _hand(body)
    yield from body.hold(_LIFTING_S, hand.low_m, hand.open_m)
    near = body.senses.near  # The lidar knows better than the map where it stands.
    for _ in range(_AIMS):
        if near is None or abs(near.bearing_rad) <= _AIM_RAD:
            break
        yield from body.follow(Turn(near.bearing_rad, _AIM_RAD_S, body.around.limits))
        near = body.senses.near
    if near is None:
        return f'no {kind} stands right before me'
    ended = yield from _creep(body, near.distance_m + _HALF_WIDTH_M - hand.reach_m)
    if not ended.success:
        return ended.reason
    yield from body.hold(_GRASPING_S, hand.low_m, 0.0)
    yield from body.hold(_LIFTING_S, hand.high_m, 0.0)
    is_holding = body.senses.opening_m >= _LEAST_WIDTH_M
    if is_holding:
        view, reach = body.senses.view, hand.reach_m
        x, y = view.x + reach * math.cos(view.yaw), view.y + reach * math.sin(view.yaw)
        body.around.obstacles.forget(x, y, _FORGET_M)
        body.is_holding = True
    else:
        yield from body.hold(_GRASPING_S, hand.high_m, hand.open_m)
    yield from _creep(body, -_BACK_M)
    return '' if is_holding else f'the {kind} slipped out of the gripper'


def put_down(body: Body, arguments: Arguments) -> Skill:
    """Set down what is held, and back off from it."""
    hand = _hand(body)
    yield from body.hold(_LIFTING_S, hand.low_m, 0.0 if body.is_holding else None)
    yield from body.hold(_GRASPING_S, hand.low_m, hand.open_m)
    body.is_holding = False
    ended = yield from _creep(body, -_BACK_M)
    yield from body.hold(_LIFTING_S, hand.high_m, hand.open_m)
    return Outcome(ended.success, ended.reason)


def drop_at(body: Body, arguments: Arguments) -> Skill:
    """Carry what is held to a place and put it down there."""
    x, y = body.around.places[str(arguments['room'])]
    ended = yield from body.go_to(x, y, 120.0, PLACE_M, (0.0, 0.8))
    if not ended.success:
        return Outcome(False, ended.reason)
    return (yield from put_down(body, {}))


def release(body: Body, arguments: Arguments) -> Skill:
    """Open the gripper where it is."""
    yield from body.hold(_GRASPING_S, None, _hand(body).open_m)
    body.is_holding = False
    return Outcome(True)


def grab(body: Body, arguments: Arguments) -> Skill:
    """Close the gripper where it is."""
    yield from body.hold(_GRASPING_S, None, 0.0)
    body.is_holding = body.senses.opening_m >= _LEAST_WIDTH_M
    return Outcome(True)


def _creep(body: Body, distance_m: float) -> Motions:
    """Drive straight, up to what is to be touched; backwards as far as it goes."""
    motion = Straight(distance_m, _CREEP_M_S, body.around.limits)

    def without_obstacles(view: View) -> View:
        return view._replace(front_m=math.inf)

    return (yield from body.follow(motion, without_obstacles, (body.progress, body.progress)))


def _hand(body: Body) -> Hand:
    assert body.around.hand is not None, 'abilities are checked before'
    return body.around.hand
