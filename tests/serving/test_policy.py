import math

import numpy as np
import policies
import pytest
from robot_learning.errors import ModelRefusedError
from robot_learning.serving.policy import build_policy


def build(**changes):
    spec = policies.spec_for(policies.CONTRACT, **changes)
    return build_policy(policies.tensors_for(spec), {'policy': spec}, 'navigator@3')


@pytest.mark.parametrize('activation', ['relu', 'silu'])
@pytest.mark.parametrize('layer_norm', [False, True])
def test_actions_and_log_probs_equal_those_of_the_torch_policy(activation, layer_norm):
    torch = pytest.importorskip('torch')
    from robot_learning.models.actor_critic import GaussianTanhPolicy
    from torch.distributions import Normal, TanhTransform

    spec = policies.spec_for(policies.CONTRACT, activation=activation, layer_norm=layer_norm)
    tensors = policies.tensors_for(spec, seed=3)
    policy = build_policy(tensors, {'policy': spec}, 'x')
    oracle = GaussianTanhPolicy(spec['input_size'], 2, spec['hidden'], activation, layer_norm)
    oracle.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    rng = np.random.default_rng(0)
    for _ in range(20):
        features = rng.normal(size=spec['input_size']).astype(np.float32)
        noise = rng.normal(size=2)
        with torch.no_grad():
            mean, log_std = oracle(torch.tensor(features)[None])
            u = mean + log_std.exp() * torch.tensor(noise, dtype=torch.float32)
            density = Normal(mean.double(), log_std.double().exp()).log_prob(u.double())
            slope = TanhTransform().log_abs_det_jacobian(u.double(), torch.tanh(u.double()))
            log_prob = (density - slope).sum().item()
            mode = torch.tanh(mean)[0].numpy()
        found = policy.act(features, noise)
        low, high = policies.CONTRACT.action_low, policies.CONTRACT.action_high
        expected = low + (np.tanh(u[0].numpy()) + 1) / 2 * (high - low)
        np.testing.assert_allclose(found.action, expected, atol=2e-5)
        assert found.log_prob == pytest.approx(log_prob, abs=1e-3)
        np.testing.assert_allclose(
            policy.act(features).action, low + (mode + 1) / 2 * (high - low), atol=2e-5
        )


def test_zero_weights_give_the_middle_and_the_density_of_a_squashed_standard_normal():
    spec = policies.spec_for(policies.CONTRACT)
    policy = build_policy(policies.constant_tensors(spec, (0.0, 0.0)), {'policy': spec}, 'x')
    output = policy.act(np.ones(spec['input_size'], np.float32), np.zeros(2))
    np.testing.assert_allclose(output.action, [0.2, 0.0], atol=1e-6)
    # At u = 0 the slope of tanh is 1, so the density is that of two standard normals at 0.
    assert output.log_prob == pytest.approx(-math.log(2 * math.pi))


def test_actions_reach_but_never_pass_the_limits():
    spec = policies.spec_for(policies.CONTRACT)
    policy = build_policy(policies.constant_tensors(spec, (50.0, -50.0)), {'policy': spec}, 'x')
    action, log_prob = policy.act(np.zeros(spec['input_size'], np.float32), np.array([9.0, -9.0]))
    assert action[0] == policies.CONTRACT.action_high[0]
    assert action[1] == policies.CONTRACT.action_low[1]
    assert math.isfinite(log_prob)


def test_the_mode_has_no_log_prob():
    assert math.isnan(build().act(np.zeros(policies.NUM_FEATURES, np.float32)).log_prob)


def test_the_action_belongs_to_the_caller():
    policy = build()
    first = policy.act(np.zeros(policies.NUM_FEATURES, np.float32)).action
    kept = first.copy()
    policy.act(np.ones(policies.NUM_FEATURES, np.float32))
    np.testing.assert_array_equal(first, kept)


def broken(name, value):
    spec = policies.spec_for(policies.CONTRACT)
    tensors = policies.tensors_for(spec)
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value(tensors[name])
    build_policy(tensors, {'policy': spec}, 'navigator@3')


@pytest.mark.parametrize(
    ('name', 'value', 'text'),
    [
        ('mean.bias', None, r'navigator@3: tensor mean.bias is missing, expected shape \[2\]'),
        ('mean.weight', lambda t: t.T, r'mean.weight has shape \[8, 2\], expected \[2, 8\]'),
        ('trunk.0.weight', lambda t: t * np.nan, 'trunk.0.weight holds 256 values that are not'),
        ('input_std', lambda t: t * 0, 'input_std holds values that are not above zero'),
    ],
)
def test_broken_weights_are_refused_by_name(name, value, text):
    with pytest.raises(ModelRefusedError, match=text):
        broken(name, value)


def test_a_manifest_without_a_policy_is_refused():
    with pytest.raises(ModelRefusedError, match='navigator@3: its manifest has no policy block'):
        build_policy({}, {}, 'navigator@3')


def test_every_mistake_in_the_policy_block_is_named():
    spec = policies.spec_for(policies.CONTRACT, hidden=[0], activation='gelu', color='red')
    expected = r'(?s)policy: hidden.*activation.*color: unknown key'
    with pytest.raises(ModelRefusedError, match=expected):
        build_policy({}, {'policy': spec}, 'navigator@3')


def test_an_unknown_kind_is_refused_beside_those_there_are():
    spec = policies.spec_for(policies.CONTRACT, kind='table')
    expected = r"navigator@3: kind of policy 'table': unknown.*gaussian_tanh_mlp, gaussian_tanh_s"
    with pytest.raises(ModelRefusedError, match=expected):
        build_policy({}, {'policy': spec}, 'navigator@3')
