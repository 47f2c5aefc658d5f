"""The bench in motion: one object and a hand that acts and feels, stepped at a control rate."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np

from robot_learning.simulation.bench_objects import AMBIENT_C, BenchObject
from robot_learning.simulation.bench_picture import BenchPicture
from robot_learning.simulation.bench_scene import (
    FINGER_LENGTH,
    HAND_RANGE,
    OPENING_RANGE,
    build_bench,
)
from robot_learning.simulation.contact_sounds import TIMESTEP_S, Touch
from robot_learning.simulation.resonance import Shape

Array = np.ndarray[Any, Any]

CONTROL_RATE_HZ = 20
COMMANDS = ('x', 'y', 'z', 'opening')  # Metres; where the hand shall be.
PROPRIOCEPTION_NAMES = (
    *('hand_x', 'hand_y', 'hand_z', 'finger_left', 'finger_right'),  # 0.1 m.
    *('speed_x', 'speed_y', 'speed_z', 'speed_left', 'speed_right'),  # m/s.
    *('motor_x', 'motor_y', 'motor_z', 'motor_left', 'motor_right'),  # 10 N.
    *('touch_left', 'touch_right'),  # 10 N.
    *('contact_thermometer', 'infrared_thermometer'),  # 20 degrees above 22 degrees Celsius.
)

_STEPS_PER_COMMAND = round(1 / CONTROL_RATE_HZ / TIMESTEP_S)
_JOINTS = ('x', 'y', 'z', 'left', 'right')
_NOISE = np.asarray([0.005] * 5 + [0.005] * 5 + [0.02] * 5 + [0.02] * 2 + [0.02] * 2)
_SOFTEST_S, _STIFFEST_S = 0.05, 0.004  # Time constant of a finger's contact.
_BENCH_S = 0.006  # Of the bench's.
_DEADEST, _LIVELIEST = 1.0, 0.25  # Damping ratio of contacts.
_SLIDING = 0.95  # Of the limit of friction.
_FINGER_GRIP = 1.3  # Friction of rubber tips, as a part of the object's own.
_PULSE_S, _REST_S = 0.12, 0.28  # How a thing that is alive moves.
_NUM_MOODS = 64
_ROLLING = 1.5  # How hard a ball pushes itself, as a part of how hard it hops.
_CONTENT_ROOM = 0.4  # How far the loose piece moves, as a part of the object's half size.
_CONTACT_S, _COOLING_S = 0.25, 2.0  # Time constants of the contact thermometer.
_INFRARED_M = 0.15  # Distance at which an object warms the infrared thermometer to 1/e.


class BenchWorld:
    """A scene for objects of one shape; made once, used for any number of them.

    Args:
        shape: of all its objects.
        has_camera: whether it can draw.

    Raises:
        EnvironmentSetupError: pictures are wanted and cannot be drawn here.
    """

    def __init__(self, shape: Shape, has_camera: bool = True):
        self.shape = shape
        model = mujoco.MjModel.from_xml_string(build_bench(shape, TIMESTEP_S))
        self._model, self._data = model, mujoco.MjData(model)
        self._picture = BenchPicture(model, self._data) if has_camera else None
        self._body, self._content = model.body('object').id, model.body('content').id
        self._touched = model.geom('touched').id
        self._partner = {
            model.geom(name).id: i for i, name in enumerate(('bench', 'left', 'right'))
        }
        self._object_qpos = int(model.joint('object').qposadr[0])
        self._object_dof = int(model.joint('object').dofadr[0])
        self._content_dof = int(model.joint('content_x').dofadr[0])
        self._item: BenchObject
        self._moods = np.zeros(_NUM_MOODS)
        self._contact_c = AMBIENT_C

    def begin(self, item: BenchObject, seed: int, hand: Array) -> None:
        """Put an object on the bench and the hand where it is wanted.

        Args:
            item: of this world's shape.
            seed: of its place, turn and moods and of the light. Whatever the object's
                properties are, equal seeds draw the same.
            hand: [4] as `COMMANDS`.
        """
        assert item.shape == self.shape
        self._item = item
        rng = np.random.default_rng([seed, 401])
        x, y = rng.uniform(-0.006, 0.006, 2)
        yaw = rng.normal(0, 0.15)
        self._moods = rng.uniform(0, 2 * math.pi, _NUM_MOODS)
        lamp = rng.uniform(0.42, 0.62) + rng.uniform(-0.03, 0.03, 3)  # Brightness and tint.
        self._apply(item)
        if self._picture is not None:
            self._picture.paint(item, lamp)
        data = self._data
        mujoco.mj_resetData(self._model, data)
        pose = [x, y, item.size_m / 2, math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]
        data.qpos[self._object_qpos : self._object_qpos + 7] = pose
        data.qpos[: len(_JOINTS)] = data.ctrl[:] = _targets(hand)
        self._contact_c = AMBIENT_C
        mujoco.mj_forward(self._model, data)

    def advance(self, command: Array) -> list[Touch]:
        """Hold a command [4] for one control period; return what touched, by physics step."""
        self._data.ctrl[:] = _targets(command)
        touches = []
        for _ in range(_STEPS_PER_COMMAND):
            self._live()
            speeds = self._approach()
            mujoco.mj_step(self._model, self._data)
            touches.append(self._touch(speeds))
        self._warm(touches)
        return touches

    def feel(self, noise: np.random.Generator) -> Array:
        """Return what the hand feels, [19] float32 as `PROPRIOCEPTION_NAMES`."""
        data, count = self._data, len(_JOINTS)
        touch = self._touch([0.0] * 4).force_n
        middle = data.qpos[:3] - (0, 0, FINGER_LENGTH / 2)
        gap = float(np.linalg.norm(data.xpos[self._body] - middle)) - self._item.size_m / 2
        excess_c = self._item.temperature_c - AMBIENT_C
        values = np.concatenate(
            [
                data.qpos[:count] * 10,
                data.qvel[:count],
                data.actuator_force / 10,
                np.asarray(touch[1:3]) / 10,
                np.asarray(
                    [
                        self._contact_c - AMBIENT_C,
                        excess_c * math.exp(-max(gap, 0.0) / _INFRARED_M),
                    ]
                )
                / 20,
            ]
        )
        return (values + _NOISE * noise.standard_normal(len(values))).astype(np.float32)

    def see(self, noise: np.random.Generator) -> Array:
        """Return the camera's picture, [64, 64, 3] uint8."""
        assert self._picture is not None
        return self._picture.draw(*self._squeeze(), noise)

    def close(self) -> None:
        """Free what draws."""
        if self._picture is not None:
            self._picture.close()

    @property
    def object_position(self) -> Array:
        """Where the object's middle is, [3] metres."""
        return np.array(self._data.xpos[self._body])

    def _apply(self, item: BenchObject) -> None:
        """Give the scene what the object's properties mean."""
        model, half = self._model, item.size_m / 2
        for name in ('seen', 'touched'):
            geom = model.geom(name)
            geom.size[:] = [half, half, 0 if self.shape == 'can' else half]
            model.geom_rbound[geom.id] = half * math.sqrt(3)
        content_kg = max(item.content_kg, 1e-3)
        for body, mass in ((self._body, item.mass_kg - content_kg), (self._content, content_kg)):
            model.body_mass[body] = mass
            model.body_inertia[body] = mass * item.size_m**2 / 6
        room = _CONTENT_ROOM * half if item.content_kg else 1e-4
        for axis in 'xyz':
            model.joint(f'content_{axis}').range[:] = -room, room
        finger_s = _SOFTEST_S * (_STIFFEST_S / _SOFTEST_S) ** item.value('rigidity')
        damping = _DEADEST + (_LIVELIEST - _DEADEST) * item.value('hardness')
        for name, grip, time_s in (
            ('bench', 1.0, _BENCH_S),
            ('left', _FINGER_GRIP, finger_s),
            ('right', _FINGER_GRIP, finger_s),
        ):
            pair = model.pair(name).id
            model.pair_friction[pair, :2] = item.friction * grip
            model.pair_solref[pair] = time_s, damping if name == 'bench' else 1.0
        mujoco.mj_setConst(model, self._data)

    def _live(self) -> None:
        """Push a thing that is alive, now and then, to and fro in directions of its own."""
        along, up = self._item.own_push
        number, phase = divmod(self._data.time, _PULSE_S + _REST_S)
        push = self._data.xfrc_applied[self._body]
        push[:] = 0
        if not along or phase > _PULSE_S:
            return
        if self.shape == 'ball':  # It would roll away: it brakes itself.
            along = _ROLLING * up * (1 if phase < _PULSE_S / 2 else -1)
        mood = self._moods[int(number) // 2 % _NUM_MOODS] + math.pi * (number % 2)
        mass = self._item.mass_kg
        push[:3] = mass * along * math.cos(mood), mass * along * math.sin(mood), mass * up
        push[5] = 0.1 * mass * up * self._item.size_m * math.sin(3 * mood)

    def _approach(self) -> list[float]:
        """Return how fast the object and each partner move against each other, m/s."""
        velocity = self._data.qvel.tolist()
        moves = velocity[self._object_dof : self._object_dof + 3]
        hand = math.dist(moves, velocity[:3]) + max(abs(velocity[3]), abs(velocity[4]))
        inside = velocity[self._content_dof : self._content_dof + 3]
        return [math.hypot(*moves), hand, hand, math.hypot(*inside)]

    def _touch(self, approach: list[float]) -> Touch:
        data = self._data
        pushed = data.qfrc_constraint[self._content_dof : self._content_dof + 3].tolist()
        force = [0.0, 0.0, 0.0, math.hypot(*pushed) if self._item.content_kg else 0.0]
        strongest, at, partner = -1, 0.0, 0
        addresses, geoms = data.contact.efc_address.tolist(), data.contact.geom.tolist()
        for index, (address, pair) in enumerate(zip(addresses, geoms, strict=True)):
            if address < 0:
                continue
            normal = float(data.efc_force[address])
            number = self._partner_in(pair)
            force[number] += normal
            if normal > at:
                strongest, at, partner = index, normal, number
        if strongest < 0:
            return Touch(tuple(force), 0.0, tuple(approach), (0.5, 0.5))
        slip, place = self._slip(strongest, partner)
        return Touch(tuple(force), slip, tuple(approach), place)

    def _partner_in(self, pair: list[int]) -> int:
        return self._partner[pair[1] if pair[0] == self._touched else pair[0]]

    def _slip(self, index: int, partner: int) -> tuple[float, tuple[float, float]]:
        """Return how fast a contact slides, m/s, and where on the object's wall it is."""
        data, dof = self._data, self._object_dof
        turn = data.xmat[self._body].reshape(3, 3)
        arm = data.contact.pos[index] - data.xpos[self._body]
        x, y, z = arm.tolist()
        p, q, r = (turn @ data.qvel[dof + 3 : dof + 6]).tolist()
        spin = np.asarray([q * z - r * y, r * x - p * z, p * y - q * x])
        moves = data.qvel[dof : dof + 3] + spin
        if partner:
            moves -= data.qvel[:3]
        normal = data.contact.frame[index, :3]
        sliding = moves - normal * (moves @ normal)
        speed = math.hypot(*sliding) if self._slides(index) else 0.0
        local = [min(max(value, 0.0), 1.0) for value in (arm @ turn / self._item.size_m + 0.5)]
        if self.shape == 'can':
            return speed, (0.5, local[2])
        face = max(range(3), key=lambda axis: abs(local[axis] - 0.5))
        u, v = (local[axis] for axis in range(3) if axis != face)
        return speed, (u, v)

    def _slides(self, index: int) -> bool:
        """Tell whether friction has reached its limit; below it soft contacts only yield."""
        data = self._data
        address = int(data.contact.efc_address[index])
        normal, along, across = (float(force) for force in data.efc_force[address : address + 3])
        limit = float(data.contact.friction[index, 0]) * normal
        return math.hypot(along, across) > _SLIDING * limit

    def _squeeze(self) -> tuple[float, int]:
        """Return how much narrower the fingers make the object, metres, and along which axis."""
        data = self._data
        depth = {1: 0.0, 2: 0.0}
        axis = 0
        for index in range(data.ncon):
            partner = self._partner_in(data.contact.geom[index].tolist())
            if partner:
                depth[partner] = max(depth[partner], -float(data.contact.dist[index]))
                turn = data.xmat[self._body].reshape(3, 3)
                axis = int(np.argmax(np.abs(data.contact.frame[index, :3] @ turn)))
        return sum(depth.values()), axis

    def _warm(self, touches: list[Touch]) -> None:
        """Let the contact thermometer follow the object while a finger touches it."""
        is_held = any(touch.force_n[1] > 0 or touch.force_n[2] > 0 for touch in touches)
        goal, time_s = (
            (self._item.temperature_c, _CONTACT_S) if is_held else (AMBIENT_C, _COOLING_S)
        )
        self._contact_c += (goal - self._contact_c) * (1 - math.exp(-1 / CONTROL_RATE_HZ / time_s))


def _targets(command: Array) -> list[float]:
    """Return where each of `_JOINTS` shall go, within its range."""
    place = [
        float(np.clip(value, *HAND_RANGE[axis]))
        for axis, value in zip('xyz', command[:3], strict=True)
    ]
    opening = float(np.clip(command[3], *OPENING_RANGE))
    return [*place, opening / 2, opening / 2]
