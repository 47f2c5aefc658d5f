"""Pictures of objects before the robot, with the truth about each from MuJoCo's segmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import SimulationError
from robot_learning.simulation.camera import Camera
from robot_learning.simulation.geodesic import wall_distance
from robot_learning.simulation.geometry import ARENA_HALF, KINDS, OBJECTS, ROBOT_RADIUS, WALLS
from robot_learning.simulation.layout import Pose2D
from robot_learning.simulation.physics import Physics

import mujoco  # isort: skip  # After the simulation, which chooses its graphics backend.

Array = np.ndarray[Any, Any]
_TIMESTEP_S = 0.005
_ATTEMPTS = 200  # Places tried for one thing, and scenes tried for one picture.
_GEOM = int(mujoco.mjtObj.mjOBJ_GEOM)  # Compared as an enum, each pixel takes a microsecond.


@dataclass(frozen=True, config=STRICT)
class SceneConfig:
    """What stands before the camera, and how large the picture is; the errands robot's."""

    height: PositiveInt = 120  # Pixels.
    width: PositiveInt = 160
    least_objects: Annotated[int, Field(ge=0, le=len(OBJECTS))] = 1
    most_objects: Annotated[int, Field(ge=1, le=len(OBJECTS))] = 5
    nearest_m: Annotated[float, Field(gt=0.3)] = 0.45
    farthest_m: Annotated[float, Field(gt=0.3, le=2 * ARENA_HALF)] = 2.0
    aside_rad: Annotated[float, Field(gt=0, lt=math.pi / 2)] = 0.6  # To both sides.
    gap_m: Annotated[float, Field(ge=0)] = 0.06  # Between footprints.
    min_pixels: PositiveInt = 20  # An object of which less is seen is in no scene.


class VisibleObject(NamedTuple):
    """One object in a picture as the world knows it."""

    kind: str
    color: str
    distance_m: float  # From the robot's axle to its centre.
    bearing_rad: float  # Left positive.
    mask: Array  # [H, W] bool, its visible pixels.
    # Left, upper, right and lower edge of these, in units of the height, from the centre.
    box: tuple[float, float, float, float]

    @property
    def x(self) -> float:
        """The box's middle, right of the picture's centre, in units of its height."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        """The same downwards."""
        return (self.box[1] + self.box[3]) / 2


class Scene(NamedTuple):
    """One picture."""

    image: Array  # [H, W, 3] uint8, rgb.
    objects: tuple[VisibleObject, ...]  # From left to right.


class RenderedScenes:
    """Makes scenes in the embedded world; needs a renderer and one thread.

    Raises:
        EnvironmentSetupError: this machine cannot render; says what to install.
    """

    def __init__(self, config: SceneConfig | None = None):
        self.config = config or SceneConfig()
        if self.config.least_objects > self.config.most_objects:
            raise SimulationError(
                f'scenes: found {self.config.least_objects} objects at least and '
                f'{self.config.most_objects} at most. Swap them.'
            )
        self._physics = Physics(_TIMESTEP_S)
        size = self.config.height, self.config.width
        self._camera = Camera(self._physics, *size)
        self._labels = mujoco.Renderer(self._physics.model, *size)
        self._labels.enable_segmentation_rendering()
        self._geoms = {item: self._physics.model.geom(item.name).id for item in OBJECTS}

    def scenes(self, count: int, seed: int) -> Iterator[Scene]:
        """Make scenes; the same seed gives the same ones, on the same graphics driver."""
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield self.draw(rng)

    def draw(self, rng: np.random.Generator) -> Scene:
        """Make one scene in which every object is seen well or not at all.

        Raises:
            SimulationError: none was found; too many objects for too little room.
        """
        config = self.config
        for _ in range(_ATTEMPTS):
            count = int(rng.integers(config.least_objects, config.most_objects + 1))
            placed = self._placed(rng, count)
            if placed is None:
                continue
            self._physics.place(*placed)
            scene = self.look()
            seen = [int(each.mask.sum()) for each in scene.objects]
            if len(seen) >= config.least_objects and min(seen, default=1) >= config.min_pixels:
                return scene
        raise SimulationError(
            f'scenes: none found in {_ATTEMPTS} attempts with {config.least_objects} to '
            f'{config.most_objects} objects. Ask for fewer, or for a larger distance.'
        )

    def show(self, objects: dict[str, Pose2D], robot: Pose2D = (0.0, 0.0, 0.0)) -> Scene:
        """Return what the robot sees of objects that stand where one says, by name."""
        self._physics.place(robot, objects)
        return self.look()

    def look(self) -> Scene:
        """Return what the robot sees now."""
        image = self._camera.image().copy()
        self._labels.update_scene(self._physics.data, 'camera')
        labels = self._labels.render()  # [H, W, 2]: number and type of what is seen.
        geom = np.where(labels[..., 1] == _GEOM, labels[..., 0], -1)
        robot, found = self._physics.robot_pose(), []
        for item, number in self._geoms.items():
            mask = geom == number
            if mask.any():
                x, y, _ = self._physics.object_position(item.name)
                east, north = x - robot[0], y - robot[1]
                bearing = math.remainder(math.atan2(north, east) - robot[2], math.tau)
                color = item.name.partition('_')[2]
                far = math.hypot(east, north)
                found.append(VisibleObject(item.kind, color, far, bearing, mask, box_of(mask)))
        return Scene(image, tuple(sorted(found, key=lambda each: each.x)))

    def close(self) -> None:
        """Free both OpenGL contexts."""
        self._camera.close()
        self._labels.close()

    def _placed(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Pose2D, dict[str, Pose2D]] | None:
        """Draw a robot and objects before it; None where one finds no place."""
        robot = self._robot(rng)
        objects: dict[str, Pose2D] = {}
        taken: list[tuple[float, float, float]] = []
        for index in rng.permutation(len(OBJECTS))[:count].tolist():
            item = OBJECTS[index]
            radius = KINDS[item.kind].radius
            for _ in range(_ATTEMPTS // 10):
                far = rng.uniform(self.config.nearest_m, self.config.farthest_m)
                angle = robot[2] + rng.uniform(-self.config.aside_rad, self.config.aside_rad)
                x, y = robot[0] + far * math.cos(angle), robot[1] + far * math.sin(angle)
                if self._is_free(x, y, radius, taken):
                    objects[item.name] = (x, y, float(rng.uniform(-math.pi, math.pi)))
                    taken.append((x, y, radius))
                    break
            else:
                return None
        return robot, objects

    def _robot(self, rng: np.random.Generator) -> Pose2D:
        while True:
            x, y = rng.uniform(-ARENA_HALF, ARENA_HALF, 2).tolist()
            if float(wall_distance(np.array(x), np.array(y), WALLS)) > ROBOT_RADIUS:
                return x, y, float(rng.uniform(-math.pi, math.pi))

    def _is_free(
        self, x: float, y: float, radius: float, taken: list[tuple[float, float, float]]
    ) -> bool:
        if max(abs(x), abs(y)) > ARENA_HALF - radius:
            return False
        if float(wall_distance(np.array(x), np.array(y), WALLS)) <= radius:
            return False
        return all(
            math.hypot(x - other_x, y - other_y) > radius + other + self.config.gap_m
            for other_x, other_y, other in taken
        )


def box_of(mask: Array) -> tuple[float, float, float, float]:
    """Return the edges of a mask [H, W], see `VisibleObject.box`."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (
        float(columns[0] - width / 2) / height,
        float(rows[0] - height / 2) / height,
        float(columns[-1] + 1 - width / 2) / height,
        float(rows[-1] + 1 - height / 2) / height,
    )
