import dataclasses
import json

import numpy as np
import pytest
import torch
from robot_learning.errors import CommandError, ModelRefusedError, StoreError
from robot_learning.language import corpus
from robot_learning.language.command_files import Labelled
from robot_learning.language.intents import OUT_OF_SCOPE, Intent
from robot_learning.language.tokens import Encoded
from robot_learning.model_store import ModelStore
from robot_learning.models.intent import IntentModelConfig
from robot_learning.phases.intent import IntentConfig, IntentTraining
from robot_learning.serving.intent import build_intent_model, load, load_folder, resolved

CONFIG = IntentConfig(
    model=IntentModelConfig(width=64, feedforward=128),
    epochs=14,
    min_updates=0,
    learning_rate=3e-3,
    variants=0,
)


@pytest.fixture(scope='module')
def trained():
    commands = [
        Labelled(example.text.lower(), example.intent, example.spans)
        for example in corpus.examples(1900, 0)
    ]
    learner = IntentTraining(commands[:1700], CONFIG, seed=0)
    for _ in range(learner.epochs):
        learner.epoch()
    learner.calibrate(commands[1700:])
    return learner


@pytest.fixture(scope='module')
def store(trained, tmp_path_factory):
    tensors, policy = trained.published()
    made = ModelStore(tmp_path_factory.mktemp('models'))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    made.publish('intent', arrays, {'policy': policy, 'phase': 'intent'})
    return made


@pytest.fixture(scope='module')
def model(store):
    return load(store.root)


TEXTS = [
    *(example.text for example in corpus.examples(60, 7)),
    *('Go To The RED cube', 'zzz qqq', '?', 'go ' * 90, 'x' * 400),
]


def test_it_computes_what_torch_computes(trained, model):
    for text in TEXTS:
        batch = trained.vocabulary.encode([text.lower()])
        with torch.no_grad():
            expected = trained.model.eval()(*map(torch.from_numpy, Encoded(*batch)))
        intent, tags = model._network(text.lower())
        np.testing.assert_allclose(intent, expected.intent[0].numpy(), atol=1e-4)
        np.testing.assert_allclose(tags, expected.tags[0].numpy(), atol=1e-4)


def test_pieces_of_words_vote_as_in_torch():
    commands = [Labelled(e.text.lower(), e.intent, e.spans) for e in corpus.examples(100, 0)]
    sizes = dataclasses.replace(CONFIG.model, piece_votes=True)
    learner = IntentTraining(commands, dataclasses.replace(CONFIG, model=sizes), seed=0)
    learner.epoch()
    learner.calibrate(commands[:50])
    tensors, policy = learner.published()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    model = build_intent_model(arrays, {'policy': policy}, 'intent@1')
    del arrays['piece_votes.weight']
    with pytest.raises(ModelRefusedError, match='piece_votes'):
        build_intent_model(arrays, {'policy': policy}, 'intent@1')
    lowered = [text.lower() for text in TEXTS]
    expected = learner._logits(learner.vocabulary.encode(lowered)).intent.numpy()
    found = np.stack([model._network(text)[0] for text in lowered])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_it_answers_what_the_trained_model_answers(trained, model):
    for text, known in zip(TEXTS, trained.understand(TEXTS), strict=True):
        found = model.predict(text)
        assert (found.guess, found.spans) == (known.intent, known.spans)
        assert found.confidence == pytest.approx(known.confidence, abs=1e-4)


def test_out_of_scope_is_a_class_and_also_too_little_confidence(trained, store):
    tensors, manifest = store.load('intent')
    model = build_intent_model(tensors, manifest, 'intent@1')
    assert model.predict('play some music').name == OUT_OF_SCOPE
    assert model.predict('turn left').name == 'turn'
    doubtful = dict(manifest, policy={**manifest['policy'], 'min_confidence': 1.0})
    found = build_intent_model(tensors, doubtful, 'intent@1').predict('turn left')
    assert (found.name, found.guess, found.slots) == (OUT_OF_SCOPE, 'turn', {})


def test_it_is_the_object_of_the_step_before():
    red = {'object': 'ball', 'color': 'red'}
    steps = [
        Intent('look_for', red, 1.0, 'find the red ball'),
        Intent('wait', {'duration': 2.0}, 1.0, 'wait 2 seconds'),
        Intent('pick_up', {}, 1.0, 'pick it up'),
        Intent('bring', {}, 1.0, 'bring it back'),
    ]
    found = resolved(steps)
    assert found[2].slots == red
    assert (found[3].name, found[3].slots) == ('put_down', {'place': 'home'})
    fetched = resolved([steps[0], steps[3]])[1]  # Not held: it has to be picked up as well.
    assert (fetched.name, fetched.slots) == ('bring', red)


