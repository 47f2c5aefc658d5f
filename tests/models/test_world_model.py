import pytest
import torch
from robot_learning.config import from_mapping
from robot_learning.errors import ConfigError, ModelRefusedError
from robot_learning.models.two_hot import symexp
from robot_learning.models.world_model import SIZES, WorldModel, WorldModelConfig

TINY = {'deter': 16, 'hidden': 8, 'depth': 2, 'groups': 3, 'classes': 4, 'blocks': 2}
BLOCKS = {'clearance/scan': slice(0, 4), 'vector/odom': slice(4, 7)}
IMAGES = {'camera': (16, 16, 3), 'wrist.camera': (8, 16, 1)}


def make(blocks=BLOCKS, images=IMAGES, seed=0, **settings):
    size = max((part.stop for part in blocks.values()), default=0)
    config = WorldModelConfig(**{**TINY, **settings})
    return WorldModel(size, 2, config, blocks, images, torch.Generator().manual_seed(seed))


def windows(model, batch_size=2, length=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = max((part.stop for part in model.blocks.values()), default=0)
    is_first = torch.zeros(batch_size, length, dtype=torch.bool)
    is_first[:, 0] = True
    batch = {
        'observation': torch.randn(batch_size, length, size, generator=generator),
        'action': torch.rand(batch_size, length, 2, generator=generator) * 2 - 1,
        'is_first': is_first,
    }
    for name, shape in model.images.items():
        batch[f'image/{name}'] = torch.randint(
            0, 256, (batch_size, length, *shape), dtype=torch.uint8, generator=generator
        )
    return batch


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
def test_several_blocks_and_images_are_seen_and_predicted(latent):
    model = make(latent=latent)
    batch = windows(model)
    observed = model.observe(batch)
    features = model.features(observed.posterior)
    assert features.shape == (2, 5, model.feature_size)
    shapes = {name: tuple(value.shape) for name, value in model.decode(features).items()}
    assert shapes == {
        'clearance/scan': (2, 5, 4),
        'vector/odom': (2, 5, 3),
        'image/camera': (2, 5, 16, 16, 3),
        'image/wrist.camera': (2, 5, 8, 16, 1),
    }
    assert model.continuation(features).shape == (2, 5)
    assert model.reward(features).mean().shape == (2, 5)


@pytest.mark.parametrize('name', ['observation', 'image/camera', 'image/wrist.camera'])
def test_every_input_reaches_the_embedding(name):
    model = make()
    batch = windows(model)
    before = model.encode(batch)
    batch[name] = batch[name].flip(0)
    assert not torch.equal(model.encode(batch), before)
    assert before.shape == (2, 5, model.embedding_size)


def test_only_images_or_only_features_are_enough():
    for model in (make(blocks={}), make(images={})):
        features = model.features(model.observe(windows(model)).posterior)
        assert len(model.decode(features)) == 2


def test_features_without_names_are_one_block():
    model = WorldModel(3, 1, WorldModelConfig(**TINY))
    assert list(model.decode(torch.zeros(1, model.feature_size))) == ['observation']


def test_decoded_features_are_in_their_own_units():
    model = make(images={})
    features = torch.randn(4, model.feature_size)
    joined = torch.cat(list(model.decode(features).values()), -1)
    torch.testing.assert_close(joined, symexp(model.reconstruct(features)['observation']))


def test_decoded_images_are_in_range():
    model = make()
    model.image_decoders['camera'].convolutions[-1].bias.data.fill_(9.0)
    image = model.decode(torch.randn(1, model.feature_size))['image/camera']
    assert torch.equal(image, torch.ones_like(image))


def test_a_seed_gives_the_same_weights():
    states = [make(seed=seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_nothing_to_see_is_refused():
    with pytest.raises(ConfigError, match='neither features nor images'):
        WorldModel(0, 2, WorldModelConfig(**TINY))


def test_a_size_gives_widths_and_a_given_width_replaces_one():
    assert WorldModelConfig().widths()[:2] == (256, 256)  # The guide's state and hidden.
    assert WorldModelConfig(size='size1m').widths() == SIZES['size1m'] == (512, 64, 4, 32, 4, 8)
    assert WorldModelConfig(size='size12m').widths() == (2048, 256, 16, 32, 16, 8)
    assert WorldModelConfig(size='size25m').widths() == (3072, 384, 24, 32, 24, 8)
    assert WorldModelConfig(size='size1m', deter=128).widths() == (128, 64, 4, 32, 4, 8)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'blocks': 3}, 'blocks 3 do not divide deter 256'),
        ({'num_bins': 100}, 'num_bins is 100, expected an odd number'),
    ],
)
def test_widths_that_do_not_fit_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        WorldModelConfig(**settings).widths()


def test_unknown_and_wrong_keys_are_named_at_once():
    with pytest.raises(ConfigError, match='siz') as caught:
        from_mapping(WorldModelConfig, {'siz': 'size1m', 'latent': 'discrete'}, 'file.yaml')
    assert 'latent' in str(caught.value)


def test_a_published_model_comes_back():
    model = make()
    tensors, description = model.published()
    back = WorldModel.from_published(tensors, description, 'navigator@1')
    batch = windows(model)
    found, expected = (
        m.observe(batch, generator=torch.Generator().manual_seed(1)) for m in (back, model)
    )
    assert torch.equal(found.posterior.deter, expected.posterior.deter)
    assert list(back.decode(torch.zeros(1, back.feature_size))) == list(
        model.decode(torch.zeros(1, model.feature_size))
    )


def test_versions_that_are_no_world_model_are_refused():
    tensors, description = make().published()
    with pytest.raises(ModelRefusedError, match='navigator@1: is of kind'):
        WorldModel.from_published(
            tensors, {**description, 'kind': 'gaussian_tanh_mlp'}, 'navigator@1'
        )
    del tensors['rssm.prior_output.weight']
    with pytest.raises(ModelRefusedError, match=r'rssm\.prior_output\.weight'):
        WorldModel.from_published(tensors, description, 'navigator@1')
    with pytest.raises(ModelRefusedError, match='action_size'):
        WorldModel.from_published({}, {'kind': 'world_model', 'input_size': 3}, 'navigator@1')
