import dataclasses

import numpy as np
import pytest
import torch
from point_mass import episodes, point_contract
from robot_learning import contract as contracts
from robot_learning.errors import ConfigError, ModelRefusedError
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.phases import recipe
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import PHASES, PolicySpace, TrainingData, Windows
from robot_learning.phases.validation import Validation
from robot_learning.phases.world_model import WorldModelPhase, WorldModelPhaseConfig
from robot_learning.phases.world_model_losses import WorldModelLossConfig
from robot_learning.serving.policy import build_policy

TINY = {'deter': 16, 'hidden': 16, 'depth': 2, 'groups': 4, 'classes': 4, 'blocks': 2}
SPACE = PolicySpace(
    3,
    np.array([-2.0, -1.0], np.float32),
    np.array([2.0, 1.0], np.float32),
    {'vector/a': slice(0, 2), 'vector/b': slice(2, 3)},
    {'camera': (16, 16, 3)},
)


def make(space=SPACE, seed=0, latent='categorical', **settings):
    model = WorldModelConfig(**TINY, latent=latent)
    settings = {'batch_size': 4, 'batch_length': 6, **settings}
    return WorldModelPhase(WorldModelPhaseConfig(model=model, **settings), space, seed)


def windows(space=SPACE, batch_size=4, length=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    is_first = torch.rand(batch_size, length, generator=generator) < 0.2
    is_first[:, 0] = True
    batch = {
        'observation': torch.randn(batch_size, length, 3, generator=generator),
        'action': torch.rand(batch_size, length, 2, generator=generator) * 2 - 1,
        'reward': torch.randn(batch_size, length, generator=generator),
        'terminated': torch.rand(batch_size, length, generator=generator) < 0.1,
        'truncated': torch.zeros(batch_size, length, dtype=torch.bool),
        'is_first': is_first,
    }
    for name, shape in space.images.items():
        batch[f'image/{name}'] = torch.randint(
            0, 256, (batch_size, length, *shape), dtype=torch.uint8, generator=generator
        )
    return batch


def equal(left, right):
    assert set(left) == set(right)
    return [key for key in left if not torch.equal(left[key], right[key])] == []


def test_it_is_registered_and_draws_windows():
    assert PHASES.get('world_model') is WorldModelPhase
    assert make().draws == Windows(4, 6)


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
def test_predicts_a_point_on_episodes_it_has_not_seen(latent):
    experience = Experience(point_contract(), 10_000, seed=0)
    experience.append(episodes(60, seed=0), 'random')
    validation = Validation(experience, episodes(15, seed=1))
    phase = make(experience.space, latent=latent, batch_size=12, learning_rate=4e-3)
    before = validation.measure(phase)
    for _ in range(100):
        phase.update(experience.sample(phase.draws))
    after = validation.measure(phase)
    assert after['held_out/loss'] < 0.6 * before['held_out/loss']
    for name in ('vector/place', 'reconstruction', 'reward', 'continuation'):
        key = f'held_out/{name}'.replace('vector', 'reconstruction/vector')
        assert after[key] < 0.7 * before[key], key


def test_going_on_from_a_state_equals_never_having_stopped():
    whole, first, second = make(), make(), make(seed=9)
    for index in range(3):
        for phase in (whole, first):
            phase.update(windows(seed=index))
    second.load_state_dict(first.state_dict())
    for index in range(3, 6):
        metrics = [phase.update(windows(seed=index)) for phase in (whole, second)]
        assert equal(*metrics)
    assert equal(whole.state_dict(), second.state_dict())


def test_every_parameter_is_trained():
    phase = make()
    before = phase.model.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    for index in range(2):  # The reward's trunk moves once its output is not 0 any more.
        phase.update(windows(seed=index))
    after = phase.model.state_dict()
    assert [key for key in before if torch.equal(before[key], after[key])] == []


def test_measuring_changes_nothing_and_repeats():
    phase = make()
    phase.update(windows())
    before = phase.state_dict()
    first, second = phase.evaluate(windows(seed=5)), phase.evaluate(windows(seed=5))
    assert equal(first, second)
    assert equal(before, phase.state_dict())
    names = {'loss', 'reconstruction', 'reward', 'continuation', 'kl'}
    names |= {f'reconstruction/{part}' for part in ('vector/a', 'vector/b', 'image/camera')}
    assert names <= set(first)


def faint_windows(seed, batch_size=12, length=3):
    """Eight numbers, one half of them 0.1 or -0.1 throughout a window, the other likewise."""
    generator = torch.Generator().manual_seed(seed)
    sign = torch.randint(0, 2, (batch_size, 1, 2), generator=generator).float() * 2 - 1
    batch = windows(batch_size=batch_size, length=length, seed=seed)
    return {**batch, 'observation': (0.1 * sign).repeat(1, length, 4)}


def test_what_varies_little_is_predicted_too():
    """By its size alone its error costs less than remembering it, and its mean is predicted."""
    space = PolicySpace(8, SPACE.action_low, SPACE.action_high, {'faint': slice(0, 8)})
    data = faint_windows(99)
    rows = TrainingData(data['observation'].flatten(0, 1).numpy(), np.zeros(0), np.zeros(0))
    unexplained = {}
    for scale in (10.0, None):
        loss = WorldModelLossConfig(free_nats=0.0)
        phase = make(space, learning_rate=2e-2, loss=loss, block_scale=scale)
        phase.prepare(rows)
        for index in range(80):
            phase.update(faint_windows(index))
        error = phase.evaluate(data)['reconstruction/faint'].item()
        unexplained[scale] = error / (scale or 8 * 0.1**2)
    assert unexplained[10.0] < 0.4
    assert unexplained[None] > 0.8


def test_how_features_vary_is_remembered_by_a_state():
    first, second = make(), make(seed=9)
    observation = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    first.prepare(TrainingData(observation * [0.1, 1, 5], np.zeros(0), np.zeros(0)))
    second.load_state_dict(first.state_dict())
    assert equal(first.evaluate(windows()), second.evaluate(windows()))


def test_data_without_rewards_is_welcome():
    phase, batch = make(), windows()
    batch['reward'].fill_(float('nan'))
    reward = np.full(5, np.nan, np.float32)
    phase.prepare(TrainingData(np.zeros((5, 3), np.float32), np.zeros((5, 2)), reward))
    assert all(value.isfinite() for value in phase.update(batch).values())


def test_a_large_gradient_is_shortened_to_its_limit():
    """Plain gradient descent would show it; Adam does not see the scale, so look before it."""
    found = {}
    for limit in (None, 1e-3):
        phase = make(gradient_norm=limit)
        found[limit] = phase.update(windows())['world_model/gradient_norm']
        gradient = torch.cat([p.grad.flatten() for p in phase.model.parameters()])
        expected = found[limit].item() if limit is None else limit
        assert gradient.norm().item() == pytest.approx(expected, rel=1e-3)
    assert torch.equal(found[None], found[1e-3])


def test_a_published_version_can_be_rebuilt_but_not_drive():
    phase = make()
    phase.update(windows())
    tensors, description = phase.policy()
    back = WorldModel.from_published(tensors, description, 'point@1')
    assert equal(back.state_dict(), phase.model.state_dict())
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    with pytest.raises(ModelRefusedError, match='point@1: is a world model'):
        build_policy(arrays, {'policy': description}, 'point@1')


def test_published_tensors_are_copies():
    phase = make()
    tensors, _ = phase.policy()
    before = {key: value.clone() for key, value in tensors.items()}
    phase.update(windows())
    assert equal(tensors, before)


@pytest.mark.parametrize('size', ['size1m', 'size12m', 'size25m'])
def test_each_size_has_a_recipe(size):
    file = contracts.robots_directory().parent / 'phases' / f'world_model_{size}.yaml'
    found = recipe.load('world_model', file)
    assert found.phase_config.model.size == size


def test_the_default_recipe_is_the_guides():
    config = recipe.load('world_model').phase_config
    assert config.model.widths()[:2] == (256, 256)
    assert (config.batch_size, config.batch_length, config.learning_rate) == (32, 50, 1e-4)
    assert config == WorldModelPhaseConfig()


def test_wrong_keys_are_named_with_their_path():
    with pytest.raises(ConfigError, match=r'config: model\.sise: unknown key'):
        recipe.load('world_model', overrides='config: {model: {sise: size1m}}')


def test_a_config_can_be_written_into_a_manifest():
    content = dataclasses.asdict(make().config)
    assert content['model']['deter'] == 16
    assert content['loss']['free_nats'] == 1.0


def test_images_and_features_of_a_device_go_there():
    """On a CPU-only machine the device 'cpu' must work as well when named."""
    phase = WorldModelPhase(make().config, SPACE, 0, device=torch.device('cpu'))
    other = make()
    assert equal(phase.update(windows()), other.update(windows()))
