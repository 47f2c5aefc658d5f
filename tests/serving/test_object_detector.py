import itertools
import math

import numpy as np
import pytest
from object_scenes import Scenes, can_render, matched, num_extra, quarter_turns
from robot_learning import config
from robot_learning.errors import ConfigError, MessageError
from robot_learning.language import skills
from robot_learning.serving import object_detector
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.object_detector import (
    COLORS,
    DetectorConfig,
    ObjectDetector,
    PixelBox,
)
from robot_learning.serving.object_shapes import KINDS

FIRST_SEED = 700_000
MIN_PIXELS, MAX_DISTANCE_M = 30, 2.5
RGB = {
    'red': (217, 26, 26),
    'green': (26, 166, 38),
    'blue': (26, 51, 217),
    'yellow': (242, 204, 26),
    'orange': (240, 130, 20),
    'purple': (140, 30, 180),
}


@pytest.fixture(scope='module')
def scenes():
    if not can_render():
        pytest.skip('no OpenGL backend on this machine')
    scenes = Scenes()
    yield scenes
    scenes.close()


@pytest.fixture(scope='module')
def detector():
    return ObjectDetector(CameraGeometry())


@pytest.fixture(scope='module')
def looks(scenes):
    """160 pictures at the resolution of the robot's contract."""
    return [
        scenes.look(pose)
        for seed in range(FIRST_SEED, FIRST_SEED + 40)
        for pose in quarter_turns(scenes.place(seed))
    ]


@pytest.fixture(scope='module')
def pairs(looks, detector):
    """True objects that show enough, each with its detection."""
    found = [pair for image, truths in looks for pair in matched(detector.detect(image), truths)]
    return [
        (truth, detection)
        for truth, detection in found
        if truth.mask.sum() >= MIN_PIXELS and truth.distance_m <= MAX_DISTANCE_M
    ]


def picture(*patches):
    """Return a grey picture with boxes (rows, columns, rgb) in it."""
    image = np.full((64, 64, 3), 128, np.uint8)
    for rows, columns, rgb in patches:
        image[slice(*rows), slice(*columns)] = rgb
    return image


def test_colours_are_right(pairs):
    assert len(pairs) > 50
    assert np.mean([d is not None and d.color == truth.color for truth, d in pairs]) >= 0.95


def test_kinds_are_right(pairs):
    assert np.mean([d is not None and d.kind == truth.kind for truth, d in pairs]) >= 0.85
    for kind in KINDS:
        of_kind = [d is not None and d.kind == kind for truth, d in pairs if truth.kind == kind]
        assert np.mean(of_kind) >= 0.8, kind


def test_objects_are_where_they_are_said_to_be(pairs):
    seen = [(truth, d) for truth, d in pairs if d is not None]
    distance = [abs(d.distance_m - truth.distance_m) / truth.distance_m for truth, d in seen]
    bearing = [abs(d.bearing_rad - truth.bearing_rad) for truth, d in seen]
    assert np.median(distance) <= 0.15
    assert np.median(bearing) <= math.radians(3)
    assert np.quantile(distance, 0.9) <= 0.15
    assert np.quantile(bearing, 0.9) <= math.radians(3)


def test_nothing_is_seen_that_is_not_there(looks, detector):
    assert sum(num_extra(detector.detect(image), truths) for image, truths in looks) == 0


def test_confident_kinds_are_right_more_often(pairs):
    sure = [d.kind == truth.kind for truth, d in pairs if d and d.confidence > 0.95]
    assert len(sure) > 40
    assert np.mean(sure) >= 0.95


def test_an_empty_world_gives_no_detections(detector):
    if not can_render():
        pytest.skip('no OpenGL backend on this machine')
    empty = Scenes(num_objects=0)
    for seed in range(10):
        for pose in quarter_turns(empty.place(seed)):
            assert detector.detect(empty.look(pose)[0]) == []
    empty.close()


@pytest.mark.parametrize('light', [0.4, 0.7, 1.5])
def test_the_strength_of_the_light_changes_little(looks, detector, light):
    shown = [
        (truth, d)
        for image, truths in looks[:80]
        for truth, d in matched(
            detector.detect(np.clip(image * light, 0, 255).astype(np.uint8)), truths
        )
        if truth.mask.sum() >= MIN_PIXELS and truth.distance_m <= MAX_DISTANCE_M
    ]
    assert np.mean([d is not None and d.color == truth.color for truth, d in shown]) >= 0.95
    assert np.mean([d is not None and d.kind == truth.kind for truth, d in shown]) >= 0.85


def test_noise_of_the_sensor_changes_little(looks, detector):
    rng = np.random.default_rng(0)
    shown, extra = [], 0
    for image, truths in looks[:80]:
        noisy = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        detections = detector.detect(noisy)
        shown += [p for p in matched(detections, truths) if p[0].mask.sum() >= MIN_PIXELS]
        extra += num_extra(detections, truths)
    assert np.mean([d is not None and d.kind == truth.kind for truth, d in shown]) >= 0.85
    assert extra == 0


