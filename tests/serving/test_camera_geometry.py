import math

import numpy as np
import pytest
from robot_learning import config
from robot_learning.errors import ConfigError
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.simulation.physics import Physics


def test_defaults_are_the_embedded_world_s_camera_on_the_robot_at_rest():
    physics = Physics(0.01)
    physics.place((0.0, 0.0, 0.0), {})
    physics.advance(50)
    camera, seen = CameraGeometry(), physics.data.camera('camera')
    assert camera.position == pytest.approx(seen.xpos, abs=0.002)
    right, up, back = seen.xmat.reshape(3, 3).T
    forward = [math.cos(camera.pitch_rad), 0, -math.sin(camera.pitch_rad)]
    assert right == pytest.approx([0, -1, 0], abs=0.002)
    assert -back == pytest.approx(forward, abs=0.002)
    assert up[2] > 0
    vertical = physics.model.camera('camera').fovy.item()
    assert math.degrees(camera.field_of_view_rad) == pytest.approx(vertical)


def test_a_level_camera_looks_where_its_pixels_say():
    camera = CameraGeometry(pitch_rad=0.0, field_of_view_rad=math.pi / 2)
    rays = camera.rays(2, 4)
    assert rays[:, :, 0] == pytest.approx(np.ones((2, 4)))
    assert rays[0, :, 1] == pytest.approx([1.5, 0.5, -0.5, -1.5])
    assert rays[:, 0, 2] == pytest.approx([0.5, -0.5])


def test_the_optical_axis_of_a_tilted_camera_meets_the_floor_where_its_height_says():
    camera = CameraGeometry(height_m=1.0, forward_m=0.2, pitch_rad=math.pi / 4)
    assert camera.project(1.2, 0.0, 0.0) == pytest.approx((0.0, 0.0))


def test_points_along_a_pixel_s_ray_are_seen_in_that_pixel():
    camera = CameraGeometry()
    rays = camera.rays(48, 64)
    for row, column in ((0, 0), (47, 63), (10, 40)):
        for depth in (0.3, 2.0):
            left, up = camera.project(*(camera.position + depth * rays[row, column]))
            assert 32 - left * 24 == pytest.approx(column + 0.5)
            assert 24 - up * 24 == pytest.approx(row + 0.5)


def test_what_is_behind_the_camera_is_not_seen():
    assert CameraGeometry().project(-1.0, 0.0, 0.1) is None


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('height_m', 0.1),
        ('forward_m', math.nan),
        ('pitch_rad', 1.6),
        ('field_of_view_rad', 3.2),
        ('fov', 1.0),
    ],
)
def test_wrong_settings_are_named(key, value):
    with pytest.raises(ConfigError, match=key):
        config.from_mapping(CameraGeometry, {key: value}, 'camera')
