"""Pictures of the embedded world with the truth about what is in them, from MuJoCo itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from robot_learning import contract
from robot_learning.errors import EnvironmentSetupError
from robot_learning.serving.object_detector import Detection
from robot_learning.simulation.camera import Camera
from robot_learning.simulation.geometry import OBJECTS
from robot_learning.simulation.layout import LayoutConfig
from robot_learning.simulation.physics import Pose2D
from robot_learning.simulation.world import World, WorldConfig

import mujoco  # isort: skip  # After the simulation, which chooses its graphics backend.

Array = np.ndarray[Any, Any]


_SETTLING_STEPS = 20  # Of 10 ms, until the robot leans on its rear caster as it does at rest.


class Truth(NamedTuple):
    """One object in a picture as the world knows it; from the robot's axle to its centre."""

    kind: str
    color: str
    distance_m: float
    bearing_rad: float
    mask: Array  # [H, W] bool, its visible pixels.


class Scenes:
    """Random layouts, looked at by the robot's own camera; needs a renderer."""

    def __init__(self, height: int = 64, width: int = 64, num_objects: int = len(OBJECTS)):
        """Make the world and both renderers.

        Raises:
            EnvironmentSetupError: this machine cannot render.
        """
        layout = LayoutConfig(num_objects=num_objects)
        self.world = World(
            contract.load('arena'), WorldConfig(camera='off', layout=layout), ('scan',)
        )
        self.physics = self.world.physics
        self._camera = Camera(self.physics, height, width)
        self._labels = mujoco.Renderer(self.physics.model, height, width)
        self._labels.enable_segmentation_rendering()
        self.items = OBJECTS
        self._geoms = {item: self.physics.model.geom(item.name).id for item in OBJECTS}

    def place(self, seed: int) -> Pose2D:
        """Lay out the world and return where the robot stands."""
        self.world.begin(seed)
        return self.world.layout.robot

    def arrange(self, objects: dict[str, Pose2D]) -> Array:
        """Put objects about a robot at the origin; return its picture, [H, W, 3]."""
        self.physics.place((0.0, 0.0, 0.0), objects)
        self._settle()
        return self.picture()

    def look(self, pose: Pose2D) -> tuple[Array, list[Truth]]:
        """Return the picture [H, W, 3] that the robot takes at rest there, and what it shows."""
        self.physics.move_robot(pose)
        self._settle()
        return self.observe()

    def observe(self) -> tuple[Array, list[Truth]]:
        """Return the picture [H, W, 3] from where the robot is now, and what it shows."""
        image = self.picture()
        # Segmentation gives geom and type per pixel; only geoms 0 and up are looked up.
        self._labels.update_scene(self.physics.data, 'camera')
        labels = self._labels.render()
        geom = np.where(labels[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, labels[..., 0], -1)
        robot, truths = self.physics.robot_pose(), []
        for item, number in self._geoms.items():
            mask = geom == number
            if mask.any():
                x, y, _ = self.physics.object_position(item.name)
                east, north = x - robot[0], y - robot[1]
                bearing = math.remainder(math.atan2(north, east) - robot[2], math.tau)
                color = item.name.split('_')[1]
                truths.append(Truth(item.kind, color, math.hypot(east, north), bearing, mask))
        return image, truths

    def picture(self) -> Array:
        """Return what the camera sees now, [H, W, 3]."""
        return self._camera.image().copy()

    def _settle(self) -> None:
        self.physics.advance(_SETTLING_STEPS)
        self.physics.settle()

    def close(self) -> None:
        """Free both OpenGL contexts."""
        self._camera.close()
        self._labels.close()


def quarter_turns(pose: Pose2D) -> list[Pose2D]:
    """Four poses at one place that see all round but for gaps."""
    return [(pose[0], pose[1], pose[2] + quarter * math.pi / 2) for quarter in range(4)]


def matched(
    detections: Sequence[Detection], truths: Sequence[Truth]
) -> list[tuple[Truth, Detection | None]]:
    """Pair each true object with the detection whose box holds most of it."""
    return [(truth, _best(detections, truth)) for truth in truths]


def num_extra(detections: Sequence[Detection], truths: Sequence[Truth]) -> int:
    """Count detections in whose box no object of that colour is seen."""
    return sum(
        not any(t.color == d.color and _part_in_box(d, t) > 0 for t in truths) for d in detections
    )


def can_render() -> bool:
    """Tell whether this machine has an OpenGL backend."""
    try:
        Scenes(8, 8).close()
    except EnvironmentSetupError:
        return False
    return True


def _best(detections: Sequence[Detection], truth: Truth) -> Detection | None:
    near = [d for d in detections if _part_in_box(d, truth) > 0.5]
    # A box may hold two objects; the one that is meant has the more similar number of pixels.
    size = int(truth.mask.sum())
    return min(near, key=lambda d: abs(d.num_pixels - size), default=None)


def _part_in_box(detection: Detection, truth: Truth) -> float:
    top, left, bottom, right = detection.box
    return float(truth.mask[top:bottom, left:right].sum() / truth.mask.sum())
