import math

import numpy as np
import policies
import pytest
import torch
from robot_learning.errors import ModelRefusedError
from robot_learning.models.distributions import squashed_log_prob
from robot_learning.models.sequence_policy import SequencePolicy, initialise_sequence_policy
from robot_learning.serving.policy import build_policy
from robot_learning.serving.version_checks import load_version, random_features

CONTRACT = policies.CONTRACT
MEMORIES = pytest.mark.parametrize('memory', ['gru', 'lstm'])
SIZE = policies.NUM_FEATURES


def network(memory, seed=0, **settings):
    """A network whose memory matters: all weights are large."""
    made = SequencePolicy(SIZE, 2, (16, 12), memory, 10, **settings)
    initialise_sequence_policy(made, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.5)
        made.input_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))
        made.input_std.uniform_(0.5, 2, generator=torch.Generator().manual_seed(seed))
    return made


def version(made):
    """Return the arrays and manifest of a published network."""
    tensors, spec = made.published(CONTRACT.action_low, CONTRACT.action_high)
    arrays = {name: value.numpy() for name, value in tensors.items()}
    return arrays, policies.manifest_for(CONTRACT, spec)


def build(made):
    return build_policy(*version(made), 'navigator@3')


def observations(count, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (count, SIZE)).astype(np.float32)


def actions(policy, features):
    return np.stack([policy.act(row).action for row in features])


@MEMORIES
@pytest.mark.parametrize(('activation', 'layer_norm'), [('relu', False), ('silu', True)])
def test_equals_the_torch_module_over_episodes_with_resets(memory, activation, layer_norm):
    made = network(memory, activation=activation, layer_norm=layer_norm)
    features, starts = observations(60), (0, 13, 14, 40)
    is_first = torch.zeros(1, 60, dtype=torch.bool)
    is_first[0, list(starts)] = True
    noise = np.random.default_rng(1).normal(0, 1, (60, 2))
    with torch.no_grad():
        mean, log_std, _ = made(torch.from_numpy(features)[None], is_first)
    low, high = (np.asarray(limit) for limit in (CONTRACT.action_low, CONTRACT.action_high))
    policy, drawing = build(made), build(made)
    for t in range(60):
        if t in starts:
            policy.reset()
            drawing.reset()
        squashed = torch.tanh(mean[0, t]).numpy()
        np.testing.assert_allclose(
            policy.act(features[t]).action, low + (squashed + 1) / 2 * (high - low), atol=1e-5
        )
        action, log_prob = drawing.act(features[t], noise[t])
        u = mean[0, t].double() + log_std[0, t].double().exp() * torch.from_numpy(noise[t])
        np.testing.assert_allclose(
            action, low + (torch.tanh(u).numpy() + 1) / 2 * (high - low), atol=1e-5
        )
        if u.abs().max() < 5:
            expected = squashed_log_prob(
                mean[0, t].double(), log_std[0, t].double(), torch.tanh(u)
            )
            assert log_prob == pytest.approx(expected.item(), abs=1e-3)


@MEMORIES
def test_what_was_seen_matters_until_the_reset(memory):
    policy, features = build(network(memory)), observations(6)
    first = actions(policy, features)
    later = actions(policy, features)
    assert np.abs(later[0] - first[0]).max() > 1e-3
    policy.reset()
    np.testing.assert_array_equal(actions(policy, features), first)


@MEMORIES
def test_a_fork_remembers_for_itself(memory):
    policy, features = build(network(memory)), observations(12)
    expected = actions(build(network(memory)), features)
    actions(policy, features[:6])
    fork = policy.fork()
    np.testing.assert_array_equal(actions(fork, features), expected)  # It begins empty,
    np.testing.assert_array_equal(actions(policy, features[6:]), expected[6:])  # disturbs none.


def test_a_feed_forward_policy_forks_into_an_equal_one():
    spec = policies.spec_for(CONTRACT)
    policy = build_policy(policies.tensors_for(spec), {'policy': spec}, 'x')
    fork, features = policy.fork(), observations(5)
    policy.reset()
    np.testing.assert_array_equal(actions(fork, features), actions(policy, features))


@MEMORIES
def test_the_action_belongs_to_the_caller(memory):
    policy, features = build(network(memory)), observations(2)
    first = policy.act(features[0]).action
    kept = first.copy()
    policy.act(features[1])
    np.testing.assert_array_equal(first, kept)


def test_the_mode_has_no_log_prob():
    assert math.isnan(build(network('gru')).act(observations(1)[0]).log_prob)


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'memory.weight_hh_l0': None}, r'memory.weight_hh_l0 is missing, expected .*\[30, 10\]'),
        ({'memory.bias_ih_l0': np.zeros(7, np.float32)}, r'bias_ih_l0 has shape \[7\], exp.*30'),
        ({'memory.bias_hh_l0': np.full(30, np.nan, np.float32)}, 'bias_hh_l0 holds 30 values'),
    ],
)
def test_a_broken_memory_is_refused_by_name(change, text):
    tensors, manifest = version(network('gru'))
    changed = {name: value for name, value in (tensors | change).items() if value is not None}
    with pytest.raises(ModelRefusedError, match=text):
        build_policy(changed, manifest, 'navigator@3')


def test_an_unknown_memory_is_refused_by_name():
    tensors, manifest = version(network('gru'))
    manifest['policy']['memory'] = 'elephant'
    with pytest.raises(ModelRefusedError, match=r'navigator@3: manifest: policy: memory.*gru'):
        build_policy(tensors, manifest, 'navigator@3')


class Shelf:
    """A store of one version."""

    def __init__(self, tensors, manifest):
        self.content = tensors, manifest

    def load(self, name, version):
        return self.content


@MEMORIES
def test_a_version_that_passed_its_checks_remembers_none_of_their_observations(memory):
    served = load_version(Shelf(*version(network(memory))), 'navigator', 1, CONTRACT)
    features = observations(4)
    expected = actions(build(network(memory)), features)
    np.testing.assert_array_equal(actions(served.policy, features), expected)


def test_a_memory_that_overflows_in_time_is_refused():
    """Each answer is finite for itself; the state of a runaway memory is not."""
    tensors, manifest = version(network('gru'))
    for name in ('mean.weight', 'log_std.weight'):
        tensors[name] = np.full_like(tensors[name], 3e38)
        tensors[name][:, ::2] = -3e38  # Infinite less infinite once the memory has grown.
    probes = random_features(CONTRACT)
    with pytest.raises(ModelRefusedError, match='to stored observation'):
        load_version(Shelf(tensors, manifest), 'navigator', 1, CONTRACT, probes)
