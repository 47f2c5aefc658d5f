"""The dual encoder that ships, on scenes that it has not seen."""

import numpy as np
import pytest
from robot_learning.commands import vision_language_data as source
from robot_learning.commands.evaluate_vision_language import world_scores
from robot_learning.errors import EnvironmentSetupError
from robot_learning.serving.grounding import PRETRAINED, load
from robot_learning.simulation.rendered_scenes import RenderedScenes


@pytest.fixture(scope='module')
def model():
    return load()[0]


@pytest.fixture(scope='module')
def renderer():
    try:
        made = RenderedScenes()
    except EnvironmentSetupError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def on(found, thing):
    return thing.mask[int(found.y), int(found.x)]


def test_it_is_small():
    (weights,) = (PRETRAINED / 'grounding').glob('*/weights.safetensors')
    assert weights.stat().st_size < 3_000_000


def test_the_red_cube_left_of_the_can_is_found(model, renderer):
    """Of a green cube on the other side and a red ball nearby, wherever they stand."""
    rng = np.random.default_rng(0)
    right, sure = 0, 0
    for _ in range(20):
        far = rng.uniform(0.7, 1.3, 4)
        scene = renderer.show(
            {
                'cube_red': (far[0], rng.uniform(0.2, 0.4), rng.uniform(0, 3)),
                'can_blue': (far[1], rng.uniform(-0.05, 0.05), 0.0),
                'cube_green': (far[2], rng.uniform(-0.35, -0.2), rng.uniform(0, 3)),
                'ball_red': (far[3] + 0.5, rng.uniform(-0.1, 0.1), 0.0),
            }
        )
        (cube,) = (each for each in scene.objects if (each.kind, each.color) == ('cube', 'red'))
        (found,) = model.find(model.look(scene.image), ['the red cube left of the can'])
        right += on(found, cube)
        sure += found.confidence >= 0.5
    assert right >= 16 and sure >= 14


def test_what_is_not_there_is_not_found(model, renderer):
    scene = renderer.show({'cube_red': (0.9, 0.2, 0.3), 'can_blue': (0.9, -0.2, 0.0)})
    phrases = ['the green ball', 'the yellow can', 'the red cube right of the blue can']
    assert all(each.confidence < 0.5 for each in model.find(model.look(scene.image), phrases))


def test_square_pictures_do_as_well(model):
    config = source.SceneConfig(height=64, width=64, aside_rad=0.4, min_pixels=12, farthest_m=1.5)
    try:
        told = source.told_scenes(12, 77, source.MEASURED, config=config)
    except EnvironmentSetupError as error:
        pytest.skip(str(error))
    assert world_scores(model, told)['grounding']['accuracy']['value'] > 0.6


def test_unseen_scenes_are_described_and_searched(model):
    try:
        told = source.told_scenes(24, 78, source.MEASURED)
    except EnvironmentSetupError as error:
        pytest.skip(str(error))
    scores = world_scores(model, told)
    assert scores['grounding']['accuracy']['value'] > 0.75
    assert scores['retrieval']['caption_of_picture']['recall_at_5']['value'] > 0.8
    vectors = [model.text_embedding(each.captions[0]) for each in told[:3]]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
