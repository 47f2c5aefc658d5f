"""The published actor, evaluated by numpy code written from its description alone."""

import numpy as np
import pytest
import torch
from robot_learning.models.dreamer_policy import published_policy
from robot_learning.models.imagination_heads import Actor
from robot_learning.models.rssm import Carry, State
from robot_learning.models.world_model import WorldModel, WorldModelConfig

LOW, HIGH = np.array([-1.0, 0.0]), np.array([1.0, 4.0])


def make(kind='bounded_normal', latent='categorical', images=None, blocks=2, input_size=5):
    generator = torch.Generator().manual_seed(0)
    config = WorldModelConfig(
        deter=16,
        hidden=8,
        depth=2,
        groups=3,
        classes=4,
        blocks=blocks,
        latent=latent,
        encoder_layers=2,
        num_bins=9,
    )
    model = WorldModel(input_size, 2, config, images=images, generator=generator)
    actor = Actor(model.feature_size, 2, units=8, layers=2, kind=kind)
    actor.initialise(generator)
    with torch.no_grad():  # Nothing may be right only because it is 0 or 1.
        for parameter in (*model.parameters(), *actor.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model, actor


def sigmoid(y):
    return 1 / (1 + np.exp(-y))


def silu(y):
    return y * sigmoid(y)


class Described:
    """Follows the docstring of models/dreamer_policy.py."""

    def __init__(self, tensors, block):
        self.tensors = {name: tensor.double().numpy() for name, tensor in tensors.items()}
        self.block = block
        groups, classes = block['groups'], block['classes']
        self.deter = np.zeros(block['deter'])
        categorical = block['latent'] == 'categorical'
        self.stoch = np.zeros(groups * classes if categorical else groups)
        self.action = np.zeros(block['action_size'])

    def linear(self, name, x):
        y = self.tensors[f'{name}.weight'] @ x
        return y + self.tensors.get(f'{name}.bias', 0)

    def norm(self, name, y):
        scaled = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
        return scaled * self.tensors[f'{name}.weight'] + self.tensors[f'{name}.bias']

    def dense(self, name, x):
        return silu(self.norm(f'{name}.norm', self.linear(name, x)))

    def embedding(self, features, images):
        parts = []
        if self.block['input_size']:
            x = np.sign(features) * np.log1p(np.abs(features))
            for i in range(self.block['encoder_layers']):
                x = self.dense(f'vector_encoder.layers.{i}', x)
            parts.append(x)
        for name in self.block['images']:
            prefix = f'image_encoders.{name.replace(".", "_")}'
            x = images[name].astype(np.float64).transpose(2, 0, 1) / 255
            i = 0
            while f'{prefix}.convolutions.{i}.weight' in self.tensors:
                x = self.convolve(f'{prefix}.convolutions.{i}', x)
                x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
                weight, bias = (
                    self.tensors[f'{prefix}.norms.{i}.{p}'] for p in ('weight', 'bias')
                )
                x = silu(x * weight[:, None, None] + bias[:, None, None])
                i += 1
            parts.append(x.ravel())
        return np.concatenate(parts)

    def convolve(self, name, x):
        weight, bias = self.tensors[f'{name}.weight'], self.tensors[f'{name}.bias']
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        rows, columns = x.shape[1] // 2, x.shape[2] // 2
        out = np.empty((len(weight), rows, columns))
        for r in range(rows):
            for c in range(columns):
                patch = padded[:, 2 * r : 2 * r + 4, 2 * c : 2 * c + 4]
                out[:, r, c] = (weight * patch).sum((1, 2, 3)) + bias
        return out

    def recur(self):
        hidden = [
            self.dense(f'rssm.{name}_input', getattr(self, name))
            for name in ('deter', 'stoch', 'action')
        ]
        x = self.linear('rssm.recurrence.input', np.concatenate(hidden))
        size = self.block['deter'] // self.block['blocks']
        parts = [slice(g * size, (g + 1) * size) for g in range(self.block['blocks'])]
        for g, part in enumerate(parts):
            x[part] += self.deter[part] @ self.tensors['rssm.recurrence.state.weight'][g]
        x = silu(self.norm('rssm.recurrence.norm', x))
        for g, part in enumerate(parts):
            gates = x[part] @ self.tensors['rssm.recurrence.gates.weight'][g]
            gates += self.tensors['rssm.recurrence.gates_bias'][g, 0]
            reset, candidate, update = gates.reshape(3, size)
            c = np.tanh(sigmoid(reset) * candidate)
            self.deter[part] += sigmoid(update - 1) * (c - self.deter[part])

    def step(self, features, images):
        seen = self.embedding(features, images)
        self.recur()
        y = self.linear('rssm.posterior_embedding', seen)
        y = y + self.linear('rssm.posterior_deter', self.deter)
        raw = self.linear('rssm.posterior_output', silu(self.norm('rssm.posterior_norm', y)))
        if self.block['latent'] == 'gaussian':
            self.stoch = raw[: self.block['groups']]
        else:
            rows = raw.reshape(self.block['groups'], self.block['classes'])
            self.stoch = np.eye(self.block['classes'])[rows.argmax(1)].ravel()
        x = np.concatenate([self.deter, self.stoch])
        for i in range(self.block['actor_layers']):
            x = self.dense(f'actor.trunk.{i}', x)
        self.action = self.chosen(self.linear('actor.output', x))
        return self.action

    def chosen(self, raw):
        size, kind = self.block['action_size'], self.block['distribution']
        return np.eye(size)[raw.argmax()] if kind == 'categorical' else np.tanh(raw[:size])


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {'kind': 'tanh_normal', 'latent': 'gaussian', 'blocks': 1},
        {'kind': 'categorical', 'images': {'front.camera': (16, 24, 3)}},
        {'input_size': 0, 'images': {'a': (8, 8, 1), 'b': (16, 16, 3)}},
    ],
    ids=['vector', 'gaussian', 'both', 'images'],
)
def test_the_description_suffices_to_act_as_the_model_does(settings):
    model, actor = make(**settings)
    tensors, block = published_policy(model, actor, LOW, HIGH)
    described = Described(tensors, block)
    generator = torch.Generator().manual_seed(1)
    state, action = model.rssm.initial(1), torch.zeros(1, 2)
    for step in range(3):
        features = 3 * torch.randn(block['input_size'], generator=generator)
        images = {
            name: torch.randint(0, 256, tuple(shape), generator=generator, dtype=torch.uint8)
            for name, shape in block['images'].items()
        }
        batch = {'observation': features[None, None], 'action': action[:, None]}
        batch |= {f'image/{name}': image[None, None] for name, image in images.items()}
        batch['is_first'] = torch.tensor([[step == 0]])
        with torch.no_grad():
            state = model.observe(batch, Carry(state, action)).carry.state
            state = likeliest(state, block['latent'])
            action = actor(model.features(state)).mode()
        found = described.step(features.numpy(), {k: v.numpy() for k, v in images.items()})
        np.testing.assert_allclose(found, action[0].numpy(), atol=1e-4)
        np.testing.assert_allclose(described.deter, state.deter[0].numpy(), atol=1e-4)


def likeliest(state, latent):
    if latent == 'gaussian':
        return State(state.deter, state.parameters[..., 0], state.parameters)
    size = state.parameters.shape[-1]
    one_hot = torch.eye(size)[state.parameters.argmax(-1)].flatten(-2)
    return State(state.deter, one_hot, state.parameters)


def test_no_decoder_head_or_prior_is_published():
    tensors, block = published_policy(*make(images={'camera': (8, 8, 3)}), LOW, HIGH)
    assert not [
        name
        for name in tensors
        if any(part in name for part in ('decoder', 'reward', 'continuation', 'prior'))
    ]
    assert block['kind'] == 'dreamer'
    assert block['action_high'] == [1.0, 4.0]
    assert block['images'] == {'camera': [8, 8, 3]}
