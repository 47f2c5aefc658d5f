"""The way that a world model expects, against the evaluation of imagined futures."""

import numpy as np
import pytest
import torch
from robot_learning import contract as contracts
from robot_learning.errors import ModelRefusedError
from robot_learning.evaluation.open_loop import open_loop
from robot_learning.features import FeatureBuilder
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.serving.expected_path import ExpectedPath

ARENA = contracts.load('arena')
FEATURES = FeatureBuilder(ARENA)
TINY = WorldModelConfig(deter=16, hidden=8, depth=2, groups=3, classes=4, blocks=2)
HORIZON, CONTEXT = 5, 4


def world_model(size=FEATURES.size, blocks=FEATURES.blocks, images=None):
    generator = torch.Generator().manual_seed(0)
    return WorldModel(size, 2, TINY, blocks, images, generator).eval()


@pytest.fixture
def steps():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((CONTEXT, FEATURES.size)).astype(np.float32)
    span = ARENA.action_high - ARENA.action_low
    actions = ARENA.action_low + span * rng.random((CONTEXT, 2))
    return features, actions.astype(np.float32)


def test_it_is_what_evaluation_imagines_when_the_last_action_is_repeated(steps):
    features, actions = steps
    model = world_model()
    path = ExpectedPath(model, ARENA, HORIZON, CONTEXT, num_samples=3, seed=7)
    for seen, done in zip(features, actions, strict=True):
        path.step(seen, done)
    scaled = (actions - ARENA.action_low) / (ARENA.action_high - ARENA.action_low) * 2 - 1
    piece = {
        'observation': np.concatenate([features, np.zeros((HORIZON, FEATURES.size), np.float32)]),
        'action': np.concatenate([scaled, np.repeat(scaled[-1:], HORIZON, 0)]).astype(np.float32),
        'reward': np.zeros(CONTEXT + HORIZON, np.float32),
        'is_first': np.arange(CONTEXT + HORIZON) == 0,
    }
    generator = torch.Generator().manual_seed(7)
    (run,) = open_loop(model, [piece], CONTEXT, generator, num_samples=3)
    expected = run.predicted['pose/pose'][:, :2] * 2.5  # Metres per unit, as in the contract.
    np.testing.assert_allclose(path.path(), expected, rtol=1e-4, atol=1e-5)


def test_an_episode_s_beginning_is_not_connected_with_what_was(steps):
    features, actions = steps
    path = ExpectedPath(world_model(), ARENA)
    assert path.path() is None
    for seen, done in zip(features, actions, strict=True):
        path.step(seen, done)
    assert path.path().shape == (15, 2)
    path.begin()
    path.step(features[0], actions[0])
    assert path.path() is None


@pytest.mark.parametrize(
    ('model', 'found'),
    [
        (lambda: world_model(images={'camera': (16, 16, 3)}), 'camera'),
        (lambda: world_model(4, {'pose/pose': slice(0, 4)}), 'of 4 features'),
        (lambda: world_model(FEATURES.size, {'vector/x': slice(0, FEATURES.size)}), 'vector/x'),
    ],
)
def test_a_model_that_cannot_tell_is_refused(model, found):
    with pytest.raises(ModelRefusedError, match=found):
        ExpectedPath(model(), ARENA)
