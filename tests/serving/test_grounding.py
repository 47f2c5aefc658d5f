"""The numpy network computes what torch does, and wrong versions and questions are refused."""

import json

import numpy as np
import pytest
import torch
from grounding_toys import items, training
from robot_learning.errors import CommandError, MessageError, ModelRefusedError
from robot_learning.model_store import ModelStore
from robot_learning.serving import grounding
from robot_learning.serving.gaze import Gaze
from robot_learning.serving.grounding import build_grounding_model


def published(seed=0):
    """A version that has learned a little: running statistics and biases are not their first."""
    objective, rows, held = training(items(24, seed), items(8, seed + 1), seed)
    objective.module.train()
    for _ in range(3):
        batch = rows.read(np.arange(24))
        loss = objective.losses(batch, 0.0).tasks['vision_language']
        found = torch.autograd.grad(loss, list(objective.module.parameters()), allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(objective.module.parameters(), found, strict=True):
                if gradient is not None:
                    parameter -= 0.1 * gradient
    objective.module.eval()
    objective.measure([held.read(np.arange(8))])
    tensors, policy = objective.policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return objective, arrays, {'policy': json.loads(json.dumps(policy))}


@pytest.fixture(scope='module')
def version():
    return published()


@pytest.fixture
def model(version):
    return build_grounding_model(version[1], version[2], 'toy@1')


def test_numpy_gives_what_torch_gives(version, model):
    objective = version[0]
    module = objective.module
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    phrase = 'the red square left of a blue one'
    with torch.no_grad():
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        features = module.see(x)
        read = objective.vocabulary.encode([phrase])
        count = read.words.shape[1]
        text = module.text(
            torch.arange(1, count + 1)[None],
            torch.from_numpy(np.append(0, read.words[0])),
            torch.from_numpy(np.concatenate([0 * read.grams[0, :1], read.grams[0]])),
        )
        share = module.head(features.cells, text[None]).log_share[0, 0] / objective.temperature
        share = share.softmax(-1).numpy()
        boxes = module.head.boxes(features.cells)[0].T.numpy()
        embedded = module.image_embedding(features)[0].numpy()
        said = module.text_embedding(text)[0].numpy()
    look = model.look(image)
    np.testing.assert_allclose(look.features.boxes, boxes, atol=1e-4)
    np.testing.assert_allclose(model.image_embedding(look), embedded, atol=1e-5)
    np.testing.assert_allclose(model.text_embedding(phrase), said, atol=1e-5)
    (found,) = model.find(look, [phrase])
    best = int(share[:-1].argmax())
    centre = (boxes[best, :2] + boxes[best, 2:]) / 2
    assert (found.x, found.y) == pytest.approx(
        (centre[0] * 32 + 24, centre[1] * 32 + 16), abs=0.01
    )
    assert share[best] - 1e-5 <= found.confidence <= 1


def test_places_are_pixels_of_the_picture_as_it_came(model):
    small = items(1)[0].image
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    one = model.find(model.look(small), ['the square'])[0]
    other = model.find(model.look(large), ['the square'])[0]
    assert other.x == pytest.approx(3 * one.x, abs=3)
    assert other.width == pytest.approx(3 * one.width, rel=0.25)


def test_several_phrases_are_answered_in_their_order(model):
    look = model.look(items(1)[0].image)
    phrases = ['the red square', 'the blue square', 'the red square']
    found = model.find(look, phrases)
    assert [each.phrase for each in found] == phrases
    assert found[0] == found[2] and found[0].confidence != found[1].confidence


def test_upper_case_and_spaces_do_not_matter(model):
    look = model.look(items(1)[0].image)
    one, other = model.find(look, ['the red square', '  The RED  square '])
    assert one[1:] == other[1:]


@pytest.mark.parametrize('phrase', ['', '   ', 'x' * 2001])
def test_an_empty_or_endless_phrase_is_refused(model, phrase):
    with pytest.raises(CommandError, match=r'characters, expected 1 to 2000. Say what to find'):
        model.find(model.look(items(1)[0].image), [phrase])


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_a_picture_of_another_kind_is_refused(model, image):
    with pytest.raises(MessageError, match=r'expected uint8 \[H, W, 3\], rgb'):
        model.look(image)


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda t, m: (without(t, 'image.down.bias'), m), 'image.down.bias is missing'),
        (lambda t, m: ({**t, 'text.first': np.zeros(3)}, m), 'text.first has shape'),
        (
            lambda t, m: ({**t, 'text.first': np.full(16, np.nan, np.float32)}, m),
            'not finite',
        ),
        (lambda t, m: (t, {'policy': {**m['policy'], 'kind': 'sac'}}), "kind of model is 'sac'"),
        (lambda t, m: (t, {'policy': {**m['policy'], 'height': 30}}), 'height'),
        (lambda t, m: (t, {'policy': {**m['policy'], 'extra': 1}}), 'extra'),
        (lambda t, m: (t, {}), 'kind of model is None'),
    ],
)
def test_a_wrong_version_is_refused_by_name(version, change, said):
    tensors, manifest = change(version[1], version[2])
    with pytest.raises(ModelRefusedError, match=said):
        build_grounding_model(tensors, manifest, 'toy@1')


def test_a_version_is_read_from_a_store(version, tmp_path):
    manifest = {**version[2], 'phase': 'vision_language'}
    ModelStore(tmp_path).publish('eyes', version[1], manifest)
    model, number = grounding.load(tmp_path, 'eyes')
    assert number == 1 and model.spec.height == 32


def test_a_picture_is_looked_at_once_and_only_when_asked(model):
    gaze = Gaze(model, max_age_s=1.0)
    reads = []
    image = items(1)[0].image
    gaze.take(7, 10.0, lambda: reads.append(1) or image)
    assert gaze.is_new and not reads
    first = gaze.find(['the red square'], 10.2)
    second = gaze.find(['the blue square', 'the square'], 10.4)
    assert reads == [1] and gaze.num_looks == 1 and not gaze.is_new
    assert first.stamp_ns == 7 and len(second.found) == 2
    assert (first.height, first.width) == (32, 32)
    gaze.take(8, 10.5, lambda: image)
    assert gaze.is_new and gaze.find(['x'], 10.5).stamp_ns == 8


def test_no_picture_and_an_old_one_are_named(model):
    gaze = Gaze(model, max_age_s=1.0)
    with pytest.raises(MessageError, match='no picture has come yet'):
        gaze.find(['x'], 0.0)
    gaze.take(1, 0.0, lambda: items(1)[0].image)
    with pytest.raises(MessageError, match=r'came 3.0 s ago, expected at most 1 s'):
        gaze.find(['x'], 3.0)
