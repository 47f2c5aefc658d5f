import numpy as np
import pytest
from robot_learning.serving import object_shapes
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.object_shapes import KINDS, Look, fit_shapes
from robot_learning.simulation import geometry

CAMERA = CameraGeometry()
SIZE = 128
RAYS = CAMERA.rays(SIZE, SIZE).reshape(-1, 3)


def is_inside(kind, point, yaw):
    """Tell for points [..., 3] about a shape's foot whether they are in it."""
    x, y, z = np.moveaxis(point, -1, 0)
    if kind == 'ball':
        return x**2 + y**2 + (z - 0.065) ** 2 < 0.065**2
    if kind == 'can':
        return (x**2 + y**2 < 0.06**2) & (z > 0) & (z < 0.14)
    u, v = x * np.cos(yaw) + y * np.sin(yaw), y * np.cos(yaw) - x * np.sin(yaw)
    return (abs(u) < 0.06) & (abs(v) < 0.06) & (z > 0) & (z < 0.12)


def outline(kind, place, yaw):
    """Find by walking along every ray which of them meet the shape."""
    foot = np.array([*place, 0.0])
    depth = np.linalg.norm(foot - CAMERA.position)
    steps = np.linspace(depth - 0.25, depth + 0.25, 250)
    points = CAMERA.position + RAYS[:, None] * steps[:, None] - foot
    return is_inside(kind, points, yaw).any(axis=1)


def look(is_object, is_hidden=None):
    hidden = np.zeros(len(RAYS), bool) if is_hidden is None else is_hidden
    return Look(RAYS, is_object & ~hidden, hidden, np.ones(len(RAYS)), CAMERA.pixel(SIZE))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('place', 'yaw'), [((0.8, 0.1), 0.0), ((1.1, -0.3), 0.6)])
def test_outlines_alone_tell_kind_and_place(kind, place, yaw):
    best = fit_shapes(look(outline(kind, place, yaw)), CAMERA.position)[0]
    assert best.kind == kind
    assert (best.x, best.y) == pytest.approx(place, abs=0.01)
    assert best.score > 0.9


@pytest.mark.parametrize('kind', KINDS)
def test_a_hidden_half_does_not_move_the_place(kind):
    hidden = RAYS[:, 1] > 0.1 / 0.8
    fits = fit_shapes(look(outline(kind, (0.8, 0.1), 0.3), hidden), CAMERA.position)
    found = next(fit for fit in fits if fit.kind == kind)
    assert (found.x, found.y) == pytest.approx((0.8, 0.1), abs=0.02)


def test_brightness_tells_apart_what_outlines_cannot():
    # Few pixels from far: the ball's shading fits a ball, though the can has its outline too.
    is_object = outline('ball', (2.0, 0.0), 0.0)
    direction = RAYS / np.linalg.norm(RAYS, axis=1, keepdims=True)
    to_center = np.array([2.0, 0.0, 0.065]) - CAMERA.position
    along = direction @ to_center
    half = np.sqrt(np.maximum(0.065**2 - (to_center @ to_center - along**2), 0))
    normal = (direction * (along - half)[:, None] - to_center) / 0.065
    brightness = 0.5 + normal @ np.array([-0.2, 0.3, 0.4])
    seen = Look(RAYS, is_object, ~is_object & False, brightness, CAMERA.pixel(SIZE))
    fits = {fit.kind: fit.score for fit in fit_shapes(seen, CAMERA.position)}
    flat = {fit.kind: fit.score for fit in fit_shapes(look(is_object), CAMERA.position)}
    assert fits['ball'] == max(fits.values())
    for other in ('cube', 'can'):
        assert fits['ball'] - fits[other] > flat['ball'] - flat[other] + 0.02


def test_what_is_above_the_horizon_stands_on_no_floor():
    assert fit_shapes(look(RAYS[:, 2] > 0.1), CAMERA.position) == []


def test_every_kind_gets_one_fit_best_first():
    fits = fit_shapes(look(outline('can', (1.0, 0.0), 0.0)), CAMERA.position)
    assert sorted(fit.kind for fit in fits) == sorted(KINDS)
    assert [fit.score for fit in fits] == sorted((fit.score for fit in fits), reverse=True)


def test_sizes_are_the_embedded_world_s():
    sizes = geometry.KINDS
    assert sizes['ball'].radius == object_shapes.BALL_RADIUS_M
    assert sizes['cube'].height == 2 * sizes['cube'].half_width == object_shapes.CUBE_SIDE_M
    assert sizes['can'].radius == object_shapes.CAN_RADIUS_M
    assert sizes['can'].height == object_shapes.CAN_HEIGHT_M
