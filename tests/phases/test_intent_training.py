import copy
import dataclasses

import pytest
import torch
from robot_learning.errors import NotEnoughDataError
from robot_learning.language import corpus
from robot_learning.language.command_files import Labelled
from robot_learning.models.intent import IntentModelConfig
from robot_learning.phases.intent import IntentConfig, IntentTraining

SMALL = IntentConfig(
    model=IntentModelConfig(layers=1, width=64, heads=4, feedforward=128),
    epochs=12,
    batch_size=32,
    learning_rate=3e-3,
    min_updates=0,
    variants=1,
    label_smoothing=0.0,
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
    assert losses[-1] < 0.25 * losses[0]
    scores = learner.measure(held_out)
    assert scores.accuracy > 0.6 and scores.macro_f1 > 0.55 and scores.slot_f1 > 0.7
    counts = [sum(c.intent == intent for c in held_out) for intent in learner.intents]
    assert scores.accuracy > 4 * max(counts) / len(held_out)  # Far above the commonest.


def test_slots_come_with_their_places(trained):
    learner, _, _ = trained
    (found,) = learner.understand(['Bring the small RED ball to the kitchen'])
    assert found.intent == 'bring' and 0 < found.confidence <= 1
    assert {(10, 15, 'size'), (16, 19, 'color'), (20, 24, 'object')} <= set(found.spans)


def test_calibration_takes_back_what_is_too_sure_and_changes_no_answer(trained):
    learner, _, held_out = copy.deepcopy(trained)
    texts = [command.text for command in held_out]
    before = learner.calibrate(held_out)
    with torch.no_grad():
        for tensor in (*learner.model.intent.parameters(), *learner.model.votes.parameters()):
            tensor *= 4
    too_sure, answers = learner.measure(held_out).calibration_error, learner.understand(texts)
    assert learner.calibrate(held_out) == pytest.approx(4 * before, rel=0.07)  # One candidate.
    assert [u.intent for u in learner.understand(texts)] == [u.intent for u in answers]
    assert learner.measure(held_out).calibration_error < too_sure


def test_a_few_commands_in_scope_fall_below_the_least_confidence(trained):
    learner, _, held_out = copy.deepcopy(trained)
    learner.calibrate(held_out)
    inside = [c.text for c in held_out if c.intent != 'out_of_scope']
    below = [u.confidence < learner.min_confidence for u in learner.understand(inside)]
    assert sum(below) / len(below) == pytest.approx(SMALL.rejected_ratio, abs=0.005)


def test_commands_of_others_help_and_leave_no_outputs_behind():
    commands = labelled(120, 0)
    others = [Labelled('sing a song', 'music', ((5, 11, 'what'),)), Labelled('add it', 'sum')]
    sizes = dataclasses.replace(SMALL.model, piece_votes=True)
    config = dataclasses.replace(SMALL, model=sizes, epochs=1)
    learner = IntentTraining(commands, config, 0, [others * 30])
    learner.epoch()
    tensors, description = learner.published()
    assert 'music' not in learner.intents and 'B-what' not in learner.tags
    assert tensors['intent.weight'].shape == (len(learner.intents), 128)
    assert tensors['tags.bias'].shape == (len(description['tags']),)
    for name in ('votes.weight', 'piece_votes.weight'):
        assert tensors[name].shape[1] == len(description['intents']) and tensors[name].any()
    assert 'sing' in learner.vocabulary.words
    assert {u.intent for u in learner.understand(['sing a song'])} <= set(learner.intents)


def test_what_nobody_marked_teaches_no_slots():
    unmarked = [c._replace(spans=(), has_slots=False) for c in labelled(60, 0)]
    learner = IntentTraining(
        [*labelled(60, 1), *unmarked], dataclasses.replace(SMALL, variants=0), 0
    )
    _, _, tags = learner._targets
    assert (tags[60:] == -100).all() and (tags[:60] != -100).any(1).all()


def test_few_commands_get_more_passes():
    config = dataclasses.replace(SMALL, epochs=2, min_updates=40)
    assert IntentTraining(labelled(64, 0), config, 0).epochs == 20
    assert IntentTraining(labelled(2000, 0), config, 0).epochs == 2


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