def test_what_was_picked_up_is_put_down_where_it_is_carried_to():
    office = {'place': 'office'}
    picked = Intent('pick_up', {'object': 'ball'}, 1.0, 'pick up the ball')
    there = Intent('go_to_place', office, 1.0, 'carry it to the office')
    assert resolved([picked, there])[1]._replace(text='') == Intent('put_down', office)
    walked = Intent('go_to_place', office, 1.0, 'go to the office')
    assert resolved([picked, walked])[1] == walked
    assert resolved([there])[0] == there  # Nothing is held.


@pytest.mark.parametrize(
    'steps',
    [
        [Intent('pick_up', {}, 1.0, 'pick it up')],  # Nothing was spoken of.
        [
            Intent('go_to_object', {'object': 'can'}, 1.0, 'go to the can'),
            Intent('pick_up', {}, 1.0, 'pick up the thing'),  # No pronoun.
        ],
        [Intent('return_home', {}, 1.0, 'return it'), Intent('stop', {}, 1.0, 'stop that')],
        [],
    ],
)
def test_what_is_not_said_is_not_made_up(steps):
    assert resolved(steps) == steps


def test_other_schemas_keep_their_words():
    commands = [
        Labelled('play some jazz', 'PlayMusic', ((10, 14, 'genre'),)),
        Labelled('rate this book', 'RateBook', ((10, 14, 'what'),)),
    ] * 40
    learner = IntentTraining(commands, dataclasses.replace(CONFIG, epochs=20), 0)
    for _ in range(learner.epochs):
        learner.epoch()
    tensors, policy = learner.published()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    found = build_intent_model(arrays, {'policy': policy}, 'x@1').predict('Play some JAZZ')
    assert (found.name, found.slots) == ('PlayMusic', {'genre': 'jazz'})


def test_words_that_mean_no_value_are_told_but_not_articles(store):
    tensors, manifest = store.load('intent')
    model = build_intent_model(tensors, manifest, 'intent@1')
    tags = model.spec.tags
    marked = {'red': 'B-color', 'pink': 'B-color', 'the': 'B-object', 'ball': 'B-object'}

    def network(text):
        intent = np.full(len(model.spec.intents), -9.0)
        intent[model.spec.intents.index('pick_up')] = 9.0
        logits = np.full((len(text.split()), len(tags)), -9.0)
        for place, word in enumerate(text.split()):
            logits[place, tags.index(marked.get(word, 'O'))] = 9.0
        return intent, logits

    model._network = network
    found = model.predict('take the red ball')
    assert (found.slots, found.unknown) == ({'color': 'red', 'object': 'ball'}, {})
    assert model.predict('take the pink ball').unknown == {'color': 'pink'}
    with pytest.raises(CommandError, match="'pink' is no color that I know"):
        model.understand('take the pink ball')


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'kind': 'world_model'}, "kind of model is 'world_model', expected 'intent_transformer'"),
        ({'layers': 3}, r'tensor encoder.layers.2.\S+ is missing'),
        ({'words': ['go']}, r'tensor words.weight has shape .* expected \[3, 64\]'),
        ({'heads': 5}, 'width is 64, expected a multiple of 5 heads'),
        ({'temperature': 0}, 'policy: temperature'),
        ({'surprise': 1}, 'surprise: unknown key'),
        ({'intents': ['a'] * 15}, 'intents hold 14 of their names twice'),
    ],
)
def test_a_version_that_does_not_fit_is_refused(store, change, reason):
    tensors, manifest = store.load('intent')
    policy = {**manifest['policy'], **change}
    with pytest.raises(ModelRefusedError, match=rf'intent@1: .*{reason}'):
        build_intent_model(tensors, {'policy': policy}, 'intent@1')


def test_weights_that_are_not_finite_are_refused(store):
    tensors, manifest = store.load('intent')
    broken = {**tensors, 'first': np.full_like(tensors['first'], np.nan)}
    with pytest.raises(ModelRefusedError, match='tensor first holds 64 values that are not'):
        build_intent_model(broken, manifest, 'intent@1')


def test_a_folder_is_loaded_and_a_changed_file_refused(store, tmp_path):
    folder = store.root / 'intent' / '000001'
    assert load_folder(folder).predict('turn left').name == 'turn'
    copied = tmp_path / 'intent' / '000001'
    copied.mkdir(parents=True)
    for file in folder.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((copied / 'manifest.json').read_text())
    manifest['policy']['intents'].reverse()
    (copied / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(ModelRefusedError, match='differs from its own SHA-256'):
        load_folder(copied)
    with pytest.raises(ModelRefusedError, match='expected the number of a version'):
        load_folder(tmp_path)
    with pytest.raises(StoreError, match='version 7 is not in'):
        load_folder(store.root / 'intent' / '000007')
    with pytest.raises(StoreError, match='holds no version that may be served'):
        load(tmp_path / 'nothing')
