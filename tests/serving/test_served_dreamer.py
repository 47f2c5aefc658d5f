import math

import numpy as np
import policies
import pytest
import torch
from policies import CONTRACT
from robot_learning import contract as contracts
from robot_learning.errors import ModelRefusedError
from robot_learning.models.dreamer_policy import published_policy
from robot_learning.models.imagination_heads import Actor
from robot_learning.models.rssm import Carry
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.serving.policy import build_policy
from robot_learning.serving.version_checks import load_version

LOW, HIGH = np.array([-0.1, -1.5]), np.array([0.5, 1.5])
SIZES = {'deter': 24, 'hidden': 12, 'groups': 5, 'classes': 3, 'blocks': 3, 'depth': 2}
SEEING = {'camera': (16, 24, 3), 'rear.camera': (8, 8, 1)}


def networks(seed=0, images=None, input_size=6, kind='bounded_normal', **changes):
    """A world model and an actor whose every weight matters."""
    generator = torch.Generator().manual_seed(seed)
    config = WorldModelConfig(**(SIZES | changes))
    model = WorldModel(input_size, 2, config, images=images, generator=generator)
    actor = Actor(model.feature_size, 2, units=10, layers=2, kind=kind)
    actor.initialise(generator)
    with torch.no_grad():
        for network in (model, actor):
            for parameter in network.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.2 * noise)
    return model, actor


def version(model, actor, low=LOW, high=HIGH):
    tensors, spec = published_policy(model, actor, low, high)
    return {name: tensor.numpy() for name, tensor in tensors.items()}, spec


def build(model, actor):
    tensors, spec = version(model, actor)
    return build_policy(tensors, {'policy': spec}, 'dreamer@1')


def observations(count, images=None, input_size=6, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 3, (count, input_size)).astype(np.float32)
    pictures = {
        name: rng.integers(0, 256, (count, *shape), np.uint8)
        for name, shape in (images or {}).items()
    }
    return features, [{name: p[t] for name, p in pictures.items()} for t in range(count)]


@torch.no_grad()
def torch_step(model, actor, carry, features, pictures, is_first):
    """One step of the torch modules in their modes; return raw outputs, action and carry."""
    batch = {f'image/{name}': torch.from_numpy(p)[None, None] for name, p in pictures.items()}
    batch['observation'] = torch.from_numpy(features)[None, None]
    batch['is_first'] = torch.tensor([[is_first]])
    batch['action'] = torch.zeros(1, 1, 2)
    state = model.observe(batch, carry).carry.state
    if model.config.latent == 'gaussian':
        stoch = state.parameters[..., 0]
    else:
        best = state.parameters.argmax(-1)
        stoch = torch.nn.functional.one_hot(best, model.rssm.config.classes).float().flatten(-2)
    state = state._replace(stoch=stoch)
    read = model.features(state)
    raw = actor.output(actor.trunk(read))
    return raw, actor.distribution(raw), state


@pytest.mark.parametrize(
    ('images', 'changes'),
    [
        (None, {}),
        (SEEING, {}),
        (None, {'latent': 'gaussian'}),
        (None, {'blocks': 1, 'encoder_layers': 1}),
        ({'camera': (64, 64, 3)}, {'kind': 'tanh_normal'}),
    ],
)
def test_equals_the_torch_modules_over_episodes_with_resets(images, changes):
    model, actor = networks(images=images, **changes)
    policy = build(model, actor)
    features, pictures = observations(25, images)
    carry = None
    for t in range(25):
        is_first = t in (0, 7, 8, 20)
        if is_first:
            policy.reset()
        _, distribution, state = torch_step(
            model, actor, carry, features[t], pictures[t], is_first
        )
        action = distribution.mode()
        carry = Carry(state, action)
        expected = LOW + (action[0].numpy() + 1) / 2 * (HIGH - LOW)
        found = policy.act(features[t], images=pictures[t])
        np.testing.assert_allclose(found.action, expected, atol=1e-5)
        assert math.isnan(found.log_prob)


@pytest.mark.parametrize('kind', ['bounded_normal', 'tanh_normal'])
def test_drawn_actions_and_their_likelihood_are_the_distributions(kind):
    model, actor = networks(kind=kind)
    policy = build(model, actor)
    features, pictures = observations(10)
    noise = np.random.default_rng(1).normal(0, 1, (10, 2))
    for t in range(10):
        policy.reset()
        raw, distribution, _ = torch_step(model, actor, None, features[t], pictures[t], True)
        mean, spread = raw[0].double().chunk(2)
        if kind == 'bounded_normal':
            std = 0.1 + 0.9 * torch.sigmoid(spread + 2)
            drawn = torch.tanh(mean) + std * torch.from_numpy(noise[t])
        else:
            drawn = mean + spread.clamp(-5, 2).exp() * torch.from_numpy(noise[t])
        action = distribution.executed(drawn.float()[None])[0].numpy()
        found = policy.act(features[t], noise[t])
        expected = LOW + (action + 1) / 2 * (HIGH - LOW)
        np.testing.assert_allclose(found.action, expected, atol=1e-5)
        log_prob = distribution.log_prob(drawn.float()[None]).item()
        assert found.log_prob == pytest.approx(log_prob, abs=2e-3)