def test_an_object_cut_by_the_picture_s_edge_is_placed_where_its_middle_is(scenes, detector):
    image = scenes.arrange({'can_blue': (0.7, 0.42, 0.0)})
    (found,) = detector.detect(image)
    assert found.box.left == 0
    assert found.kind == 'can'
    assert found.bearing_rad == pytest.approx(math.atan2(0.42, 0.7), abs=math.radians(2))
    assert found.distance_m == pytest.approx(math.hypot(0.42, 0.7), rel=0.05)


def test_an_object_half_behind_another_is_placed_where_it_stands(scenes, detector):
    places = {'ball_red': (1.0, 0.0, 0.0), 'cube_blue': (0.7, -0.05, 0.0)}
    image = scenes.arrange(places)
    near, far = detector.detect(image)
    assert (near.color, near.kind) == ('blue', 'cube')
    assert (far.color, far.kind) == ('red', 'ball')
    assert far.distance_m == pytest.approx(1.0, rel=0.1)
    assert far.bearing_rad == pytest.approx(0.0, abs=math.radians(3))


def test_near_objects_come_first(scenes, detector):
    places = {'ball_red': (1.1, 0.2, 0.0), 'can_yellow': (0.6, -0.1, 0.0)}
    image = scenes.arrange(places)
    assert [found.color for found in detector.detect(image)] == ['yellow', 'red']


def test_a_finer_picture_tells_the_same(detector):
    if not can_render():
        pytest.skip('no OpenGL backend on this machine')
    fine = Scenes(120, 160)
    image = fine.arrange({'cube_green': (2.2, 0.3, 0.4)})
    (found,) = detector.detect(image)
    fine.close()
    assert (found.kind, found.color) == ('cube', 'green')
    assert found.distance_m == pytest.approx(math.hypot(2.2, 0.3), rel=0.05)


@pytest.mark.parametrize('color', COLORS)
@pytest.mark.parametrize('light', [0.3, 0.6, 1.0])
def test_each_colour_has_its_name_in_any_light(detector, color, light):
    rgb = [round(value * light) for value in RGB[color]]
    (found,) = detector.detect(picture(((40, 50), (20, 30), rgb)))
    assert found.color == color
    assert found.box == PixelBox(top=40, left=20, bottom=50, right=30)
    assert found.num_pixels == 100


def test_words_are_those_of_the_robot_s_commands():
    assert set(skills.COLORS) == set(COLORS)
    assert set(skills.OBJECTS) == set(KINDS)


def test_a_patch_that_looks_like_no_known_shape_gets_no_kind(detector):
    (found,) = detector.detect(picture(((34, 37), (0, 64), RGB['red'])))
    assert found.kind == ''
    assert found.color == 'red'


@pytest.mark.parametrize(
    'patch',
    [
        ((2, 9), (20, 30), RGB['red']),  # Above the horizon.
        ((40, 42), (20, 23), RGB['red']),  # Six pixels.
        ((40, 50), (20, 30), (20, 2, 2)),  # Dark.
        ((40, 50), (20, 30), (204, 191, 166)),  # As grey as the walls.
        ((40, 50), (20, 30), (0, 200, 180)),  # Between green and blue.
    ],
)
def test_what_is_no_object_on_the_floor_is_left_out(detector, patch):
    assert detector.detect(picture(patch)) == []


def test_only_the_largest_patches_are_looked_at():
    detector = ObjectDetector(CameraGeometry(), DetectorConfig(max_objects=2))
    sizes = ((30, 38), (40, 44), (46, 52))
    image = picture(*(((top, end), (20, 30), RGB['blue']) for top, end in sizes))
    assert sorted(d.num_pixels for d in detector.detect(image)) == [60, 80]


def test_pictures_of_changing_size_are_each_seen_right(detector):
    small = picture(((40, 50), (20, 30), RGB['green']))
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    (first,), (second,) = detector.detect(small), detector.detect(large)
    assert second.bearing_rad == pytest.approx(first.bearing_rad, abs=0.01)
    assert second.distance_m == pytest.approx(first.distance_m, rel=0.02)


@pytest.mark.parametrize(
    ('image', 'found'),
    [
        (np.zeros((64, 64), np.uint8), r'uint8 \[64, 64\]'),
        (np.zeros((64, 64, 4), np.uint8), r'uint8 \[64, 64, 4\]'),
        (np.zeros((64, 64, 3), np.float32), r'float32 \[64, 64, 3\]'),
        (np.zeros((0, 64, 3), np.uint8), r'uint8 \[0, 64, 3\]'),
    ],
)
def test_another_kind_of_picture_is_refused(detector, image, found):
    with pytest.raises(MessageError, match=f'image: found {found}, expected uint8'):
        detector.detect(image)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('min_saturation', 1.0),
        ('min_brightness', 0),
        ('min_pixels', 0),
        ('max_objects', 0),
        ('max_samples', 10),
        ('min_confidence', 1.5),
    ],
)
def test_wrong_settings_are_named(key, value):
    with pytest.raises(ConfigError, match=key):
        config.from_mapping(DetectorConfig, {key: value}, 'detector')


def test_every_hue_has_at_most_one_name():
    spans = sorted(object_detector.HUES.values())
    assert all(end <= low for (_, end), (low, _) in itertools.pairwise(spans))
