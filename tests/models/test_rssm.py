import pytest
import torch
from robot_learning.models.initialisation import initialise_normal
from robot_learning.models.rssm import Rssm, RssmConfig, State
from torch.nn import functional as F

E, A = 5, 2


def make(latent='categorical', blocks=2, seed=0):
    config = RssmConfig(
        deter=12, hidden=6, groups=3, classes=4, blocks=blocks, latent=latent, prior_layers=2
    )
    rssm = Rssm(E, A, config)
    initialise_normal(rssm, torch.Generator().manual_seed(seed))
    for parameter in rssm.parameters():  # Biases and norms too must be seen in results.
        parameter.data += 0.1 * torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(seed + 1)
        )
    return rssm


def window(batch_size=3, length=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(batch_size, length, dtype=torch.bool)
    is_first[:, 0] = True
    return (
        torch.randn(batch_size, length, E, generator=generator),
        torch.rand(batch_size, length, A, generator=generator) * 2 - 1,
        is_first,
    )


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


def plain_step(rssm, deter, stoch, action, embedding):
    """Return deter, raw prior and raw posterior of one step, written out without blocks."""

    def dense(layer, x):
        size = layer.weight.shape[0]
        norm = layer.norm
        x = F.layer_norm(x @ layer.weight.T + layer.bias, (size,), norm.weight, norm.bias)
        return x * torch.sigmoid(x)

    recurrence = rssm.recurrence
    hidden = torch.cat(
        [
            dense(rssm.deter_input, deter),
            dense(rssm.stoch_input, stoch),
            dense(rssm.action_input, action),
        ],
        -1,
    )
    x = hidden @ recurrence.input.weight.T + recurrence.input.bias
    x = x + deter @ torch.block_diag(*recurrence.state.weight)
    norm = recurrence.norm
    x = F.silu(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias))
    size = x.shape[-1] // len(recurrence.gates.weight)
    new = []
    for g, (weight, bias) in enumerate(
        zip(recurrence.gates.weight, recurrence.gates_bias, strict=True)
    ):
        columns = slice(g * size, (g + 1) * size)
        reset, candidate, update = (x[:, columns] @ weight + bias).split(size, -1)
        update = torch.sigmoid(update - 1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        new.append(update * candidate + (1 - update) * deter[:, columns])
    deter = torch.cat(new, -1)
    hidden = deter
    for layer in rssm.prior_trunk:
        hidden = dense(layer, hidden)
    prior = rssm.prior_output(hidden)
    x = rssm.posterior_embedding(embedding) + deter @ rssm.posterior_deter.weight.T
    norm = rssm.posterior_norm
    x = F.silu(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias))
    return deter, prior, rssm.posterior_output(x)


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
@pytest.mark.parametrize('blocks', [1, 3])
def test_observe_equals_a_plain_loop(latent, blocks):
    rssm = make(latent, blocks)
    embedding, action, is_first = window()
    is_first[1, 4] = True
    observed = rssm.observe(embedding, action, is_first, generator=seeded())
    noise = rssm.noise((7, 3), seeded())
    state = rssm.initial(3)
    deter, stoch = state.deter, state.stoch
    before = torch.zeros(3, A)
    for t in range(7):
        fresh = is_first[:, t, None]
        deter, stoch = torch.where(fresh, 0.0, deter), torch.where(fresh, 0.0, stoch)
        before = torch.where(fresh, 0.0, before)
        deter, prior, posterior = plain_step(rssm, deter, stoch, before, embedding[:, t])
        stoch = rssm.latent.sample(posterior, noise[t])
        before = action[:, t]
        found = [tensor[:, t] for tensor in (*observed.posterior, observed.prior)]
        parameters = rssm.latent.parameters
        expected = [deter, stoch, parameters(posterior), parameters(prior)]
        for left, right in zip(found, expected, strict=True):
            torch.testing.assert_close(left, right)
    torch.testing.assert_close(observed.carry.state.deter, deter)
    assert torch.equal(observed.carry.action, action[:, -1])


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
def test_a_start_inside_a_window_equals_two_windows(latent):
    rssm = make(latent)
    embedding, action, is_first = window()
    is_first[:, 4] = True
    generator = seeded()
    whole = rssm.observe(embedding, action, is_first, generator=generator)
    generator = seeded()
    parts = [
        rssm.observe(embedding[:, cut], action[:, cut], is_first[:, cut], generator=generator)
        for cut in (slice(0, 4), slice(4, 7))
    ]
    for name in State._fields:
        joined = torch.cat([getattr(part.posterior, name) for part in parts], 1)
        torch.testing.assert_close(getattr(whole.posterior, name), joined)
    torch.testing.assert_close(whole.prior, torch.cat([part.prior for part in parts], 1))


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
@pytest.mark.parametrize('cut', [1, 4, 6])
def test_two_halves_with_a_carry_equal_one_pass(latent, cut):
    rssm = make(latent)
    embedding, action, is_first = window()
    is_first[2, 5] = True
    whole = rssm.observe(embedding, action, is_first, generator=seeded())
    generator = seeded()
    carry, parts = None, []
    for part in (slice(0, cut), slice(cut, 7)):
        found = rssm.observe(
            embedding[:, part], action[:, part], is_first[:, part], carry, generator
        )
        carry = found.carry
        parts.append(found)
    for name in State._fields:
        joined = torch.cat([getattr(part.posterior, name) for part in parts], 1)
        torch.testing.assert_close(getattr(whole.posterior, name), joined)
        torch.testing.assert_close(getattr(carry.state, name), joined[:, -1])


