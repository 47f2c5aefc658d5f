import math

import pytest
import torch
from robot_learning.models.latent import CategoricalLatent, GaussianLatent
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.phases import world_model_losses as losses
from robot_learning.phases.world_model_losses import WorldModelLossConfig, world_model_loss

TINY = WorldModelConfig(deter=16, hidden=8, depth=2, groups=3, classes=4, blocks=2)
BLOCKS = {'vector/a': slice(0, 1), 'vector/b': slice(1, 3)}


def make(config=TINY, images=None):
    generator = torch.Generator().manual_seed(0)
    return WorldModel(3, 2, config, BLOCKS, images, generator)


def windows(batch_size=2, length=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    flags = torch.zeros(batch_size, length, dtype=torch.bool)
    is_first = flags.clone()
    is_first[:, 0] = True
    return {
        'observation': torch.randn(batch_size, length, 3, generator=generator),
        'action': torch.rand(batch_size, length, 2, generator=generator) * 2 - 1,
        'reward': torch.randn(batch_size, length, generator=generator),
        'terminated': flags,
        'truncated': flags.clone(),
        'is_first': is_first,
    }


def loss_of(model, batch, **settings):
    noise = torch.Generator().manual_seed(0)
    return world_model_loss(model, batch, WorldModelLossConfig(**settings), noise)


def test_balanced_divergence_by_hand():
    """KL of (1/2, 1/2) from (1/4, 3/4), and its derivatives, worked out on paper."""
    latent = CategoricalLatent(1, 2, uniform_share=0.0)
    posterior = torch.tensor([[0.5, 0.5]]).log().requires_grad_()
    prior = torch.tensor([[0.25, 0.75]]).log().requires_grad_()
    found = losses.divergence(latent, posterior, prior, free_nats=0.0)
    nats = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert found.dynamics.item() == pytest.approx(nats)
    assert found.representation.item() == pytest.approx(nats)
    assert found.nats.item() == pytest.approx(nats)
    gradients = torch.autograd.grad(found.dynamics, [posterior, prior], allow_unused=True)
    assert gradients[0] is None
    # d/dq of -sum p q with q a log probability: -p.
    torch.testing.assert_close(gradients[1], torch.tensor([[-0.5, -0.5]]))
    gradients = torch.autograd.grad(found.representation, [posterior, prior], allow_unused=True)
    assert gradients[1] is None
    # d/dl of sum e^l (l - q): e^l (l - q + 1).
    expected = torch.tensor([[0.5 * (math.log(2) + 1), 0.5 * (math.log(2 / 3) + 1)]])
    torch.testing.assert_close(gradients[0], expected)


def test_free_nats_count_the_sum_over_groups():
    """Two groups of 0.2 and 0.9 nats are above a limit of 1 together, each alone is not."""
    latent = GaussianLatent(2)
    posterior = torch.tensor([[math.sqrt(0.4), 1.0], [math.sqrt(1.8), 1.0]])
    prior = torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True)
    above = losses.divergence(latent, posterior, prior, free_nats=1.0).dynamics
    assert above.item() == pytest.approx(1.1)
    assert torch.autograd.grad(above, prior)[0].abs().sum() > 0
    below = losses.divergence(latent, posterior, prior, free_nats=1.2)
    assert below.dynamics.item() == pytest.approx(1.2)
    assert below.nats.item() == pytest.approx(1.1)
    assert torch.autograd.grad(below.dynamics, prior)[0].abs().sum() == 0


def test_the_guides_balance_replaces_both_scales():
    assert WorldModelLossConfig().kl_scales() == (0.5, 0.1)
    assert WorldModelLossConfig(kl_balance=0.8).kl_scales() == pytest.approx((0.8, 0.2))


def test_masked_mean_by_hand():
    values = torch.tensor([1.0, math.nan, 4.0])
    assert losses.masked_mean(values, torch.tensor([True, False, True])) == 2.5
    assert losses.masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0


def test_reconstruction_by_hand():
    """Blocks as symlog, images in [0, 1]; summed over numbers, mean over steps."""
    e = math.e
    batch = {
        'observation': torch.tensor([[[e - 1, 0.0, -(e**2 - 1)]], [[0.0, 0.0, 0.0]]]),
        'image/camera': torch.tensor([[[[[0], [255]]]], [[[[51], [0]]]]], dtype=torch.uint8),
    }
    predictions = {
        'observation': torch.tensor([[[0.0, 0.5, 1.0]], [[2.0, 0.0, 0.0]]]),
        'image/camera': torch.tensor([[[[[0.5], [0.5]]]], [[[[0.2], [1.0]]]]]),
    }
    found = losses.reconstruction_losses(predictions, batch, BLOCKS)
    assert found['vector/a'].item() == pytest.approx((1 + 4) / 2)
    assert found['vector/b'].item() == pytest.approx((0.25 + 9) / 2)
    assert found['image/camera'].item() == pytest.approx((0.25 + 0.25 + 0 + 1) / 2)


def test_blocks_weigh_alike_by_hand():
    """Symlogs of variance 1 and of 4 and 0; the mean, 0, costs the scale of 10 in both blocks."""
    row = torch.tensor([math.e - 1, math.e**2 - 1, 0.0])
    features = torch.stack([row, -row])
    weight = losses.feature_weight(features, BLOCKS, 10.0)
    torch.testing.assert_close(weight, torch.tensor([10.0, 2.5, 2.5]))
    batch = {'observation': features[:, None]}
    predictions = {'observation': torch.zeros(2, 1, 3)}
    found = losses.reconstruction_losses(predictions, batch, BLOCKS, weight)
    assert [found[name].item() for name in BLOCKS] == pytest.approx([10.0, 10.0])


