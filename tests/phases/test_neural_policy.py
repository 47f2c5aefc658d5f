import numpy as np
import pytest
import torch
from robot_learning.errors import ConfigError, NotEnoughDataError, TrainingError
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.neural_policy import (
    NeuralPolicy,
    NeuralPolicyConfig,
    PairTraining,
    split_pairs,
)
from robot_learning.trajectory.labelled_pairs import checked
from robot_learning.trajectory.synthetic_pairs import synthetic_pairs


def quadrants(count=600, seed=0):
    """Points of a plane, labelled by their quadrant; far from zero and of unequal scale."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 1, (count, 2))
    labels = 2 * (points[:, 0] > 0) + (points[:, 1] > 0)
    return checked(points * [100, 0.1] + [500, -3], labels * 10, (), 'quadrants')


def train(pairs, epochs=6, seed=0, checkpoints=None, stop_after=None, **settings):
    config = NeuralPolicyConfig(hidden=(32,), epochs=epochs, batch_size=32, **settings)
    training = PairTraining(pairs, split_pairs(pairs, 0.2, 0), config, seed, checkpoints)
    training.resume()
    scores = training.run(lambda: stop_after is not None and training.epoch >= stop_after)
    return training, scores


def test_cross_entropy_by_hand():
    phase = NeuralPolicy(NeuralPolicyConfig(hidden=(4,), normalise=False), 2, 3, 0)
    with torch.no_grad():
        for parameter in phase.network.parameters():
            parameter.zero_()
        phase.network.logits.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    loss = phase.update(torch.ones(2, 2), torch.tensor([0, 2])).item()
    total = np.log(np.e + 2)
    assert loss == pytest.approx(((total - 1) + total) / 2, rel=1e-5)


def test_every_parameter_is_trained():
    phase = NeuralPolicy(NeuralPolicyConfig(hidden=(8,)), 2, 3, 0)
    before = [parameter.detach().clone() for parameter in phase.network.parameters()]
    phase.update(torch.randn(16, 2), torch.arange(16) % 3)
    pairs = zip(before, phase.network.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)


def test_learns_what_it_has_not_seen():
    training, scores = train(quadrants())
    assert scores.accuracy > 0.93
    assert scores.majority_accuracy < 0.4
    assert training.epoch == 6


def test_scores_are_those_of_the_rows_held_out_counted_by_hand():
    pairs = quadrants()
    training, scores = train(pairs, epochs=1)
    rows = split_pairs(pairs, 0.2, 0).held_out
    with torch.no_grad():
        answers = training.phase.network(torch.from_numpy(pairs.states[rows])).argmax(1).numpy()
    truth = pairs.actions[rows]
    assert scores.accuracy == pytest.approx((answers == truth).mean())
    assert scores.confusion[1, 2] == ((truth == 1) & (answers == 2)).sum()
    assert scores.confusion.sum() == len(rows)


def test_labels_that_mean_nothing_cannot_be_known_on_held_out_rows():
    """Two hundred passes learn the training rows by heart; that must not show in the score."""
    rng = np.random.default_rng(0)
    pairs = checked(rng.normal(size=(120, 8)), rng.integers(0, 2, 120), (), 'noise')
    _, scores = train(pairs, epochs=200)
    assert scores.accuracy < 0.75


def test_equal_states_are_never_on_both_sides():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(50, 3))[rng.integers(0, 50, 1000)]
    pairs = checked(states, rng.integers(0, 2, 1000), (), 'copies')
    split = split_pairs(pairs, 0.2, 0)
    training = {row.tobytes() for row in pairs.states[split.training]}
    held_out = {row.tobytes() for row in pairs.states[split.held_out]}
    assert not training & held_out
    assert sorted([*split.training, *split.held_out]) == list(range(1000))
    assert 150 < len(split.held_out) < 300


def test_data_that_cannot_be_split_are_refused():
    pairs = checked(np.ones((10, 2)), np.arange(10) % 2, (), 'one state')
    with pytest.raises(NotEnoughDataError, match='one state: all states are equal'):
        split_pairs(pairs, 0.1, 0)


def test_only_training_rows_decide_the_normalisation():
    pairs = quadrants()
    rows = split_pairs(pairs, 0.2, 0).training
    tensors, _ = train(pairs, epochs=1)[0].published()
    np.testing.assert_allclose(tensors['input_mean'], pairs.states[rows].mean(0), rtol=1e-5)
    np.testing.assert_allclose(tensors['input_std'], pairs.states[rows].std(0), rtol=1e-4)


def test_what_is_published_says_the_order_of_the_labels():
    _, policy = train(quadrants(), epochs=1)[0].published()
    assert (policy['kind'], policy['labels']) == ('categorical_mlp', [0, 10, 20, 30])


def test_going_on_equals_never_having_stopped(tmp_path):
    whole, _ = train(quadrants())
    train(quadrants(), checkpoints=CheckpointFolder(tmp_path), stop_after=2)
    second, _ = train(quadrants(), checkpoints=CheckpointFolder(tmp_path))
    assert (second.epoch, second.update) == (whole.epoch, whole.update)
    expected, found = whole.phase.state_dict(), second.phase.state_dict()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path):
    train(quadrants(), checkpoints=CheckpointFolder(tmp_path), stop_after=1)
    with pytest.raises(ConfigError, match='checkpoint: training_sum is'):
        train(quadrants(seed=1), checkpoints=CheckpointFolder(tmp_path))
    with pytest.raises(ConfigError, match='checkpoint: config is'):
        train(quadrants(), epochs=7, checkpoints=CheckpointFolder(tmp_path))


def test_a_loss_that_is_not_finite_stops_it():
    with pytest.raises(TrainingError, match='neural_policy: the loss is'):
        train(quadrants(), learning_rate=1e38, weight_decay=0.0)


def test_the_guides_network_reaches_its_accuracy_on_synthetic_pairs():
    """A fifth of the guide's 10 000 pairs and half its passes: the whole is in the README."""
    pairs = synthetic_pairs(2000, 0)
    config = NeuralPolicyConfig(epochs=10)
    scores = PairTraining(pairs, split_pairs(pairs, 0.2, 0), config, 0).run()
    assert scores.accuracy > 0.8
