"""What the camera above the bench sees: colour, grain, glass, and how far a hand squeezes."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from robot_learning.errors import EnvironmentSetupError
from robot_learning.sense_formats import FRAME_SIZE
from robot_learning.simulation import GRAPHICS_BACKEND, graphics
from robot_learning.simulation.bench_objects import BenchObject
from robot_learning.simulation.bench_scene import SEEN_GROUP, TEXTURE_SIZE

Array = np.ndarray[Any, Any]

_GRAIN_CONTRAST = 0.55
_PIXEL_NOISE = 1.5  # Standard deviation, of 255.
_BULGE = 0.3  # How much of a squeeze comes out at the sides.
_CONTENT = 0.35  # Radius of the loose piece, as a part of the object's half size.


class BenchPicture:
    """Draws one scene; needs one OpenGL context and one thread.

    Raises:
        EnvironmentSetupError: this machine cannot draw; says what to install.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
        if GRAPHICS_BACKEND == 'disable':
            raise EnvironmentSetupError(graphics.MISSING)
        try:
            self._renderer = mujoco.Renderer(model, FRAME_SIZE, FRAME_SIZE)
        except Exception as error:  # Each backend raises its own classes, even RuntimeError.
            raise EnvironmentSetupError(
                f'bench: {GRAPHICS_BACKEND} cannot draw here ({error}). Set MUJOCO_GL=osmesa, or '
                f'do without pictures.'
            ) from error
        self._model, self._data = model, data
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[[0, SEEN_GROUP]] = 1

    def paint(self, item: BenchObject, lamp: Array) -> None:
        """Give the object its looks, and the lamp its colour [3]."""
        model = self._model
        texture = model.texture('grain')
        count = 6 * TEXTURE_SIZE**2
        rng = np.random.default_rng([item.seed, 503])
        grain = 1 + _GRAIN_CONTRAST * item.value('roughness') * rng.uniform(-1, 1, (count, 1))
        colours = np.clip(255 * grain * np.asarray(item.rgb), 0, 255).astype(np.uint8)
        start = int(np.asarray(texture.adr).item())
        model.tex_data[start : start + 3 * count] = colours.ravel()
        material = model.material('object')
        material.rgba[:] = [1, 1, 1, item.alpha]
        material.specular[:] = 0.8 * (1 - item.value('roughness'))
        is_filled = item.content_kg > 0
        model.geom('content').size[0] = _CONTENT * item.size_m / 2 if is_filled else 1e-4
        model.light_diffuse[0] = lamp
        # Uploads go to the context of this thread, which may be that of another scene.
        self._renderer._gl_context.make_current()
        mujoco.mjr_uploadTexture(model, self._renderer._mjr_context, texture.id)

    def draw(self, squeeze_m: float, axis: int, noise: np.random.Generator) -> Array:
        """Return the picture, [64, 64, 3] uint8.

        Args:
            squeeze_m: by how much the object is narrower than it was.
            axis: of the object, along which it is squeezed.
            noise: of the pixels.
        """
        size = self._model.geom('seen').size
        before = size.copy()
        part = min(squeeze_m / 2, 0.7 * before[0])
        sides = 2 if before[2] == 0 else 3  # A cylinder has a radius and a half height.
        size[:sides] += _BULGE * part
        size[min(axis, sides - 1) if sides == 3 else int(axis == 2)] = before[0] - part
        self._renderer.update_scene(self._data, 'camera', self._options)
        clean = self._renderer.render()
        size[:] = before
        image = clean + _PIXEL_NOISE * noise.standard_normal(clean.shape, np.float32)
        return np.array(np.clip(np.round(image), 0, 255), np.uint8)

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()
