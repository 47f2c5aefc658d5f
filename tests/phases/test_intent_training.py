import math

import pytest
import torch
from robot_learning.errors import NotEnoughDataError
from robot_learning.language import corpus
from robot_learning.language.command_files import Labelled
from robot_learning.models.intent import IntentModelConfig
from robot_learning.phases.intent import IntentConfig, IntentTraining, _macro_f1, _slot_f1

SMALL = IntentConfig(
    model=IntentModelConfig(layers=1, width=64, heads=4, feedforward=128),
    epochs=12,
    batch_size=32,
    learning_rate=3e-3,
)


def labelled(count, seed, templates=None):
    return [
        Labelled(example.text.lower(), example.intent, example.spans)
        for example in corpus.examples(count, seed, templates)
    ]


@pytest.fixture(scope='module')
def trained():
    training, held_out = corpus.split_templates(0.2, seed=0)
    learner = IntentTraining(labelled(1500, 0, training), SMALL, seed=0)
    losses = [learner.epoch() for _ in range(SMALL.epochs)]
    return learner, losses, labelled(600, 1, held_out)


def test_it_understands_commands_of_templates_it_has_not_seen(trained):
    learner, losses, held_out = trained
    assert losses[-1] < 0.2 * losses[0]
    scores = learner.measure(held_out)
    assert scores.accuracy > 0.6 and scores.macro_f1 > 0.55 and scores.slot_f1 > 0.7
    counts = [sum(c.intent == intent for c in held_out) for intent in learner.intents]
    assert scores.accuracy > 4 * max(counts) / len(held_out)  # Far above the commonest.


def test_slots_come_with_their_places(trained):
    learner, _, _ = trained
    (found,) = learner.understand(['Bring the small RED ball to the kitchen'])
    assert found.intent == 'bring' and 0 < found.confidence <= 1
    assert {(10, 15, 'size'), (16, 19, 'color'), (20, 24, 'object')} <= set(found.spans)


def test_calibration_lowers_the_likelihood_loss_and_changes_no_answer(trained):
    learner, _, held_out = trained
    texts = [command.text for command in held_out]
    before = learner.understand(texts)
    uncalibrated = learner.measure(held_out).calibration_error
    assert learner.calibrate(held_out) != 1.0
    after = learner.understand(texts)
    assert [u.intent for u in after] == [u.intent for u in before]
    assert learner.measure(held_out).calibration_error < uncalibrated


def test_the_same_seed_learns_the_same():
    commands = labelled(120, 0)
    learners = [IntentTraining(commands, SMALL, seed) for seed in (3, 3, 4)]
    torch.manual_seed(1)
    first = learners[0].epoch()
    torch.manual_seed(2)  # Others draw from the global generator in between.
    assert learners[1].epoch() == first
    assert learners[2].epoch() != first


def test_commands_of_one_intent_teach_nothing():
    with pytest.raises(NotEnoughDataError, match='expected at least two intents'):
        IntentTraining([Labelled('go', 'move')] * 5, SMALL, 0)


def test_scores_by_hand():
    assert _macro_f1(['a', 'a', 'b'], ['a', 'b', 'b']) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert _macro_f1(['a', 'b'], ['a', 'a']) == pytest.approx((2 / 3 + 0) / 2)
    right, wrong, other = (0, 2, 'x'), (3, 5, 'x'), (3, 5, 'y')
    assert _slot_f1([[right, wrong]], [[right, other]]) == pytest.approx(0.5)
    assert math.isnan(_slot_f1([[]], [[]]))