def test_choices_are_drawn_as_often_as_they_are_likely():
    model, actor = networks(kind='categorical')
    policy = build(model, actor)
    features, pictures = observations(1)
    _, distribution, _ = torch_step(model, actor, None, features[0], pictures[0], True)
    likely = distribution.mode()[0].numpy()
    np.testing.assert_array_equal(policy.act(features[0]).action, likely)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1500):
        policy.reset()
        found = policy.act(features[0], rng.standard_normal(2))
        one_hot = torch.from_numpy(found.action)[None]
        assert found.log_prob == pytest.approx(distribution.log_prob(one_hot).item(), abs=1e-4)
        drawn.append(found.action)
    share = distribution.log_prob(torch.tensor([[1.0, 0.0]])).exp().item()
    assert np.mean(drawn, 0)[0] == pytest.approx(share, abs=4 * math.sqrt(0.25 / 1500))


def test_what_was_done_matters_for_what_is_believed():
    model, actor = networks()
    features, _ = observations(2)
    answers = []
    for noise in (np.array([2.0, 2.0]), np.array([-2.0, -2.0])):
        policy = build(model, actor)
        policy.act(features[0], noise)
        answers.append(policy.act(features[1]).action)
    assert np.abs(answers[0] - answers[1]).max() > 1e-4


def test_it_remembers_what_was_carried_out_instead_of_what_it_wanted():
    """The gate changed the command: the next belief follows from what the robot did."""
    model, actor = networks()
    policy = build(model, actor)
    features, pictures = observations(2)
    _, _, state = torch_step(model, actor, None, features[0], pictures[0], True)
    done = torch.tensor([[0.25, -0.5]])
    _, distribution, _ = torch_step(
        model, actor, Carry(state, done), features[1], pictures[1], False
    )
    policy.act(features[0])
    policy.executed(LOW + (done[0].numpy() + 1) / 2 * (HIGH - LOW))
    expected = LOW + (distribution.mode()[0].numpy() + 1) / 2 * (HIGH - LOW)
    np.testing.assert_allclose(policy.act(features[1]).action, expected, atol=1e-5)


def test_a_fork_begins_empty_and_disturbs_nothing():
    model, actor = networks()
    features, _ = observations(8)
    expected = [build(model, actor).act(features[0]).action]
    policy = build(model, actor)
    whole = [policy.act(row).action for row in features]
    policy.reset()
    for t, row in enumerate(features):
        np.testing.assert_array_equal(policy.act(row).action, whole[t])
        np.testing.assert_array_equal(policy.fork().act(features[0]).action, expected[0])


@pytest.mark.parametrize(
    ('name', 'value', 'text'),
    [
        ('rssm.recurrence.gates.weight', None, r'gates.weight is missing, expected.*\[3, 8, 24\]'),
        ('actor.output.bias', np.zeros(3), r'actor.output.bias has shape \[3\], expected \[4\]'),
        ('rssm.posterior_norm.bias', np.full(12, np.inf), 'posterior_norm.bias holds 12 values'),
    ],
)
def test_broken_weights_are_refused_by_name(name, value, text):
    tensors, spec = version(*networks())
    tensors[name] = value
    tensors = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    with pytest.raises(ModelRefusedError, match=text):
        build_policy(tensors, {'policy': spec}, 'dreamer@1')


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'blocks': 5}, 'blocks 5 do not divide deter 24'),
        ({'images': {'camera': [7, 7, 3]}}, 'pictures of 7 x 7 cannot be halved'),
        ({'distribution': 'dice'}, 'distribution'),
    ],
)
def test_impossible_sizes_are_refused_by_name(change, text):
    tensors, spec = version(*networks())
    with pytest.raises(ModelRefusedError, match=f'dreamer@1: manifest: policy.*{text}'):
        build_policy(tensors, {'policy': spec | change}, 'dreamer@1')


class Shelf:
    """A store of one version."""

    def __init__(self, tensors, manifest):
        self.content = tensors, manifest

    def load(self, name, version):
        return self.content


def seeing_robot():
    camera = {
        'topic': 'camera/image_raw',
        'type': 'sensor_msgs/msg/Image',
        'shape': [16, 16, 3],
        'dtype': 'uint8',
    }
    observation = policies.ROBOT['observation'] | {'camera': camera}
    return contracts.from_dict(policies.ROBOT | {'observation': observation})


def seeing_version(contract, shape=(16, 16, 3)):
    made = networks(images={'camera': shape}, input_size=policies.NUM_FEATURES)
    tensors, spec = version(*made, contract.action_low, contract.action_high)
    return Shelf(tensors, policies.manifest_for(contract, spec))


def test_a_version_that_sees_passes_its_checks_where_pictures_come():
    contract = seeing_robot()
    served = load_version(seeing_version(contract), 'dreamer', 1, contract, images=['camera'])
    assert served.policy.spec.image_shapes() == {'camera': (16, 16, 3)}


def test_a_version_that_sees_is_refused_where_no_pictures_come():
    contract = seeing_robot()
    with pytest.raises(ModelRefusedError, match='dreamer@1: looks at pictures camera, which it'):
        load_version(seeing_version(contract), 'dreamer', 1, contract, images=[])


def test_pictures_of_another_size_or_robot_are_refused():
    contract = seeing_robot()
    shelf = seeing_version(contract, (32, 32, 3))
    with pytest.raises(ModelRefusedError, match=r'pictures camera \[32, 32, 3\], rover has \[16'):
        load_version(shelf, 'dreamer', 1, contract)
    with pytest.raises(ModelRefusedError, match='rover has no such field'):
        load_version(shelf, 'dreamer', 1, CONTRACT)
