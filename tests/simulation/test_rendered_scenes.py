import math

import numpy as np
import pytest
from robot_learning.errors import EnvironmentSetupError, SimulationError
from robot_learning.simulation.rendered_scenes import RenderedScenes, SceneConfig

SMALL = SceneConfig(height=60, width=80, min_pixels=6)


@pytest.fixture(scope='module')
def renderer():
    try:
        made = RenderedScenes(SMALL)
    except EnvironmentSetupError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_an_object_is_where_it_was_put(renderer):
    scene = renderer.show({'cube_red': (1.0, 0.0, 0.0), 'can_blue': (0.8, 0.3, 0.0)})
    assert [(each.kind, each.color) for each in scene.objects] == [
        ('can', 'blue'),
        ('cube', 'red'),
    ]
    can, cube = scene.objects
    assert cube.distance_m == pytest.approx(1.0, abs=0.01)
    assert can.bearing_rad == pytest.approx(math.atan2(0.3, 0.8), abs=0.01)
    assert can.x < -0.1 < cube.x < 0.1


def test_the_mask_holds_pixels_of_its_colour(renderer):
    scene = renderer.show({'ball_green': (0.7, 0.0, 0.0)})
    (ball,) = scene.objects
    red, green, blue = scene.image[ball.mask].astype(int).T
    assert (green > 1.3 * np.maximum(red, blue)).mean() > 0.9


def test_the_box_is_tight_about_the_mask(renderer):
    scene = renderer.show({'cube_yellow': (0.9, -0.1, 0.4)})
    (cube,) = scene.objects
    left, upper, right, lower = (edge * 60 for edge in cube.box)
    rows, columns = np.nonzero(cube.mask)
    assert (columns.min(), columns.max() + 1) == (left + 40, right + 40)
    assert (rows.min(), rows.max() + 1) == (upper + 30, lower + 30)


def test_what_stands_behind_another_shows_less(renderer):
    alone = renderer.show({'cube_red': (1.4, 0.0, 0.0)}).objects[0].mask.sum()
    both = renderer.show({'cube_red': (1.4, 0.0, 0.0), 'can_blue': (0.9, 0.0, 0.0)})
    masks = {each.kind: each.mask for each in both.objects}
    assert masks['cube'].sum() < alone
    assert not (masks['cube'] & masks['can']).any()


def test_scenes_show_as_many_objects_as_asked_for_and_none_badly(renderer):
    for scene in renderer.scenes(8, seed=1):
        assert 1 <= len(scene.objects) <= 5
        assert all(each.mask.sum() >= SMALL.min_pixels for each in scene.objects)
        assert [each.x for each in scene.objects] == sorted(each.x for each in scene.objects)


def test_the_same_seed_makes_the_same_scenes(renderer):
    one, two = (list(renderer.scenes(2, seed=5)) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].image, one[1].image)


def test_limits_that_cannot_be_are_named():
    with pytest.raises(SimulationError, match=r'found 4 objects at least and 2 at most'):
        RenderedScenes(SceneConfig(least_objects=4, most_objects=2))


def test_a_scene_that_is_not_found_is_an_error(renderer):
    crowded = RenderedScenes(
        SceneConfig(height=8, width=8, least_objects=10, most_objects=10, farthest_m=0.5)
    )
    try:
        with pytest.raises(SimulationError, match=r'none found in 200 attempts'):
            crowded.draw(np.random.default_rng(0))
    finally:
        crowded.close()
