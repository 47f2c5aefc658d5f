"""The robot's microphone: what it and the objects of the arena sound like when they meet.

Wherever two bodies begin to touch, both are struck with (1 + e) m v, m their effective mass and v
the speed at which they meet along the contact's normal, and ring as `impact_sound` describes.
Wheels on the floor, rolling and sliding are not heard.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from robot_learning.sense_formats import SAMPLE_RATE_HZ
from robot_learning.simulation.geometry import KINDS, OBJECTS, OUTER_WALLS, WALLS
from robot_learning.simulation.impact_sound import (
    DISTANCE_M,
    Impact,
    RingingBody,
    contact_duration,
    recorded,
)
from robot_learning.simulation.physics import Physics
from robot_learning.simulation.resonance import ResonantBody, Shape, wall_area

Array = np.ndarray[Any, Any]

_ROBOT = 'robot'
_RESTITUTION = 0.3
_SETTLING_S = 0.1  # After a reset things come to rest on the floor; that is not heard.
_SLOWEST = 0.02  # m/s; slower contacts are not heard.
_NEAREST_M = 0.1
_OBJECT_KG, _ROBOT_KG, _FIXED_KG = 0.15, 2.5, 10.0
_WALL_THICKNESS = 0.002
# Young's modulus, Pa, and loss factor of what each kind of object is made of.
_MADE_OF: dict[str, tuple[Shape, float, float]] = {
    'ball': ('ball', 2.5e8, 0.08),  # Soft plastic.
    'cube': ('box', 1e10, 0.02),  # Wood.
    'can': ('can', 2e11, 0.002),  # Steel.
}
_MODULUS_PA = {_ROBOT: 2.5e9, **{item.name: _MADE_OF[item.kind][1] for item in OBJECTS}}
_FIXED_MODULUS_PA = 1e10  # Walls and floor.


class Microphone:
    """Listens to every physics step; sound is made when it is read."""

    def __init__(self, physics: Physics):
        self._physics = physics
        model = physics.model
        names = [model.geom(index).name for index in range(model.ngeom)]
        walls = {wall.name for wall in (*WALLS, *OUTER_WALLS)}
        objects = {item.name for item in OBJECTS}
        robot_root = model.body('base').id
        self._who = [
            name
            if name in objects or name in walls or name == 'floor'
            else _ROBOT
            if model.body_rootid[model.geom_bodyid[index]] == robot_root
            else ''
            for index, name in enumerate(names)
        ]
        self._bodies = _bodies()
        self._num_read = 0
        physics.on_step = self._listen
        self.reset()

    def reset(self) -> None:
        """Forget what rings and touches; an episode begins in silence."""
        self._ringing = {name: RingingBody(body) for name, body in self._bodies.items()}
        self._struck: dict[str, list[Impact]] = {name: [] for name in self._bodies}
        self._touching: set[tuple[str, str]] = set()
        self._start_s = float(self._physics.data.time)

    @property
    def num_read(self) -> int:
        """Samples read so far, over all episodes."""
        return self._num_read

    def read(self) -> Array:
        """Return what was heard since it was last read or reset, [N] float32 at 16 kHz."""
        elapsed_s = float(self._physics.data.time) - self._start_s
        num_samples = round(elapsed_s * SAMPLE_RATE_HZ)
        total = np.zeros(num_samples)
        for name, ringing in self._ringing.items():
            impacts = self._struck[name]
            if impacts or not ringing.is_silent:
                total += ringing.sound(impacts, num_samples)
            self._struck[name] = []
        self._start_s += num_samples / SAMPLE_RATE_HZ
        self._num_read += num_samples
        return recorded(total)

    def _listen(self) -> None:
        data = self._physics.data
        touching: set[tuple[str, str]] = set()
        for index, (first, second) in enumerate(data.contact.geom.tolist()):
            pair = self._who[first], self._who[second]
            if pair[0] == pair[1] or '' in pair or set(pair) == {_ROBOT, 'floor'}:
                continue
            is_new = pair not in self._touching and pair not in touching
            touching.add(pair)
            if is_new and data.time > _SETTLING_S:
                self._strike(index, first, second)
        self._touching = touching

    def _strike(self, index: int, first: int, second: int) -> None:
        model, data = self._physics.model, self._physics.data
        velocity = [data.cvel[model.geom_bodyid[geom], 3:] for geom in (first, second)]
        speed = abs(float(data.contact.frame[index, :3] @ (velocity[0] - velocity[1])))
        if speed < _SLOWEST:
            return
        names = self._who[first], self._who[second]
        masses = [_mass(name) for name in names]
        effective = masses[0] * masses[1] / sum(masses)
        distance = math.dist(data.contact.pos[index], data.xpos[model.body('base').id])
        nearness = DISTANCE_M / max(distance, _NEAREST_M)
        impulse = (1 + _RESTITUTION) * effective * speed * nearness
        moduli = [_MODULUS_PA.get(name, _FIXED_MODULUS_PA) for name in names]
        duration_s = contact_duration(effective, 0.03, speed, moduli)
        time_s = max(float(data.time) - self._start_s - self._physics.timestep_s, 0.0)
        for name in names:
            if name in self._struck:
                self._struck[name].append(Impact(time_s, impulse, duration_s, (0.3, 0.4)))


def _bodies() -> dict[str, ResonantBody]:
    bodies = {_ROBOT: ResonantBody('box', 0.2, 0.003, _MODULUS_PA[_ROBOT], 1050, 0.05)}
    for item in OBJECTS:
        shape, modulus, loss = _MADE_OF[item.kind]
        size = 2 * KINDS[item.kind].half_width
        density = _OBJECT_KG / (wall_area(shape, size) * _WALL_THICKNESS)
        bodies[item.name] = ResonantBody(shape, size, _WALL_THICKNESS, modulus, density, loss)
    return bodies


def _mass(name: str) -> float:
    if name == _ROBOT:
        return _ROBOT_KG
    return _OBJECT_KG if name in _MODULUS_PA else _FIXED_KG
