import itertools
import math

import pytest
from object_scenes import Scenes, can_render
from robot_learning import config
from robot_learning.errors import CommandError, ConfigError, MessageError
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.object_detector import Detection, ObjectDetector, PixelBox
from robot_learning.serving.object_memory import MemoryConfig, ObjectMemory

ORIGIN = (0.0, 0.0, 0.0)


@pytest.fixture
def memory():
    return ObjectMemory(CameraGeometry())


@pytest.fixture(scope='module')
def scenes():
    if not can_render():
        pytest.skip('no OpenGL backend on this machine')
    scenes = Scenes()
    yield scenes
    scenes.close()


def seen_at(x, y, kind='ball', color='red', confidence=0.99, pose=ORIGIN, num_pixels=40):
    """Return the detection of an object at x, y of the odometry frame from a pose."""
    east, north = x - pose[0], y - pose[1]
    bearing = math.remainder(math.atan2(north, east) - pose[2], math.tau)
    box = PixelBox(0, 0, 8, 8)
    return Detection(kind, color, bearing, math.hypot(east, north), box, num_pixels, confidence)


def test_a_seen_object_is_found_by_kind_by_colour_and_by_neither(memory):
    memory.note([seen_at(1.0, 0.2)], ORIGIN, 5.0)
    for wanted in ({'kind': 'ball'}, {'color': 'red'}, {'kind': 'ball', 'color': 'red'}, {}):
        found = memory.find(**wanted)
        assert (found.kind, found.color, found.num_views) == ('ball', 'red', 1)
        assert (found.x, found.y) == pytest.approx((1.0, 0.2))
    assert memory.find('can', 'red') is None
    assert memory.find('ball', 'blue') is None


def test_positions_are_in_the_odometry_frame(memory):
    pose = (2.0, -1.0, 2.5)
    memory.note([seen_at(1.4, 0.1, pose=pose)], pose, 0.0)
    found = memory.find()
    assert (found.x, found.y) == pytest.approx((1.4, 0.1))
    assert found.distance_m == pytest.approx(math.hypot(0.6, 1.1))


def test_the_nearest_of_several_is_found_and_nearest_is_meant_from_now(memory):
    memory.note([seen_at(0.8, 0.0), seen_at(2.0, 0.0)], ORIGIN, 0.0)
    assert memory.find('ball').x == pytest.approx(0.8)
    memory.note([], (2.5, 0.0, 0.0), 1.0)
    assert memory.find('ball').x == pytest.approx(2.0)


def test_age_is_the_time_since_it_was_last_seen(memory):
    memory.note([seen_at(1.0, 0.0)], ORIGIN, 10.0)
    memory.note([], (0.0, 0.0, math.pi), 13.5)
    assert memory.find().age_s == pytest.approx(3.5)


def test_seen_again_within_a_short_way_it_is_the_same_object(memory):
    for i, offset in enumerate((0.0, 0.1, -0.15, 0.2)):
        memory.note([seen_at(1.0 + offset, offset / 2)], ORIGIN, float(i))
    assert [o.num_views for o in memory.seen()] == [4]


def test_objects_of_another_colour_or_farther_apart_are_others(memory):
    views = [seen_at(1.0, 0.0), seen_at(1.0, 0.1, color='blue'), seen_at(1.0, 0.6)]
    memory.note(views, ORIGIN, 0.0)
    assert len(memory.seen()) == 3


def test_two_kinds_side_by_side_in_one_picture_are_two_objects(memory):
    ball, can = seen_at(1.0, 0.0), seen_at(1.0, 0.2, kind='can')
    for i in range(5):
        memory.note([ball, can], ORIGIN, float(i))
        memory.note([can], ORIGIN, i + 0.5)
    assert sorted((o.kind, o.num_views) for o in memory.seen()) == [('ball', 5), ('can', 10)]


def test_one_object_misread_once_stays_one(memory):
    for i, kind in enumerate(('can', 'cube', 'can')):
        memory.note([seen_at(1.0, 0.0, kind=kind)], ORIGIN, float(i))
    assert [(o.kind, o.num_views) for o in memory.seen()] == [('can', 3)]