def test_a_carry_is_forgotten_where_an_episode_begins():
    rssm = make()
    embedding, action, is_first = window()
    before = rssm.observe(*window(seed=1), generator=seeded(1)).carry
    is_first[1, 0] = False
    fresh = rssm.observe(embedding, action, is_first, None, seeded())
    carried = rssm.observe(embedding, action, is_first, before, seeded())
    same = [torch.equal(fresh.posterior.deter[i], carried.posterior.deter[i]) for i in range(3)]
    assert same == [True, False, True]


def test_an_action_is_felt_from_the_step_after_it_on():
    rssm = make()
    embedding, action, is_first = window()
    changed = action.clone()
    changed[:, 3] *= -1
    first = rssm.observe(embedding, action, is_first, generator=seeded()).posterior.deter
    second = rssm.observe(embedding, changed, is_first, generator=seeded()).posterior.deter
    assert torch.equal(first[:, :4], second[:, :4])
    assert (first[:, 4] != second[:, 4]).any(-1).all()


def test_imagined_states_follow_the_prior_of_observed_ones():
    """One imagined step from a posterior lands on the deter and prior observed next."""
    rssm = make()
    embedding, action, is_first = window()
    observed = rssm.observe(embedding, action, is_first, generator=seeded())
    here = State(*(tensor[:, 2] for tensor in observed.posterior))
    there = rssm.imagine(here, action[:, 2], seeded())
    torch.testing.assert_close(there.deter, observed.posterior.deter[:, 3])
    torch.testing.assert_close(there.parameters, observed.prior[:, 3])


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
def test_imagining_many_actions_equals_one_at_a_time(latent):
    rssm = make(latent)
    _, actions, _ = window()
    together = rssm.imagine_actions(rssm.initial(3), actions, seeded())
    state, generator = rssm.initial(3), seeded()
    for t in range(actions.shape[1]):
        state = rssm.imagine(state, actions[:, t], generator)
        for left, right in zip(together, state, strict=True):
            torch.testing.assert_close(left[:, t], right)


def test_features_are_deter_and_stoch():
    rssm = make()
    state = rssm.imagine(rssm.initial(3), torch.zeros(3, A))
    features = rssm.features(state)
    assert features.shape == (3, rssm.feature_size) == (3, 12 + 12)
    assert torch.equal(features, torch.cat([state.deter, state.stoch], -1))


@pytest.mark.parametrize('latent', ['categorical', 'gaussian'])
def test_without_gradients_the_states_are_the_same(latent):
    rssm = make(latent)
    with_gradient = rssm.observe(*window(), generator=seeded())
    with torch.no_grad():
        without = rssm.observe(*window(), generator=seeded())
    assert with_gradient.posterior.stoch.requires_grad
    torch.testing.assert_close(with_gradient.posterior.stoch.detach(), without.posterior.stoch)
