"""MuJoCo behind a few verbs: place the bodies, drive the actuators, advance, read contacts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np

from robot_learning.errors import SimulationError
from robot_learning.simulation import scene
from robot_learning.simulation.geometry import KINDS, OBJECTS, WHEEL_RADIUS, WHEEL_SEPARATION

Array = np.ndarray[Any, Any]
Pose2D = tuple[float, float, float]  # x, y in metres, yaw in radians, map frame.

_SUPPORTS = 3  # Wheels and rear caster: at every step only more contacts are looked at.


class Physics:
    """The compiled scene and its state. Objects keep shape, size and colour; poses move."""

    def __init__(self, timestep_s: float):
        self.model = mujoco.MjModel.from_xml_string(scene.build_mjcf(timestep_s))
        self.data = mujoco.MjData(self.model)
        self._all_awake = self.data.tree_asleep.copy()
        self._nominal = {
            name: getattr(self.model, name).copy()
            for name in ('body_mass', 'body_inertia', 'geom_friction', 'actuator_forcerange')
        }
        self._object_ids = [self.model.body(item.name).id for item in OBJECTS]
        self._object_address = {
            item.name: int(self.model.joint(item.name).qposadr[0]) for item in OBJECTS
        }
        self._object_velocity = {
            item.name: int(self.model.joint(item.name).dofadr[0]) for item in OBJECTS
        }
        self._base_id = self.model.body('base').id
        root = self.model.body_rootid
        self._robot_bodies = np.flatnonzero(root == self._base_id)
        self._robot_geoms = root[self.model.geom_bodyid] == self._base_id  # [geoms] bool
        self._floor = self.model.geom('floor').id
        self._joint = {
            name: int(self.model.joint(name).qposadr[0])
            for name in ('wheel_left_joint', 'wheel_right_joint', 'lift', 'left_finger')
        }
        self._right_finger = int(self.model.joint('right_finger').qposadr[0])
        self._wheel_velocity = [
            int(self.model.joint(f'wheel_{side}_joint').dofadr[0]) for side in ('left', 'right')
        ]
        self.touched: set[str] = (
            set()
        )  # Walls and objects the robot's body met; cleared by others.
        self.on_step: Callable[[], None] | None = None  # Told after every physics step.

    @property
    def timestep_s(self) -> float:
        """Length of one physics step."""
        return float(self.model.opt.timestep)

    def randomise(self, values: Mapping[str, float]) -> None:
        """Scale masses, friction and motor strength; takes effect with the next `place`."""
        model = self.model
        for name, nominal in self._nominal.items():
            getattr(model, name)[:] = nominal
        robot, objects = self._robot_bodies, self._object_ids
        for bodies, key in ((robot, 'robot_mass_scale'), (objects, 'object_mass_scale')):
            model.body_mass[bodies] *= values[key]
            model.body_inertia[bodies] *= values[key]
        model.geom_friction[:, 0] *= values['friction_scale']
        model.actuator_forcerange[:2] *= values['motor_strength_scale']
        mujoco.mj_setConst(model, self.data)

    def place(self, robot: Pose2D, objects: Mapping[str, Pose2D]) -> None:
        """Start anew: robot at rest, lift and gripper stowed, objects standing on the floor."""
        mujoco.mj_resetData(self.model, self.data)
        qpos = self.data.qpos
        qpos[:7] = (robot[0], robot[1], 0.0, *_quaternion(robot[2]))
        for item in OBJECTS:
            if item.name in objects:
                self._set_object(item.name, objects[item.name], KINDS[item.kind].height / 2)
        qpos[self._joint['lift']] = scene.STOWED_LIFT
        qpos[self._joint['left_finger']] = qpos[self._right_finger] = scene.STOWED_OPENING / 2
        self.drive(0.0, 0.0)
        self.set_lift(scene.STOWED_LIFT)
        self.set_gripper(scene.STOWED_OPENING)
        self.touched = set()
        mujoco.mj_forward(self.model, self.data)

    def move_robot(self, pose: Pose2D) -> None:
        """Put the robot elsewhere, at rest; lift, gripper and wheels keep their places."""
        self.data.qpos[:7] = (pose[0], pose[1], 0.0, *_quaternion(pose[2]))
        self.data.qvel[:] = 0
        mujoco.mj_forward(self.model, self.data)

    def move_object(self, name: str, pose: Pose2D) -> None:
        """Put one object elsewhere on the floor, at rest."""
        if name not in self._object_address:
            known = ', '.join(self._object_address)
            raise SimulationError(f'object {name!r}: is not in the scene. Choose one of: {known}.')
        kind = next(item.kind for item in OBJECTS if item.name == name)
        self._set_object(name, pose, KINDS[kind].height / 2)
        # Shapes of sleeping bodies are not moved, so nothing may sleep for a moment.
        options = self.model.opt
        self.data.tree_asleep[:] = self._all_awake
        options.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        mujoco.mj_forward(self.model, self.data)
        options.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)

    def drive(self, linear: float, angular: float) -> None:
        """Set the wheel speeds of a body speed (m/s) and yaw rate (rad/s)."""
        spin = angular * WHEEL_SEPARATION / 2
        self.data.ctrl[0] = (linear - spin) / WHEEL_RADIUS
        self.data.ctrl[1] = (linear + spin) / WHEEL_RADIUS

    def set_lift(self, height: float) -> None:
        """Command the lift, metres above its lowest place."""
        self.data.ctrl[2] = height

    def set_gripper(self, opening: float) -> None:
        """Command the gap between the fingers, metres."""
        self.data.ctrl[3:5] = opening / 2

    def advance(self, num_steps: int) -> None:
        """Take physics steps; call `settle` before anything is sensed."""
        model, data = self.model, self.data
        for _ in range(num_steps):
            mujoco.mj_step(model, data)
            if data.ncon > _SUPPORTS:
                self._note_contacts()
            if self.on_step is not None:
                self.on_step()

    def settle(self) -> None:
        """Note contacts and bring all poses up to the newest joint positions."""
        self._note_contacts()
        mujoco.mj_kinematics(self.model, self.data)  # mj_step leaves those one step earlier.
        mujoco.mj_camlight(self.model, self.data)

    def robot_pose(self) -> Pose2D:
        """True pose of the axle's centre."""
        x, y, _, w, i, j, k = self.data.qpos[:7].tolist()
        return x, y, math.atan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))

    def robot_velocity(self) -> tuple[float, float]:
        """True forward speed (m/s) and yaw rate (rad/s)."""
        vx, vy = self.data.qvel[:2].tolist()
        yaw = self.robot_pose()[2]
        return vx * math.cos(yaw) + vy * math.sin(yaw), float(self.data.qvel[5])

    def object_position(self, name: str) -> tuple[float, float, float]:
        """Centre of an object."""
        start = self._object_address[name]
        x, y, z = self.data.qpos[start : start + 3].tolist()
        return x, y, z

    def wheel_angles(self) -> tuple[float, float]:
        """Left and right wheel, radians since the last `place`."""
        qpos, joint = self.data.qpos, self._joint
        return float(qpos[joint['wheel_left_joint']]), float(qpos[joint['wheel_right_joint']])

    def wheel_speeds(self) -> tuple[float, float]:
        """Left and right wheel, rad/s."""
        left, right = self._wheel_velocity
        return float(self.data.qvel[left]), float(self.data.qvel[right])

    def lift_height(self) -> float:
        """Where the lift is, metres above its lowest place."""
        return float(self.data.qpos[self._joint['lift']])

    def gripper_opening(self) -> float:
        """Gap between the fingers, metres."""
        qpos = self.data.qpos
        return float(qpos[self._joint['left_finger']] + qpos[self._right_finger])

    def _set_object(self, name: str, pose: Pose2D, height: float) -> None:
        start, velocity = self._object_address[name], self._object_velocity[name]
        self.data.qpos[start : start + 7] = (pose[0], pose[1], height, *_quaternion(pose[2]))
        self.data.qvel[velocity : velocity + 6] = 0

    def _note_contacts(self) -> None:
        contact = self.data.contact
        geoms = contact.geom  # [contacts, 2]
        robot = self._robot_geoms[geoms]
        touching = (robot[:, 0] != robot[:, 1]) & (geoms != self._floor).all(axis=1)
        if touching.any():
            others = np.where(robot[:, 0], geoms[:, 1], geoms[:, 0])[touching]
            self.touched.update(self.model.geom(int(index)).name for index in others)


def _quaternion(yaw: float) -> tuple[float, float, float, float]:
    return math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)
