import bad_versions
import numpy as np
import policies
import pytest
from policies import CONTRACT
from robot_learning.serving.canary import Canary, CanaryConfig
from robot_learning.serving.gaussian_heads import PolicyOutput
from robot_learning.serving.policy import (
    build_policy,
)
from robot_learning.serving.version_checks import Served, random_features

SPEC = policies.spec_for(CONTRACT)
OBSERVATIONS = random_features(CONTRACT, 200, seed=3)
SPEED = 14  # Index of the speed among the features, in units of 0.5 m/s.


def served(tensors, version=1):
    policy = build_policy(tensors, policies.manifest_for(CONTRACT, SPEC), 'test')
    return Served(policy, 'navigator', version, 0, 0, '')


def constant(*u, version=1):
    return served(policies.constant_tensors(SPEC, u), version)


class Scripted:
    """A policy that answers a list of actions in turn."""

    def __init__(self, actions):
        self.actions = iter(actions)

    def fork(self):
        return self

    def act(self, features, noise=None, images=None):
        return PolicyOutput(np.asarray(next(self.actions), np.float32), 0.0)


def run(candidate, serving, observations=OBSERVATIONS, clock=None, **config):
    config = {'ticks': 20, **config}
    more = {} if clock is None else {'clock_ns': clock}
    canary = Canary(candidate, serving, CONTRACT, CanaryConfig(**config), **more)
    for features in observations:
        canary.observe(features)
    return canary


def test_an_equal_version_passes_after_the_ticks_asked_for():
    canary = run(constant(0.3, 0.1, version=2), constant(0.3, 0.1))
    assert canary.is_over
    report = canary.report()
    assert report.problem == ''
    assert (report.num_ticks, report.divergence, report.outside_share) == (20, 0, 0)


def test_it_is_not_over_before():
    canary = run(constant(0.3, 0.1), constant(0.3, 0.1), OBSERVATIONS[:19])
    assert not canary.is_over


def test_divergence_is_the_mean_distance_in_units_of_the_range():
    low, high = CONTRACT.action_low, CONTRACT.action_high
    # tanh(u) = -1 and +1 in the first component, equal in the second: mean of 1 and 0.
    canary = run(constant(50, 0), constant(-50, 0), max_divergence=1.0)
    assert canary.report().divergence == pytest.approx(0.5, abs=1e-6)
    assert np.all(high > low)


def test_a_version_that_differs_too_much_fails_by_name_and_number():
    problem = run(constant(50, 0), constant(-50, 0)).report().problem
    assert 'divergence from the serving version is 0.5, at most 0.35 is allowed' in problem


def test_one_nan_ends_it_at_once():
    band = bad_versions.sometimes_nan(SPEC, SPEED, 0.5, 0.6, (0.3, 0.1))
    calm, bad = np.zeros(policies.NUM_FEATURES, np.float32), np.zeros(16, np.float32)
    bad[SPEED] = 0.55
    canary = run(served(band, 2), constant(0.3, 0.1), [calm] * 7 + [bad])
    assert canary.is_over
    assert 'answers [nan, nan] to a live observation' in canary.report().problem
    assert 'step 8 in shadow' in canary.report().problem


def test_the_band_of_the_bad_version_is_narrow_and_its_weights_are_finite():
    tensors = bad_versions.sometimes_nan(SPEC, SPEED, 0.5, 0.6, (0.3, 0.1))
    assert all(np.isfinite(value).all() for value in tensors.values())
    policy = served(tensors).policy
    features = np.zeros(16, np.float32)
    for speed, is_finite in [(-6, True), (0.49, True), (0.55, False), (0.65, True), (6, True)]:
        features[SPEED] = speed
        with np.errstate(all='ignore'):
            assert np.isfinite(policy.act(features).action).all() == is_finite, speed


def test_observations_on_which_both_fail_say_nothing_about_the_new_one():
    band = bad_versions.sometimes_nan(SPEC, SPEED, 0.5, 0.6, (0.3, 0.1))
    bad = np.zeros(16, np.float32)
    bad[SPEED] = 0.55
    canary = run(served(band, 2), served(band), [bad] * 100)
    assert not canary.is_over
    assert canary.num_ticks == 0


def test_actions_beyond_the_limits_are_counted_before_any_gate():
    reckless = constant(0, 0)._replace(policy=Scripted([[0.2, 0], [0.7, 0]] * 10))
    canary = run(reckless, constant(0, 0))
    assert canary.report().outside_share == 0.5
    assert 'share of actions beyond the limits is 0.5, at most 0' in canary.report().problem


def test_a_version_that_the_gate_would_often_alter_fails_and_no_real_gate_is_touched():
    jerky = constant(0, 0)._replace(policy=Scripted([[0.2, 1.5], [0.2, -1.5]] * 10))
    config = {'max_divergence': 1.0}
    # 15 rad/s2 allow the full change within a period of 0.2 s: smooth.
    assert run(jerky, constant(0, 0), **config).report().problem == ''
    slow = policies.contracts.from_dict(
        {
            **policies.ROBOT,
            'actions': {'base': {**policies.ROBOT['actions']['base'], 'max_rate': [2.5, 1.0]}},
        }
    )
    jerky = constant(0, 0)._replace(policy=Scripted([[0.2, 1.5], [0.2, -1.5]] * 10))
    canary = Canary(jerky, constant(0, 0), slow, CanaryConfig(ticks=20, **config))
    for features in OBSERVATIONS:
        canary.observe(features)
    report = canary.report()
    assert (report.altered_share, report.altered_share_serving) == (1.0, 0.0)
    assert 'increase of what the gate would alter is 1' in report.problem


def test_a_decision_longer_than_the_control_period_ends_it_at_once():
    times = iter(range(0, 10**12, CONTRACT.control_period_ns + 1))
    canary = run(constant(0, 0), constant(0, 0), clock=lambda: next(times))
    assert canary.is_over
    assert canary.num_ticks == 0
    assert 'for one decision, the control period is 200.0 ms' in canary.report().problem


def test_decisions_that_take_too_much_of_the_period_fail_in_the_end():
    times = iter(range(0, 10**12, CONTRACT.control_period_ns // 4))
    canary = run(constant(0, 0), constant(0, 0), clock=lambda: next(times))
    assert canary.num_ticks == 20
    assert 'median decision time in ms is 50, at most 40 is allowed' in canary.report().problem


def test_a_version_that_raises_fails_and_nothing_is_raised():
    canary = run(constant(0, 0)._replace(policy=Scripted([])), constant(0, 0))
    assert 'raises StopIteration' in canary.report().problem
