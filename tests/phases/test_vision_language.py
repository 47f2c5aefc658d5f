import dataclasses

import numpy as np
import pytest
import torch
from grounding_toys import NUM_CELLS, config, items, square, training
from robot_learning.errors import DataError
from robot_learning.language.tokens import Vocabulary
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.grounding_scores import GroundedBatch, best_boxes, scores_of
from robot_learning.phases.image_text_data import ImageTextData, Texts
from robot_learning.phases.passes import Origin, Passes


def passes(objective, rows, held_out, checkpoints=None):
    return Passes(
        objective, rows, held_out, objective.config.passes, None, checkpoints, Origin([])
    )


def weights(objective):
    return {name: tensor.clone() for name, tensor in objective.module.state_dict().items()}


def test_colours_are_found_and_absent_ones_refused():
    settings = config(epochs=9, learning_rate=1e-2, measure_epochs=9)
    objective, rows, held_out = training(items(64), items(48, seed=1), settings=settings)
    progress = passes(objective, rows, held_out).run()
    found = progress.metrics
    assert found['held_out/grounding_accuracy'] > 0.85
    assert found['held_out/refused'] > 0.7
    assert found['held_out/grounding_overlap'] > 0.3
    assert found['held_out/recall_at_1'] > 0.7
    assert 0 <= found['held_out/calibration_error'] < 0.2


def test_a_training_that_was_stopped_equals_one_that_was_not(tmp_path):
    rows, held = items(24), items(8, seed=1)
    whole, *data = training(rows, held)
    passes(whole, *data).run()
    first, *data = training(rows, held)
    heard = []
    passes(first, *data, CheckpointFolder(tmp_path)).run(
        should_stop=lambda: heard.append(1) or len(heard) > 3
    )
    second, *data = training(rows, held)
    again = passes(second, *data, CheckpointFolder(tmp_path))
    again.resume()
    again.run()
    expected, found = weights(whole), weights(second)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def gradients_of(objective, batch):
    torch.manual_seed(0)
    loss = objective.losses(batch, 0.0).tasks['vision_language']
    named = dict(objective.module.named_parameters())
    found = torch.autograd.grad(loss, named.values(), allow_unused=True)
    return {n for n, g in zip(named, found, strict=True) if g is not None and g.abs().sum() > 0}


def test_all_losses_together_reach_every_part():
    objective, rows, _ = training(items(16), items(4))
    reached = {name.split('.')[0] for name in gradients_of(objective, rows.read(np.arange(16)))}
    parts = {'image', 'text', 'image_projection', 'text_projection', 'log_scale', 'head'}
    assert reached == parts


@pytest.mark.parametrize(
    ('weights_left', 'expected'),
    [
        (('contrast_weight',), {'image', 'text', 'image_projection', 'text_projection'}),
        (('region_weight',), {'image', 'text', 'head'}),
        (('box_weight',), {'image', 'head.box'}),
    ],
)
def test_each_loss_reaches_its_own_parameters_only(weights_left, expected):
    names = ('contrast_weight', 'region_weight', 'box_weight')
    settings = dataclasses.replace(config(), **{n: float(n in weights_left) for n in names})
    objective, rows, _ = training(items(16), items(4), settings=settings)
    reached = gradients_of(objective, rows.read(np.arange(16)))
    reached -= {'log_scale'}
    assert {name for name in expected if any(r.startswith(name) for r in reached)} == expected
    assert all(any(r.startswith(name) for name in expected) for r in reached)


def test_pictures_without_known_objects_learn_by_their_captions_alone():
    bare = [item._replace(things=(), phrases=()) for item in items(8)]
    objective, rows, held = training(bare, bare[:4])
    metrics = objective.losses(rows.read(np.arange(8)), 0.0).metrics
    assert 'vision_language/region' not in metrics
    objective.module.eval()
    measured = objective.measure([held.read(np.arange(4))])
    assert 'held_out/grounding_accuracy' not in measured
    assert objective.score(measured) == measured['held_out/recall_at_1']


def test_a_batch_says_where_things_are():
    _, rows, _ = training([square('red', 8, 16), square('blue', 0, 0)], items(2))
    batch = rows.read(np.array([0]))
    assert batch['cells'].shape == (1, 3, NUM_CELLS + 1)
    assert batch['cells'][0, 0, :-1].nonzero().flatten().tolist() == [34, 35, 42, 43]
    assert batch['cells'][0, 2].nonzero().flatten().tolist() == [NUM_CELLS]
    assert batch['object'].sum() == 4
    np.testing.assert_allclose(batch['box'][0, :, 34], [-0.25, 0.0, 0.0, 0.25])
    assert batch['meant'][0, 2].isnan().all()


def test_pictures_of_two_sizes_are_refused():
    one, two = items(2)
    two = two._replace(image=np.zeros((40, 32, 3), np.uint8))
    texts = Texts([*one.captions, *two.captions], Vocabulary(()))
    with pytest.raises(DataError, match=r'found 2 sizes.*expected one.*Scale them alike'):
        ImageTextData([one, two], texts, NUM_CELLS)


def test_texts_are_read_as_the_vocabulary_reads_them():
    vocabulary = Vocabulary(('the', 'red'), 64, 16, 1)
    said = ['the red cube', "it's 3 m. far", 'the', '...']
    texts = Texts(said, vocabulary)
    for number, text in enumerate(said):
        tokens, words, grams = texts.read(torch.tensor([number]))
        expected = vocabulary.encode([text])
        assert words[tokens[0]].tolist() == expected.words[0].tolist()
        assert grams[tokens[0]].tolist() == expected.grams[0].tolist()


def test_scores_of_a_right_a_wrong_and_a_refused_answer():
    boxes = torch.tensor([[-0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
    share = torch.tensor([[0.8, 0.1, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    log_share = share.log()
    box, is_inside = best_boxes(
        log_share[:, [0, 1, 1, 1, 2]], boxes.T[None, :, [0, 1, 1, 1]].expand(3, -1, -1), 2, 2
    )
    assert box[0].tolist() == boxes[0].tolist()
    meant = torch.stack([boxes[0], boxes[1], torch.full((4,), torch.nan)])
    is_target = torch.zeros(3, 5, dtype=torch.bool)
    found = GroundedBatch(log_share[:, [0, 1, 1, 1, 2]], is_target, meant, box, is_inside)
    scores = scores_of(found, 1.0)
    assert scores.grounding_accuracy == 0.5
    assert scores.grounding_overlap == 0.5
    assert scores.refused == 1.0
