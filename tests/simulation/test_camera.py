import threading

import numpy as np
import pytest
from robot_learning.errors import EnvironmentSetupError, SimulationError
from robot_learning.simulation import graphics
from robot_learning.simulation.camera import Camera
from robot_learning.simulation.layout import LayoutConfig
from robot_learning.simulation.world import World, WorldConfig
from robots import arena


@pytest.fixture(scope='module')
def world():
    world = (
        World(arena(), WorldConfig(layout=LayoutConfig(num_objects=1)), ('camera',))
        if (_can_render())
        else None
    )
    if world is None:
        pytest.skip('no OpenGL backend on this machine')
    yield world
    world.close()


def _can_render():
    world = World(arena(), WorldConfig(), ('pose',))
    can = world.camera is not None
    world.close()
    return can


def reddish(image):
    red, green, blue = (image[..., i].astype(int) for i in range(3))
    return (red > 100) & (green < 60) & (blue < 60)


def test_object_ahead_is_seen_where_it_stands(world):
    world.physics.place((0.0, 0.0, 0.0), {'ball_red': (0.7, 0.0, 0.0)})
    ahead = reddish(world.camera.image())
    assert ahead.sum() > 20
    assert abs(np.nonzero(ahead)[1].mean() - 31.5) < 2
    world.physics.place((0.0, 0.0, 0.0), {'ball_red': (0.7, 0.2, 0.0)})
    left = reddish(world.camera.image())
    assert np.nonzero(left)[1].mean() < 25
    world.physics.place((0.0, 0.0, 0.0), {'ball_red': (-0.7, 0.0, 0.0)})
    assert reddish(world.camera.image()).sum() == 0


def test_the_cameras_model_projects_the_ball_to_where_it_is_seen(world):
    world.physics.place((0.0, 0.0, 0.0), {'ball_red': (0.8, 0.15, 0.0)})
    data = world.physics.data
    rotation = data.cam_xmat[world.physics.model.camera('camera').id].reshape(3, 3)
    x, y, z = rotation.T @ (
        data.body('ball_red').xpos - data.cam_xpos[world.physics.model.camera('camera').id]
    )
    focal = 32 / np.tan(np.radians(62.0) / 2)
    rows, columns = np.nonzero(reddish(world.camera.image()))
    assert columns.mean() == pytest.approx(31.5 + focal * x / -z, abs=1.5)
    assert rows.mean() == pytest.approx(31.5 - focal * y / -z, abs=1.5)


def test_camera_field_is_in_the_observation(world):
    image = world.reset(0)['camera']
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image.std() > 10


def test_another_thread_is_refused(world):
    caught = []

    def render():
        try:
            world.camera.image()
        except SimulationError as error:
            caught.append(str(error))

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert 'belong to one thread' in caught[0]


def test_switched_off_camera_is_left_out_and_asking_for_it_is_an_error():
    world = World(arena(), WorldConfig(camera='off'))
    assert 'camera' not in world.reset(0)
    assert world.camera_status == 'camera: off by configuration.'
    with pytest.raises(SimulationError, match=r'the world cannot give camera.*off by conf'):
        World(arena(), WorldConfig(camera='off'), ('camera',))


def test_machine_without_graphics_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr('robot_learning.simulation.camera.GRAPHICS_BACKEND', 'disable')
    with pytest.raises(EnvironmentSetupError, match=r'apt-get install libegl1'):
        Camera(World(arena(), WorldConfig(camera='off')).physics, 64, 64)
    world = World(arena(), WorldConfig())
    assert world.camera is None
    assert 'neither EGL nor OSMesa' in world.camera_status


@pytest.mark.parametrize(
    ('present', 'chosen'),
    [
        ({'libEGL.so.1', 'libOSMesa.so.8'}, 'egl'),
        ({'libOSMesa.so.8'}, 'osmesa'),
        (set(), 'disable'),
    ],
)
def test_backend_is_the_first_that_is_installed(present, chosen):
    def load(name):
        if name not in present:
            raise OSError(name)

    environment = {}
    assert graphics.select_backend(environment, load) == chosen
    assert environment['MUJOCO_GL'] == chosen


def test_backend_set_by_the_user_is_kept():
    environment = {'MUJOCO_GL': 'glfw'}
    assert graphics.select_backend(environment, load=lambda name: None) == 'glfw'
    assert environment == {'MUJOCO_GL': 'glfw'}
