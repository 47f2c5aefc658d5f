import json
import math

import numpy as np
import pytest
from robot_learning.commands import evaluate
from robot_learning.commands.evaluate_intent import _macro_f1, _slot_f1, evaluate_intent, scores
from robot_learning.errors import DataError, ModelRefusedError
from robot_learning.language import corpus, intent_scores
from robot_learning.language.command_files import Labelled
from robot_learning.model_store import ModelStore
from robot_learning.models.intent import IntentModelConfig
from robot_learning.phases.intent import IntentConfig, IntentTraining
from robot_learning.serving.intent import Prediction

CONFIG = IntentConfig(
    model=IntentModelConfig(width=32, feedforward=32), epochs=4, min_updates=0, variants=0
)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    commands = [
        Labelled(example.text.lower(), example.intent, example.spans)
        for example in corpus.examples(600, 0)
    ]
    learner = IntentTraining(commands, CONFIG, seed=0)
    for _ in range(learner.epochs):
        learner.epoch()
    tensors, policy = learner.published()
    made = ModelStore(tmp_path_factory.mktemp('models'))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    made.publish('intent', arrays, {'policy': policy, 'phase': 'intent'})
    return made


@pytest.fixture
def own(tmp_path):
    made = list(corpus.examples(150, 5))
    corpus.write(tmp_path / 'own.jsonl', made)
    return tmp_path / 'own.jsonl'


def answer(name, guess=None, confidence=0.9, spans=()):
    return Prediction(name, {}, confidence, {}, guess or name, spans, '')


def test_the_command_writes_every_score_with_count_interval_and_a_picture(
    store, own, tmp_path, capsys
):
    file = tmp_path / 'out' / 'score.json'
    command = ['--mode', 'intent', '--model', 'intent@1', '--models', str(store.root)]
    file.parent.mkdir()
    assert evaluate.main([*command, '--data', str(own), '--json', str(file)]) == 0
    found = json.loads(file.read_text())['intent']
    for name in ('accuracy', 'in_scope_accuracy', 'out_of_scope_recall', 'macro_f1', 'slot_f1'):
        score = found['all'][name]
        low, high = score['interval_95']
        assert 0 <= low <= score['value'] <= high <= 1 and score['count'] > 0
    assert found['all']['commands'] == 150 and not found['is_mapped']
    assert sum(map(sum, found['confusion'])) == 150
    assert found['latency_ms']['p50'] <= found['latency_ms']['p99']
    (picture,) = found['pictures']
    assert (tmp_path / 'out' / 'intent-1-confusion.png').read_bytes().startswith(b'\x89PNG')
    assert picture.endswith('intent-1-confusion.png')
    assert 'accuracy' in capsys.readouterr().out


def test_public_corpora_are_measured_under_the_robots_intents_and_by_source(store, tmp_path):
    rows = [
        {'text': 'take the pan', 'intent': 'Taking', 'source': 'HuRIC/a'},
        {'text': 'go to the door', 'intent': 'Motion', 'source': 'HuRIC/b'},
        {'text': 'the keys are here', 'intent': 'Being_located', 'source': 'HuRIC/b'},
    ]
    path = tmp_path / 'huric.jsonl'
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    tensors, manifest = store.load('intent')
    found = evaluate_intent(tensors, manifest, 'intent@1', [path], None)
    assert found['is_mapped'] and found['num_left_out'] == 1
    assert {source: s['commands'] for source, s in found['by_source'].items()} == {
        'HuRIC/a': 1,
        'HuRIC/b': 1,
    }
    assert found['all']['slot_f1'] is None  # Nobody marked their slots under our names.
    assert found['pictures'] == []


def test_scores_by_hand():
    rows = [
        (Labelled('a', 'move'), answer('move')),
        (Labelled('b', 'move'), answer('out_of_scope', 'move', 0.2)),  # Too little confidence.
        (Labelled('c', 'turn'), answer('move')),
        (Labelled('d', 'oos'), answer('out_of_scope')),
        (Labelled('e', 'dance'), answer('move')),  # Of this intent the model knows nothing.
    ]
    found = scores(rows, ['move', 'turn', 'out_of_scope', 'oos'])
    assert found['accuracy']['value'] == 3 / 5
    assert found['accuracy_of_known_intents']['value'] == 3 / 4
    assert found['in_scope_accuracy'] == {
        'value': 1 / 4,
        'count': 4,
        'interval_95': pytest.approx([0.0456, 0.6994], abs=1e-3),
    }
    assert found['out_of_scope_recall']['value'] == 1.0
    assert found['slot_f1'] is None


def test_resampled_scores_are_the_plain_ones():
    rng = np.random.default_rng(0)
    meant, said = (rng.choice(['a', 'b', 'c', 'd'], 200).tolist() for _ in range(2))
    rows = rng.integers(0, 200, 100)
    expected = intent_scores.macro_f1([meant[i] for i in rows], [said[i] for i in rows])
    assert _macro_f1(meant, said)(rows) == pytest.approx(expected)
    spans = [((0, 1, 'x'),), (), ((0, 1, 'x'), (2, 3, 'y'))]
    marked = [(spans[i % 3], spans[i % 2]) for i in range(30)]
    expected = intent_scores.slot_f1(*zip(*[marked[i % 30] for i in rows], strict=True))
    assert _slot_f1(marked)(rows % 30) == pytest.approx(expected)
    assert math.isnan(_slot_f1([((), ())])(np.zeros(1, int)))


def test_what_cannot_be_measured_is_one_clear_error(store, own, tmp_path, capsys):
    command = ['--model', 'intent@1', '--models', str(store.root)]
    assert evaluate.main(command) == 2
    assert 'an intent model is measured on recordings, none is named' in capsys.readouterr().err
    assert evaluate.main([*command, '--mode', 'policy', '--data', str(own)]) == 2
    assert 'expected one of --mode policy' in capsys.readouterr().err
    tensors, manifest = store.load('intent')
    broken = tmp_path / 'broken.jsonl'
    broken.write_text('nonsense\n')
    with pytest.raises(DataError, match='line 1: is no JSON'):
        evaluate_intent(tensors, manifest, 'intent@1', [broken], None)
    with pytest.raises(ModelRefusedError, match='kind of model is None'):
        evaluate_intent(tensors, {}, 'intent@1', [own], None)
