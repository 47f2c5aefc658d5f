import numpy as np
import pytest
from nsca_samples import TINY
from nsca_served import NAME, publish
from robot_learning.errors import CommandError, MessageError, ModelRefusedError
from robot_learning.model_store import ModelStore
from robot_learning.models.nsca.config import MODALITIES, PROPERTIES
from robot_learning.serving.imagination import imagine
from robot_learning.serving.perception import Senses
from robot_learning.serving.perception_succession import PerceptionSuccession

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (48, 64, 3), dtype=np.uint8)
SOUND = RNG.standard_normal(1600).astype(np.float32)
READING = np.array([0.1, 0.2, 0.3], np.float32)


def load(folder):
    succession = PerceptionSuccession(ModelStore(folder), NAME, 1, lambda version: None)
    succession.begin()
    return succession.take().world


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return publish(tmp_path_factory.mktemp('models'))


@pytest.fixture
def world(store):
    return load(store)


def test_all_senses_give_a_state_with_confidences_novelty_and_properties(world):
    estimate = world.observe(Senses(IMAGE, SOUND, READING))
    assert estimate.state.shape == (TINY.state_size,)
    assert set(estimate.confidences) == set(MODALITIES)
    assert all(0 < value <= 1 for value in estimate.confidences.values())
    assert 0 <= estimate.novelty <= 1
    assert list(estimate.properties) == list(PROPERTIES)
    assert all(0 <= value <= 1 for value in estimate.properties.values())


def test_an_absent_sense_has_no_confidence_and_one_that_is_alone_has_nobody_to_ask(world):
    estimate = world.observe(Senses(None, SOUND, READING))
    assert estimate.confidences['vision'] == 0
    alone = world.observe(Senses(None, SOUND, None))
    assert alone.confidences == {'vision': 0.0, 'audio': 0.5, 'proprioception': 0.0}


def test_the_past_is_remembered_up_to_the_length_of_the_temporal_model(world):
    assert world.past is None
    for step in range(TINY.temporal_length + 3):
        world.observe(Senses(IMAGE, None, None), np.full(2, float(step)))
    states, actions = world.past
    assert states.shape == (1, TINY.temporal_length, TINY.state_size)
    assert actions[0, -2, :2].tolist() == [TINY.temporal_length + 2.0] * 2
    assert actions[0, -1].tolist() == [0.0] * TINY.action_size


def test_without_senses_or_with_a_broken_body_there_is_one_clear_error(world):
    with pytest.raises(MessageError, match='none is fresh, expected one of vision, audio'):
        world.observe(Senses(None, None, None))
    with pytest.raises(MessageError, match='2 numbers, 0 of them not finite; expected 3'):
        world.observe(Senses(None, None, READING[:2]))
    with pytest.raises(MessageError, match='3 numbers, 1 of them not finite'):
        world.observe(Senses(None, None, np.array([0, np.nan, 1], np.float32)))


def test_imagined_futures_depend_on_actions_and_come_with_uncertainty(world):
    world.observe(Senses(IMAGE, SOUND, READING))
    still, moved = imagine(world, np.zeros((4, 2))), imagine(world, np.full((4, 2), 3.0))
    assert still.states.shape == still.uncertainties.shape == (4, TINY.state_size)
    assert (still.uncertainties > 0).all() and not np.allclose(still.states, moved.states)
    assert np.isnan(still.rewards).all() and np.isnan(still.end_probabilities).all()


def test_a_given_state_is_the_beginning_and_needs_no_past(world):
    state = np.ones(TINY.state_size, np.float32)
    found = imagine(world, np.zeros((2, 1)), state)
    other = imagine(world, np.zeros((2, 1)), -state)
    assert not np.allclose(found.states, other.states)


def test_rewards_and_ends_are_told_where_they_were_learned(tmp_path):
    world = load(publish(tmp_path, has_outcomes=True))
    found = imagine(world, np.zeros((3, 1)), np.zeros(TINY.state_size, np.float32))
    assert np.isfinite(found.rewards).all()
    assert ((found.end_probabilities > 0) & (found.end_probabilities < 1)).all()


@pytest.mark.parametrize(
    ('actions', 'state', 'message'),
    [
        (np.zeros((0, 2)), None, r'shape \[0, 2\], expected 1 to 200'),
        (np.zeros((2, 99)), None, '99 numbers per action, expected at most 16'),
        (np.full((2, 2), np.nan), None, 'not finite'),
        (np.zeros((2, 2)), np.zeros(3), 'state of 3 numbers, expected 16'),
        (np.zeros((2, 2)), None, 'nothing was perceived yet'),
    ],
)
def test_wrong_questions_get_one_clear_error(world, actions, state, message):
    with pytest.raises(CommandError, match=message):
        imagine(world, actions, state)


def test_a_version_that_fuses_nothing_is_refused(tmp_path):
    with pytest.raises(ModelRefusedError, match='expected nsca_full'):
        load(publish(tmp_path, kind='nsca_fusion'))
    with pytest.raises(ModelRefusedError, match="kind of model is 'sac'"):
        load(publish(tmp_path / 'other', kind='sac'))