def test_an_unsure_kind_joins_what_is_there_and_does_not_outvote_it(memory):
    memory.note([seen_at(1.0, 0.0)], ORIGIN, 0.0)
    memory.note([seen_at(1.0, 0.0, kind='can', confidence=0.6, num_pixels=10)], ORIGIN, 1.0)
    memory.note([seen_at(1.0, 0.0, kind='', confidence=0.4)], ORIGIN, 2.0)
    (found,) = memory.seen()
    assert (found.kind, found.num_views) == ('ball', 3)
    assert found.confidence == pytest.approx(0.99 * 40 / 50)


def test_views_that_disagree_leave_the_kind_open(memory):
    for i, kind in enumerate(('can', 'cube', 'can', 'cube')):
        memory.note([seen_at(1.0, 0.0, kind=kind, confidence=0.9)], ORIGIN, float(i))
    assert memory.find('can') is None
    assert memory.find('cube') is None
    assert memory.find('', 'red').confidence == pytest.approx(0.45)


def test_one_near_view_outvotes_many_far_ones(memory):
    for i in range(5):
        far = seen_at(1.0, 0.0, kind='can', confidence=0.7, num_pixels=10)
        memory.note([far], ORIGIN, float(i))
    near = (0.5, 0.0, 0.0)
    memory.note([seen_at(1.0, 0.0, kind='ball', num_pixels=200, pose=near)], near, 9.0)
    (found,) = memory.seen()
    assert found.kind == 'ball'
    assert found.confidence == pytest.approx(0.99 * 200 / 250)


def test_a_far_blob_gets_its_kind_when_it_is_seen_from_near(memory):
    memory.note([seen_at(2.2, 0.0, kind='', confidence=0.4)], ORIGIN, 0.0)
    assert memory.find().kind == ''
    assert memory.find('cube') is None
    near = (1.2, 0.0, 0.0)
    memory.note([seen_at(2.2, 0.0, kind='cube', pose=near)], near, 4.0)
    assert memory.find('cube').num_views == 2


def test_near_views_count_more_for_the_place_than_far_ones(memory):
    memory.note([seen_at(2.2, 0.0)], ORIGIN, 0.0)
    near = (1.5, 0.0, 0.0)
    memory.note([seen_at(2.0, 0.0, pose=near)], near, 4.0)
    assert memory.find().x == pytest.approx(2.0, abs=0.01)


def test_a_slowly_pushed_object_is_followed(memory):
    for i in range(30):
        memory.note([seen_at(0.8 + 0.03 * i, 0.0)], (0.03 * i, 0.0, 0.0), float(i))
    (found,) = memory.seen()
    assert found.num_views == 30


def test_an_empty_place_is_forgotten_after_some_looks(memory):
    memory.note([seen_at(1.0, 0.0)], ORIGIN, 0.0)
    memory.note([], ORIGIN, 1.0)
    memory.note([], ORIGIN, 2.0)
    assert memory.find() is not None
    memory.note([], ORIGIN, 3.0)
    assert memory.find() is None


def test_seen_again_in_between_the_looks_count_anew(memory):
    for i in range(9):
        memory.note([seen_at(1.0, 0.0)] if i % 3 == 0 else [], ORIGIN, float(i))
    assert memory.find() is not None


def test_a_moved_object_is_remembered_only_where_it_is_now(memory):
    memory.note([seen_at(1.0, 0.3)], ORIGIN, 0.0)
    for i in range(1, 4):
        memory.note([seen_at(1.0, -0.3)], ORIGIN, float(i))
    (found,) = memory.seen()
    assert found.y == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ('x', 'y', 'yaw'),
    [
        (1.0, 0.0, math.pi),  # Behind the robot.
        (1.0, 0.0, 0.7),  # Beside the picture.
        (0.25, 0.0, 0.0),  # Under the camera.
        (2.2, 0.0, 0.0),  # So far that it may be overlooked.
    ],
)
def test_what_the_picture_cannot_show_is_not_forgotten(memory, x, y, yaw):
    memory.note([seen_at(x, y)], ORIGIN, 0.0)
    for i in range(1, 20):
        memory.note([], (0.0, 0.0, yaw), float(i))
    assert memory.find() is not None


