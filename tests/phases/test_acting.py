import numpy as np
import pytest
import torch
from robot_learning.models.actor_critic import GaussianClippedPolicy, GaussianTanhPolicy
from robot_learning.models.categorical import CategoricalPolicy
from robot_learning.models.distributions import squashed_log_prob
from robot_learning.phases.acting import MirroredActor, actor_of


def scaled(network):
    network.input_mean.fill_(0.5)
    network.input_std.fill_(2.0)
    return network


def seen(count, size=4):
    return np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)


@pytest.mark.parametrize('activation', ['relu', 'silu'])
def test_drawn_actions_have_the_likelihood_that_the_network_gives_them(activation):
    network = scaled(GaussianTanhPolicy(4, 2, (8, 8), activation))
    observation = seen(30)
    acted = actor_of(network).draw(observation, np.random.default_rng(1))
    with torch.no_grad():
        mean, log_std = network(torch.from_numpy(observation))
        expected = squashed_log_prob(mean, log_std, torch.from_numpy(acted.action))
    np.testing.assert_allclose(acted.log_prob, expected, atol=1e-3)
    np.testing.assert_allclose(actor_of(network).best(observation), torch.tanh(mean), atol=1e-5)


def test_clipped_actions_are_drawn_as_often_as_their_likelihood_says():
    network = scaled(GaussianClippedPolicy(4, 2, (8, 8)))
    observation = np.repeat(seen(1), 40_000, axis=0)
    acted = actor_of(network).draw(observation, np.random.default_rng(1))
    at_limit = (acted.action == 1).all(1)
    assert 0.001 < at_limit.mean() < 0.5
    expected = np.exp(acted.log_prob[at_limit][0])
    assert at_limit.mean() == pytest.approx(expected, rel=0.1)
    with torch.no_grad():
        mean, _ = network(torch.from_numpy(observation[:1]))
    np.testing.assert_allclose(
        actor_of(network).best(observation[:1]), mean.clamp(-1, 1), atol=1e-5
    )


def test_what_is_drawn_follows_the_weights_without_a_copy():
    network = GaussianTanhPolicy(4, 2, (8,))
    actor, observation = actor_of(network), seen(3)
    before = actor.best(observation)
    with torch.no_grad():
        network.mean.bias += 1.0
    assert (actor.best(observation) > before).all()


def test_choices_are_drawn_as_often_as_their_probability_says():
    network = scaled(CategoricalPolicy(4, 3, (8,)))
    with torch.no_grad():
        network.logits.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    observation = np.repeat(seen(1), 40_000, axis=0)
    acted = actor_of(network).draw(observation, np.random.default_rng(2))
    with torch.no_grad():
        probs = torch.softmax(network(torch.from_numpy(observation[:1])), dim=1)[0].numpy()
    np.testing.assert_allclose(acted.action.mean(0), probs, atol=0.01)
    assert (acted.action.sum(1) == 1).all()
    chosen = probs[acted.action.argmax(1)]
    np.testing.assert_allclose(acted.log_prob, np.log(chosen), atol=1e-5)
    assert (actor_of(network).best(observation[:2])[:, probs.argmax()] == 1).all()


def test_a_network_elsewhere_acts_through_a_copy_that_keeps_up():
    network = GaussianTanhPolicy(3, 2, (8,))
    mirrored, direct = MirroredActor(network), actor_of(network)
    observation = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    for _ in range(2):
        with torch.no_grad():
            for tensor in (*network.parameters(), network.input_mean):
                tensor.add_(0.1)
        np.testing.assert_array_equal(mirrored.best(observation), direct.best(observation))
        drawn = [actor.draw(observation, np.random.default_rng(1)) for actor in (mirrored, direct)]
        np.testing.assert_array_equal(*(acted.action for acted in drawn))
