"""Rewards and ends read off states, on states that say them outright."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from robot_learning.errors import DataError
from robot_learning.evaluation.nsca_features import Sequences
from robot_learning.evaluation.nsca_outcomes import outcome_lines
from robot_learning.evaluation.nsca_suites import property_lines
from robot_learning.models.nsca.dynamics import Future
from robot_learning.models.nsca.heads import Outcomes
from robot_learning.trajectory.paired_arrays import from_arrays

STEPS = 8
RNG = np.random.default_rng(0)


def outcomes_of(count=12):
    """Rewards at random, every second window terminates, the others are truncated."""
    outcome = np.zeros((count, STEPS, 3), np.float32)
    outcome[:, :, 0] = RNG.normal(size=(count, STEPS))
    outcome[::2, -1, 1] = 1
    outcome[1::2, -1, 2] = 1
    outcome[:, 0, 0] = np.nan
    return outcome


def measured(outcome, states, has_outcomes=True):
    """Measure a version whose states are reward and logit, and whose futures are the truth."""
    truth = torch.from_numpy(states)

    def imagine(past, past_actions, actions):
        begin, steps = past.shape[1], actions.shape[1]
        return Future(truth[:, begin : begin + steps], torch.zeros(1))

    world = SimpleNamespace(scaled=lambda x: x, imagine=imagine)
    model = SimpleNamespace(world=world, outcomes=lambda x: Outcomes(x[..., 0], x[..., 1]))
    version = SimpleNamespace(model=model, has_outcomes=has_outcomes, where='toy@1')
    paired = from_arrays('toy', {'outcome': list(outcome)}, [0] * len(outcome), ('thing',))
    sequences = Sequences(truth, torch.zeros(len(truth), STEPS, 2), truth, np.zeros(0))
    lines = outcome_lines(version, sequences, paired, 3, 0)
    return {line.what: line.score for line in lines}


def test_states_that_say_the_truth_have_no_error_and_tell_ends_from_truncations():
    outcome = outcomes_of()
    found = measured(outcome, np.nan_to_num(outcome[:, :, :2]))
    assert found['reward, squared error over the mean'].value == pytest.approx(0, abs=1e-10)
    assert found['reward, squared error over the mean'].count == 12 * (STEPS - 1)
    assert found['end, area under the curve'].value == 1
    ahead = found['reward 3 steps ahead, squared error over the mean']
    assert (ahead.value, ahead.count) == (pytest.approx(0, abs=1e-10), 12)


def test_saying_the_mean_is_chance_and_taking_a_truncation_for_an_end_costs_half():
    outcome = outcomes_of()
    states = np.zeros((12, STEPS, 2), np.float32)
    states[:, :, 0] = np.nanmean(outcome[:, :, 0])
    states[:, -1, 1] = 1  # Ended or truncated alike.
    found = measured(outcome, states)
    assert found['reward, squared error over the mean'].value == pytest.approx(1, rel=1e-5)
    # Of 90 others, 6 truncated ones tie with each end and 84 lie below.
    assert found['end, area under the curve'].value == pytest.approx((84 + 3) / 90)


def test_a_version_that_never_learned_them_is_named():
    outcome = outcomes_of()
    with pytest.raises(DataError, match='toy@1: never learned rewards and ends'):
        measured(outcome, np.nan_to_num(outcome[:, :, :2]), has_outcomes=False)


def test_properties_of_objects_are_what_their_recordings_say_together():
    truth = np.repeat(np.linspace(0, 1, 6), 2)  # Two recordings of each object.
    said = truth + np.tile([0.5, -0.5], 6)  # One too much, the other as much too little.
    known = np.full((12, 9), np.nan, np.float32)
    known[:, 0] = truth
    paired = from_arrays(
        'toy', {'properties': list(known)}, [0] * 12, ('thing',), groups=list('aabbccddeeff')
    )
    values = np.repeat(said[:, None], 9, axis=1)
    sequences = Sequences(torch.zeros(0), torch.zeros(0), torch.zeros(0), values)
    found = {line.what: line.score for line in property_lines(sequences, paired, None, 0)}
    assert found['hardness, spearman'].value < 0.8
    objects = found['hardness of objects, spearman']
    assert (objects.value, objects.count) == (pytest.approx(1), 6)
    assert found['mean of Spearman over properties of objects'].value == pytest.approx(1)
