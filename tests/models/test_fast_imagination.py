import pytest
import torch
from robot_learning.models.fast_imagination import FastImagination
from robot_learning.models.imagination_heads import Actor
from robot_learning.models.rssm import State
from robot_learning.models.world_model import WorldModel, WorldModelConfig

HORIZON = 4


def make(latent='categorical', blocks=2, kind='bounded_normal'):
    generator = torch.Generator().manual_seed(0)
    config = WorldModelConfig(
        deter=16, hidden=8, groups=3, classes=5, blocks=blocks, latent=latent, num_bins=9
    )
    model = WorldModel(4, 3, config, generator=generator)
    actor = Actor(model.feature_size, 3, units=12, layers=2, kind=kind)
    actor.initialise(generator)
    with torch.no_grad():  # Nothing may be right only because it is 0 or 1.
        for parameter in (*model.parameters(), *actor.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model, actor


def start_of(model, count=6):
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(count, model.rssm.latent.raw_size, generator=generator)
    noise = model.rssm.noise((count,), generator)
    deter = torch.tanh(torch.randn(count, 16, generator=generator))
    return State(deter, model.rssm.latent.sample(raw, noise), model.rssm.latent.parameters(raw))


@torch.no_grad()
def step_by_step(model, actor, state, generator):
    """What `FastImagination` is to compute, by the modules themselves."""
    features, drawn = [model.features(state)], []
    for _ in range(HORIZON):
        distribution = actor(features[-1])
        drawn.append(distribution.draw(generator))
        state = model.rssm.imagine(state, distribution.executed(drawn[-1]), generator)
        features.append(model.features(state))
    return torch.stack(features), torch.stack(drawn)


@pytest.mark.parametrize(
    'settings',
    [{}, {'blocks': 1}, {'latent': 'gaussian', 'kind': 'tanh_normal'}, {'kind': 'categorical'}],
    ids=['blocks', 'dense', 'gaussian', 'choices'],
)
def test_imagines_what_model_and_actor_do_step_by_step(settings):
    model, actor = make(**settings)
    start = start_of(model)
    expected = step_by_step(model, actor, start, torch.Generator().manual_seed(2))
    found = FastImagination(model.rssm, actor).run(
        start, HORIZON, torch.Generator().manual_seed(2)
    )
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=1e-5)


def test_what_is_imagined_carries_no_gradient():
    model, actor = make()
    start = start_of(model)
    features, drawn = FastImagination(model.rssm, actor).run(start, 2, None)
    assert not features.requires_grad
    assert not drawn.requires_grad