def test_what_stands_behind_a_wall_is_not_forgotten(memory):
    memory.note([seen_at(1.0, 0.0)], ORIGIN, 0.0)
    for i in range(1, 20):
        memory.note([], ORIGIN, float(i), sight_m=lambda bearing: 0.6)
    assert memory.find() is not None
    for i in range(20, 23):
        memory.note([], ORIGIN, float(i), sight_m=lambda bearing: 3.0)
    assert memory.find() is None


def test_sight_is_asked_along_the_object_s_bearing(memory):
    memory.note([seen_at(1.0, 0.3)], ORIGIN, 0.0)
    for i in range(1, 4):
        memory.note([], ORIGIN, float(i), sight_m=lambda bearing: 0.5 if bearing < 0 else 3.0)
    assert memory.find() is None


def test_what_stands_behind_another_object_is_not_forgotten(memory):
    memory.note([seen_at(1.3, 0.0)], ORIGIN, 0.0)
    for i in range(1, 20):
        memory.note([seen_at(0.7, 0.02, color='blue')], ORIGIN, float(i))
    assert memory.find(color='red') is not None
    for i in range(20, 23):
        memory.note([seen_at(0.7, 0.3, color='blue')], ORIGIN, float(i))
    assert memory.find(color='red') is None


def test_clear_forgets_all_and_lets_the_clock_start_anew(memory):
    memory.note([seen_at(1.0, 0.0)], ORIGIN, 100.0)
    memory.clear()
    assert memory.seen() == []
    memory.note([], ORIGIN, 0.0)


def test_late_pictures_are_refused(memory):
    memory.note([], ORIGIN, 2.0)
    with pytest.raises(MessageError, match=r'picture of 1 s after one of 2 s.*clear\(\)'):
        memory.note([], ORIGIN, 1.0)


@pytest.mark.parametrize(
    ('pose', 'time_s'),
    [
        ((math.nan, 0.0, 0.0), 0.0),
        ((0.0, 0.0, math.inf), 0.0),
        ((0.0, 0.0), 0.0),
        (ORIGIN, math.nan),
    ],
)
def test_a_pose_that_is_none_is_refused_and_nothing_is_noted(memory, pose, time_s):
    with pytest.raises(MessageError, match=r'memory: found pose .* expected finite x, y'):
        memory.note([seen_at(1.0, 0.0)], pose, time_s)
    assert memory.seen() == []


@pytest.mark.parametrize('wanted', [{'kind': 'bottle'}, {'color': 'pink'}])
def test_words_for_no_object_are_refused(memory, wanted):
    word = next(iter(wanted.values()))
    with pytest.raises(CommandError, match=f'found {word!r}, expected one of'):
        memory.find(**wanted)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('same_place_m', 0.0),
        ('same_place_part', -0.1),
        ('sure_m', 0.0),
        ('inner_part', 1.1),
        ('aspect', 0.0),
        ('max_misses', 0),
        ('min_confidence', 2.0),
    ],
)
def test_wrong_settings_are_named(key, value):
    with pytest.raises(ConfigError, match=key):
        config.from_mapping(MemoryConfig, {key: value}, 'memory')


@pytest.mark.parametrize('seed', range(800_000, 800_006))
def test_a_turn_on_the_spot_finds_every_near_object_once(memory, scenes, seed):
    detector = ObjectDetector(CameraGeometry())
    x, y, yaw = scenes.place(seed)
    shown = {}
    for i in range(24):
        pose = (x, y, yaw + i * math.pi / 12)
        image, truths = scenes.look(pose)
        memory.note(detector.detect(image), pose, float(i))
        for truth in truths:
            if truth.mask.sum() >= 30:
                shown[truth.kind, truth.color] = truth
    assert shown
    for (kind, color), truth in shown.items():
        assert memory.find(kind, color).distance_m == pytest.approx(truth.distance_m, rel=0.1)
    for one, other in itertools.combinations(memory.seen(), 2):
        if one.color == other.color:  # Objects stand 0.6 m apart and more.
            assert math.hypot(one.x - other.x, one.y - other.y) > 0.45
