"""The robot's camera: pixels from MuJoCo's renderer, in the thread that first asks for them."""

from __future__ import annotations

import threading
from typing import Any

import mujoco
import numpy as np

from robot_learning.errors import EnvironmentSetupError, SimulationError
from robot_learning.simulation import GRAPHICS_BACKEND, graphics, scene
from robot_learning.simulation.physics import Physics

Array = np.ndarray[Any, Any]


class Camera:
    """Renders what the camera on the mast sees; needs one OpenGL context and one thread."""

    def __init__(self, physics: Physics, height: int, width: int, name: str = 'camera'):
        """Create the OpenGL context.

        Raises:
            EnvironmentSetupError: this machine cannot render; says what to install.
        """
        if GRAPHICS_BACKEND == 'disable':
            raise EnvironmentSetupError(graphics.MISSING)
        self._physics = physics
        self._name = name
        self.size = (height, width)
        self._thread = threading.get_ident()
        try:
            self._renderer = mujoco.Renderer(physics.model, height, width)
        except Exception as error:  # Each backend raises its own classes, even RuntimeError.
            raise EnvironmentSetupError(
                f'camera: off, {GRAPHICS_BACKEND} cannot render here ({error}). '
                f'Set MUJOCO_GL=osmesa, or MUJOCO_GL=disable to silence this.'
            ) from error
        self._options = mujoco.MjvOption()
        self._options.geomgroup[scene.SUPPORT_GROUP] = 0
        self._options.geomgroup[scene.ROBOT_GROUP] = 1
        self._options.sitegroup[:] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0

    def image(self) -> Array:
        """Return the picture [height, width, 3] uint8, rgb.

        Raises:
            SimulationError: called from another thread than the one that made the camera.
        """
        if threading.get_ident() != self._thread:
            raise SimulationError(
                'camera: asked from another thread than the one that made it; OpenGL contexts '
                'belong to one thread. Render where the world was made.'
            )
        self._renderer.update_scene(self._physics.data, self._name, self._options)
        return self._renderer.render()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()
