"""Which OpenGL backend draws the camera. Import this before mujoco, which reads MUJOCO_GL once."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, MutableMapping
from typing import Literal

Backend = Literal['egl', 'osmesa', 'disable', 'glfw', 'wgl', 'cgl']

_LIBRARIES: tuple[tuple[Backend, str], ...] = (
    ('egl', 'libEGL.so.1'),
    ('osmesa', 'libOSMesa.so.8'),
)
MISSING = (
    'camera: off, neither EGL nor OSMesa is installed. On Debian or Ubuntu: '
    'apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0.'
)


def select_backend(
    environment: MutableMapping[str, str] = os.environ,
    load: Callable[[str], object] = ctypes.CDLL,
) -> str:
    """Set MUJOCO_GL to EGL, else OSMesa, else 'disable'; a value that is set is kept.

    Args:
        environment: where MUJOCO_GL is looked up and set.
        load: opens a shared library, raises OSError when it is absent.
    """
    if environment.get('MUJOCO_GL'):
        return environment['MUJOCO_GL']
    chosen = 'disable'
    for backend, library in _LIBRARIES:
        try:
            load(library)
        except OSError:
            continue
        chosen = backend
        break
    environment['MUJOCO_GL'] = chosen
    if chosen in ('egl', 'osmesa'):
        environment.setdefault('PYOPENGL_PLATFORM', chosen)
    return chosen
