import numpy as np
import pytest
from robot_learning.errors import NotEnoughDataError
from robot_learning.evaluation.nsca_baselines import cepstra, gradients, pixels, readings, ridge
from robot_learning.evaluation.nsca_pictures import (
    embedding_map,
    imagined_beside_real,
    reliability_curve,
    retrieval_sheet,
)
from robot_learning.evaluation.nsca_probe import fit_probe
from robot_learning.evaluation.nsca_scores import (
    Trial,
    accuracy,
    causal_accuracy,
    correlation,
    few_shot,
    mean_score,
    prototype_classification,
    retrieval,
)


def clusters(num_classes=6, per_class=10, spread=0.1, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    centres = np.random.default_rng(99).standard_normal((num_classes, 8))
    return centres[labels] + spread * rng.standard_normal((len(labels), 8)), labels


def test_a_probe_reads_off_what_a_line_can_and_nothing_else():
    rows, labels = clusters(3)
    asked, truth = clusters(3, seed=1)
    assert (fit_probe(rows, labels, 3).predict(asked) == truth).mean() > 0.95
    noise = np.random.default_rng(2).standard_normal((60, 4))
    guess = fit_probe(noise[:30], truth, 3)
    assert (guess.predict(noise[30:]) == truth).mean() < 0.7


def test_accuracy_has_wilsons_interval():
    score = accuracy(np.array([1, 1, 0, 1]), np.ones(4), 0.5)
    assert (score.value, score.count, score.chance) == (0.75, 4, 0.5)
    assert score.low == pytest.approx(0.301, abs=1e-3)
    assert score.high == pytest.approx(0.954, abs=1e-3)


def test_prototypes_and_few_shots_find_clusters_and_guess_noise():
    rows, labels = clusters()
    asked, truth = clusters(seed=1)
    assert prototype_classification(rows, labels, asked, truth).value > 0.95
    rng = np.random.default_rng(0)
    assert few_shot(rows, labels, 5, 5, rng, 40).value > 0.95
    noise = rng.standard_normal((60, 8))
    score = few_shot(noise, labels, 5, 1, rng, 200)
    assert score.low < 0.2 + 0.05 and score.high > 0.2 - 0.05 and score.chance == 0.2


def test_too_few_classes_are_named():
    rows, labels = clusters(num_classes=3)
    with pytest.raises(NotEnoughDataError, match='3 classes have 6 samples or more, expected 5'):
        few_shot(rows, labels, 5, 5, np.random.default_rng(0))


def test_retrieval_counts_hits_and_knows_its_chance():
    gallery = np.eye(4)
    query = np.array([[1.0, 0.9, 0, 0], [1.0, 0.9, 0, 0]])
    is_right = np.array([[True, False, False, False], [False, True, False, False]])
    assert retrieval(query, gallery, is_right, 1).value == 0.5
    assert retrieval(query, gallery, is_right, 2).value == 1.0
    assert retrieval(query, gallery, is_right, 1).chance == pytest.approx(0.25)
    two_right = np.array([[True, True, False, False]])
    # Two draws without repetition are both wrong with probability 2/4 * 1/3.
    assert retrieval(query[:1], gallery, two_right, 2).chance == pytest.approx(1 - 1 / 6)


def test_correlations_leave_unknown_values_out():
    truth = np.array([0.1, 0.2, np.nan, 0.4, 0.9])
    found = np.array([1.0, 4.0, 0.0, 9.0, 99.0])
    rng = np.random.default_rng(0)
    assert correlation(found, truth, 'spearman', rng).value == pytest.approx(1)
    assert correlation(found, truth, 'spearman', rng).count == 4
    assert correlation(found, truth, 'pearson', rng).value < 1
    assert np.isnan(correlation(np.ones(5), truth, 'pearson', rng).value)


def test_a_causal_answer_must_have_the_sign_and_beat_the_control():
    right = Trial(0.2, 0.8, 0.25, 0.5)
    wrong_sign = Trial(0.8, 0.2, 0.8, 0.5)
    lost_in_noise = Trial(0.2, 0.3, 0.6, 0.5)
    score = causal_accuracy([right, wrong_sign, lost_in_noise, right])
    assert (score.value, score.count, score.chance) == (0.5, 4, 0.25)


def test_guessing_gets_a_quarter_of_causal_trials():
    rng = np.random.default_rng(0)
    guesses = [Trial(0.0, *rng.standard_normal(2), rng.choice([-1.0, 1.0])) for _ in range(4000)]
    assert causal_accuracy(guesses).value == pytest.approx(0.25, abs=0.03)


def test_a_mean_lies_in_its_interval():
    score = mean_score(np.arange(100.0), np.random.default_rng(0))
    assert score.low < 49.5 < score.high and score.value == 49.5


def test_cheap_features_see_what_they_should():
    dark, bright = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    assert pixels(dark).max() == 0 and pixels(bright).min() == 1 and pixels(dark).shape == (768,)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    upright, lying = gradients(stripes), gradients(stripes.transpose(1, 0, 2))
    bins = upright.reshape(-1, 9).sum(0), lying.reshape(-1, 9).sum(0)
    assert bins[0].argmax() == 0 and bins[1].argmax() in (4, 5)
    time = np.arange(16_000) / 16_000
    low, again, high = (
        cepstra(np.sin(2 * np.pi * f * time).astype(np.float32)) for f in (300, 305, 3000)
    )
    assert np.linalg.norm(low - again) < 0.3 * np.linalg.norm(low - high)
    assert readings(np.array([[1.0, 2.0], [3.0, 2.0]])).tolist() == [2, 2, 1, 0, 3, 2]


def test_ridge_predicts_a_line_and_passes_over_unknown_rows():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 3))
    truth = np.stack([rows @ [1.0, 2.0, 0.0], np.full(50, np.nan)], axis=1)
    truth[0, 0] = np.nan
    found = ridge(rows, truth, rows, penalty=1e-6)
    np.testing.assert_allclose(found[1:, 0], truth[1:, 0], atol=1e-4)
    assert np.isnan(found[:, 1]).all()


def test_pictures_are_png():
    rows, labels = clusters()
    image = np.zeros((8, 8, 3), np.uint8)
    levels = np.linspace(0.1, 0.9, 9)
    state = np.random.default_rng(0).standard_normal((12, 6))
    for picture in (
        embedding_map(rows, labels, list('abcdef')),
        retrieval_sheet([image], [[image, image]], [[True, False]]),
        reliability_curve(levels, levels**2, 0.1),
        imagined_beside_real(state, state[5:9], np.ones((4, 6)), 4),
    ):
        assert picture.startswith(b'\x89PNG')