def test_a_block_that_does_not_vary_is_not_magnified_without_limit():
    weight = losses.feature_weight(torch.full((5, 3), 0.3), BLOCKS, 10.0)
    assert weight.isfinite().all() and weight.max() <= 1e4 + 1


def test_the_total_is_the_weighted_sum_of_its_parts():
    settings = {
        'dynamics_scale': 0.7,
        'representation_scale': 0.3,
        'free_nats': 0.0,
        'reconstruction_scale': 2.0,
        'reward_scale': 3.0,
        'continuation_scale': 5.0,
    }
    loss = loss_of(make(), windows(), **settings)
    part = loss.metrics
    reconstruction = part['reconstruction/vector/a'] + part['reconstruction/vector/b']
    expected = 2 * reconstruction + 3 * part['reward'] + 5 * part['continuation'] + part['kl']
    torch.testing.assert_close(loss.total, expected)


def test_a_new_model_is_undecided_about_rewards_and_ends():
    loss = loss_of(make(), windows())
    assert loss.metrics['reward'].item() == pytest.approx(math.log(255), rel=1e-5)


@pytest.mark.parametrize('value', [math.nan, math.inf, 1e9])
def test_rewards_before_the_window_and_missing_ones_teach_nothing(value):
    model, batch = make(), windows()
    model.reward_output.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    expected = loss_of(model, batch)
    changed = {**batch, 'reward': batch['reward'].clone()}
    changed['reward'][:, 0] = value
    found = loss_of(model, changed)
    assert torch.equal(found.total, expected.total)
    gradient = torch.autograd.grad(found.total, list(model.parameters()))
    assert all(g.isfinite().all() for g in gradient)


def test_rewards_that_are_all_missing_leave_the_head_alone():
    model, batch = make(), windows()
    batch['reward'].fill_(math.nan)
    loss = loss_of(model, batch)
    assert loss.metrics['reward'] == 0
    gradient = torch.autograd.grad(loss.total, model.reward_output.weight)[0]
    assert not gradient.any()


def test_only_a_terminated_step_does_not_go_on():
    model, batch = make(), windows()
    model.continuation_output.bias.data.fill_(3.0)
    model.continuation_output.weight.data.zero_()
    going_on = math.log1p(math.exp(-3.0))
    truncated = {**batch, 'truncated': torch.ones(2, 4, dtype=torch.bool)}
    assert loss_of(model, truncated).metrics['continuation'].item() == pytest.approx(going_on)
    batch['terminated'][1, 3] = True
    expected = (7 * going_on + math.log1p(math.exp(3.0))) / 8
    assert loss_of(model, batch).metrics['continuation'].item() == pytest.approx(expected)


def touched(model, loss):
    """Return the parts of the model that a loss moves."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    moved = (
        name
        for name, g in zip(names, gradients, strict=True)
        if g is not None and g.abs().sum() > 0
    )
    return {'.'.join(name.split('.')[: 2 if name.startswith('rssm') else 1]) for name in moved}


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
def test_gradients_reach_exactly_what_each_part_is_about(latent):
    """One step, so that nothing comes from posteriors before; then also from those."""
    config = WorldModelConfig(
        deter=16, hidden=8, depth=2, groups=3, classes=4, blocks=2, latent=latent
    )
    model, batch = make(config), windows(length=1)
    noise = torch.Generator().manual_seed(0)
    for parameter in model.parameters():  # No weight may be 0 by its initial value.
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=noise)
    sequence = {
        f'rssm.{part}' for part in ('deter_input', 'stoch_input', 'action_input', 'recurrence')
    }
    posterior = {f'rssm.posterior_{part}' for part in ('embedding', 'deter', 'norm', 'output')}
    prior = {'rssm.prior_trunk', 'rssm.prior_output'}

    def divergence():
        observed = model.observe(batch, generator=torch.Generator().manual_seed(0))
        parameters = observed.posterior.parameters
        return losses.divergence(model.rssm.latent, parameters, observed.prior, 0.0)

    assert touched(model, divergence().dynamics.sum()) == sequence | prior
    moved = touched(model, divergence().representation.sum())
    assert moved == sequence | posterior | {'vector_encoder'}
    everything = loss_of(model, windows(), free_nats=0.0).total
    heads = {
        'vector_decoder',
        'reward_trunk',
        'reward_output',
        'continuation_trunk',
        'continuation_output',
    }
    assert touched(model, everything) == (
        sequence | posterior | prior | {'vector_encoder'} | heads
    )


def test_images_and_vectors_at_once_in_half_precision():
    shapes = {'camera': (16, 16, 3), 'depth': (8, 8, 1)}
    found = {}
    for numeric in ('float32', 'bfloat16'):
        config = WorldModelConfig(
            deter=16, hidden=8, depth=2, groups=3, classes=4, blocks=2, numeric=numeric
        )
        model, batch = make(config, shapes), windows()
        for name, shape in shapes.items():
            generator = torch.Generator().manual_seed(1)
            batch[f'image/{name}'] = torch.randint(
                0, 256, (2, 4, *shape), dtype=torch.uint8, generator=generator
            )
        loss = loss_of(model, batch)
        assert touched(model, loss.total) >= {'image_encoders', 'image_decoders'}
        found[numeric] = loss.metrics['reconstruction'].item()
    assert found['bfloat16'] == pytest.approx(found['float32'], rel=0.03)


def test_the_posterior_is_that_of_observe_and_the_carry_its_last():
    model, batch = make(), windows()
    loss = loss_of(model, batch)
    observed = model.observe(batch, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loss.posterior.stoch, observed.posterior.stoch)
    assert torch.equal(loss.carry.state.deter, observed.posterior.deter[:, -1])
