import math

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.planner import Zone
from robot_learning.language.senses import Seen
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.grounded_objects import GroundedObjects, Place, named_thing
from robot_learning.serving.sense_fusion import SenseFusion

CAMERA = CameraGeometry()


def seen_at(x, y, phrase='the red cube', confidence=0.9):
    """The place of a box whose lower edge touches the floor 6 cm before (x, y), robot at 0."""
    reach = math.hypot(x - CAMERA.forward_m, y)
    share = (reach - 0.06) / reach
    point = CAMERA.forward_m + (x - CAMERA.forward_m) * share, y * share
    left, up = CAMERA.project(*point, 0.0)  # In units of half the height.
    return Place(phrase, confidence, -left / 2, -up / 2)


def test_a_place_in_the_picture_becomes_one_on_the_floor():
    objects = GroundedObjects(CAMERA)
    objects.note([seen_at(1.2, -0.3)], (0.0, 0.0, 0.0), 5.0)
    (found,) = objects.added_to((), 6.0)
    assert (found.kind, found.color, found.age_s) == ('cube', 'red', 1.0)
    assert (found.x, found.y) == pytest.approx((1.2, -0.3), abs=1e-3)
    assert found.confidence == 0.9


def test_it_stands_still_while_the_robot_turns():
    objects = GroundedObjects(CAMERA)
    objects.note([seen_at(1.0, 0.0)], (2.0, 1.0, math.pi / 2), 0.0)
    (found,) = objects.added_to((), 0.0)
    assert (found.x, found.y) == pytest.approx((2.0, 2.0), abs=1e-3)


def test_what_the_detector_knows_stays_as_it_is():
    objects = GroundedObjects(CAMERA)
    objects.note([seen_at(1.0, 0.0)], (0.0, 0.0, 0.0), 0.0)
    known = Seen('cube', 'red', 1.05, 0.0)
    assert objects.added_to((known,), 0.0) == (known,)


def test_one_whose_kind_nobody_was_sure_of_gets_its_kind():
    objects = GroundedObjects(CAMERA)
    objects.note([seen_at(1.0, 0.0)], (0.0, 0.0, 0.0), 0.0)
    (found,) = objects.added_to((Seen('', 'red', 1.05, 0.0, 0.0, 0.2),), 0.0)
    assert found.kind == 'cube' and found.confidence == 0.9 and found.x == 1.05


@pytest.mark.parametrize(
    'place',
    [
        seen_at(1.0, 0.0, confidence=0.3),
        seen_at(1.0, 0.0, confidence=math.nan),
        seen_at(1.0, 0.0, phrase='the red cube left of the can'),
        seen_at(1.0, 0.0, phrase='red'),
        Place('the red cube', 0.9, 0.0, -0.5),
    ],
    ids=['unsure', 'nan', 'a relation', 'no kind', 'above the horizon'],
)
def test_what_cannot_be_believed_is_passed_over(place):
    objects = GroundedObjects(CAMERA)
    objects.note([place], (0.0, 0.0, 0.0), 0.0)
    assert objects.added_to((), 0.0) == ()


def test_it_is_forgotten_after_a_minute_and_on_request():
    objects = GroundedObjects(CAMERA)
    objects.note([seen_at(1.0, 0.0)], (0.0, 0.0, 0.0), 0.0)
    assert objects.added_to((), 61.0) == ()
    assert objects.added_to((), 1.0) != ()
    objects.clear()
    assert objects.added_to((), 1.0) == ()


def test_a_thing_is_named_by_colour_and_kind():
    assert named_thing('The red cube') == ('cube', 'red')
    assert named_thing('a blue can') == ('can', 'blue')
    assert named_thing('the cube') is None and named_thing('') is None


@pytest.fixture
def fusion():
    contract = contracts.load('errands')
    obstacles = ObstacleMap(Zone('the map', -2.5, -2.5, 2.5, 2.5), 0.2, ())
    return SenseFusion(contract, CAMERA, obstacles, 0.2)


def sensed(fusion, now_s):
    return fusion.sense({fusion.odometry: np.zeros(3, np.float32)}, now_s).objects


def test_the_commander_knows_what_was_found_by_words(fusion):
    assert sensed(fusion, 1.0) == ()
    fusion.hear([seen_at(1.0, 0.0)], 1.0)
    (found,) = sensed(fusion, 1.1)
    assert (found.kind, found.color) == ('cube', 'red')
    fusion.begin_anew()
    assert sensed(fusion, 1.2) == ()


def test_what_is_carried_is_no_thing_on_the_floor(fusion):
    sensed(fusion, 1.0)
    fusion.held_color = 'red'
    fusion.hear([seen_at(1.0, 0.0), seen_at(1.2, 0.4, 'the blue can')], 1.0)
    assert [(each.kind, each.color) for each in sensed(fusion, 1.1)] == [('can', 'blue')]


def test_before_the_first_odometry_nothing_is_believed(fusion):
    fusion.hear([seen_at(1.0, 0.0)], 1.0)
    assert sensed(fusion, 1.1) == ()
