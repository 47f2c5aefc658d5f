import dataclasses
import math

import numpy as np
import pytest
import torch
from robot_learning.errors import ConfigError, DataError, ModelRefusedError, StoreError
from robot_learning.model_store import ModelStore
from robot_learning.models.meta_learner import MetaLearner, MetaLearnerConfig, MetaShape
from robot_learning.serving.adaptation import build_adaptable_model, publish_adapted

LINE = MetaLearnerConfig(hidden=(), inner_steps=30, inner_rate=0.6)
PICTURES = MetaLearnerConfig(channels=4, blocks=2, inner_rate=0.1)


def version(config, shape):
    """Return tensors and manifest as the phase publishes them."""
    torch.manual_seed(0)
    learner = MetaLearner(config, shape)
    policy = {
        'kind': 'meta_learner',
        'learner': dataclasses.asdict(config),
        'inputs': list(shape.inputs),
        'num_targets': shape.num_targets,
        'num_classes': shape.num_classes,
    }
    tensors = {name: tensor.detach().numpy() for name, tensor in learner.state_dict().items()}
    return tensors, {'policy': policy, 'phase': 'meta', 'config': {}}


def line_model():
    return build_adaptable_model(*version(LINE, MetaShape((2,), 1)), 'line@1')


def picture_model():
    return build_adaptable_model(*version(PICTURES, MetaShape((1, 8, 8), 0)), 'pictures@1')


def line(count=20):
    inputs = np.random.default_rng(0).uniform(-1, 1, (count, 2)).astype(np.float32)
    return inputs, inputs @ np.array([[2.0], [-1.0]], np.float32) + 0.5


def halves(per_class, classes=2):
    """Pictures that are bright in one of four quarters."""
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 0.02, (classes, per_class, 1, 8, 8)).astype(np.float32)
    for index in range(classes):
        row, column = divmod(index, 2)
        images[index, :, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.8
    return images.reshape(-1, 1, 8, 8), np.repeat(np.arange(classes), per_class)


def test_it_fits_the_examples_and_says_how_well_on_those_held_out():
    inputs, targets = line()
    adapted = line_model().adapt(inputs, targets)
    assert (adapted.num_support, adapted.num_held_out) == (16, 4)
    assert adapted.error_after < 1e-3 < 0.1 < adapted.error_before
    again = build_adaptable_model(adapted.tensors, {'policy': adapted.policy}, 'line@2')
    assert again.predict(inputs) == pytest.approx(targets, abs=0.1)
    wrong = np.square(again.predict(inputs[16:]) - targets[16:]).mean()
    assert wrong == pytest.approx(adapted.error_after, rel=1e-4)


def test_flat_examples_are_the_same():
    inputs, targets = line()
    one, other = (line_model().adapt(*x) for x in ((inputs, targets), (inputs.ravel(), targets)))
    assert one.error_after == other.error_after


def test_a_classifier_takes_as_many_classes_as_there_are():
    model = picture_model()
    for classes in (2, 3):
        images, labels = halves(5, classes)
        adapted = model.adapt(images, labels)
        assert adapted.num_held_out == classes
        ready = build_adaptable_model(adapted.tensors, {'policy': adapted.policy}, 'it@2')
        answers = ready.predict(images)
        assert answers.shape == (len(images), classes)
        assert answers.sum(1) == pytest.approx(1)
        assert answers.argmax(1).tolist() == labels.tolist()


def test_with_one_example_of_each_class_nothing_is_held_out():
    adapted = picture_model().adapt(*halves(1))
    assert adapted.num_support == 2
    assert math.isnan(adapted.error_before) and math.isnan(adapted.error_after)


def test_the_adapted_version_is_published_beside_the_one_it_came_from(tmp_path):
    store = ModelStore(tmp_path)
    tensors, manifest = version(LINE, MetaShape((2,), 1))
    store.publish('robot', tensors, manifest)
    published = publish_adapted(store, 'robot', None, *line())
    assert (published.model, published.version) == ('robot-adapted', 1)
    assert published.wall_s > 0
    found, content = store.load('robot-adapted', 1)
    assert content['provenance'] == {'adapted_from': 'robot@1', 'examples': 16}
    assert content['phase'] == 'meta' and content['metrics']['adapted/error_after'] < 1e-3
    assert not np.array_equal(found['head.weight'], tensors['head.weight'])
    further = publish_adapted(store, 'robot-adapted', 1, *line())
    assert (further.model, further.version) == ('robot-adapted', 2)
    assert further.adapted.error_before == pytest.approx(published.adapted.error_after, rel=1e-3)


def test_the_version_it_came_from_is_left_as_it_was():
    model = line_model()
    before = model.predict(line()[0])
    model.adapt(*line())
    assert np.array_equal(model.predict(line()[0]), before)


@pytest.mark.parametrize(
    ('inputs', 'targets', 'found'),
    [
        (np.zeros(5), np.zeros(2), 'found 5 numbers of inputs and 2 of targets, expected 2 and 1'),
        (np.zeros(0), np.zeros(0), 'one example or more'),
        (np.array([0, np.nan]), np.zeros(1), 'an example is not finite'),
        (np.zeros(2), np.array([np.inf]), 'an example is not finite'),
        (np.full(20, 1e30), np.zeros(10), 'adapting led to numbers that are not finite'),
    ],
    ids=['parts of an example', 'none', 'NaN', 'infinite', 'far away'],
)
def test_examples_that_do_not_fit_are_named(inputs, targets, found):
    with pytest.raises(DataError, match=f'line@1: .*{found}'):
        line_model().adapt(inputs, targets)


@pytest.mark.parametrize(
    ('labels', 'found'),
    [
        ([1, 1], 'all 2 examples are of class 1, expected two classes'),
        ([0, 2], r'classes are \[0, 2\], expected 0, 1, 2 and so on without gaps'),
        ([0, -1], r'targets are \[0.0, -1.0\]'),
        ([0.5, 1], r'targets are \[0.5, 1.0\]'),
    ],
    ids=str,
)
def test_classes_that_are_none_are_named(labels, found):
    with pytest.raises(DataError, match=found):
        picture_model().adapt(halves(1)[0], np.array(labels))


def test_an_adapted_classifier_keeps_its_number_of_classes():
    adapted = picture_model().adapt(*halves(2))
    ready = build_adaptable_model(adapted.tensors, {'policy': adapted.policy}, 'it@2')
    images, labels = halves(2, 3)
    with pytest.raises(DataError, match='expected at most 2'):
        ready.adapt(images, labels)


def test_a_classifier_that_saw_no_examples_knows_no_classes():
    with pytest.raises(ConfigError, match='knows no classes yet'):
        picture_model().predict(halves(1)[0])


def test_what_is_no_meta_learner_is_refused():
    tensors, manifest = version(LINE, MetaShape((2,), 1))
    with pytest.raises(ModelRefusedError, match="is a 'mlp', expected 'meta_learner'"):
        build_adaptable_model(tensors, {'policy': {'kind': 'mlp'}}, 'it@1')
    with pytest.raises(ModelRefusedError, match='do not fit together'):
        build_adaptable_model({**tensors, 'more': np.zeros(1)}, manifest, 'it@1')
    manifest['policy']['learner']['depth'] = 3
    with pytest.raises(ModelRefusedError, match='depth: unknown key'):
        build_adaptable_model(tensors, manifest, 'it@1')


def test_a_version_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match='holds no version'):
        publish_adapted(ModelStore(tmp_path), 'robot', None, *line())
