"""Versions that remember, in everything that serves: episodes, canary, swaps, rollback."""

import numpy as np
import policies
import pytest
import torch
from policies import CONTRACT
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore
from robot_learning.models.sequence_policy import SequencePolicy, initialise_sequence_policy
from robot_learning.serving.canary import Canary, CanaryConfig
from robot_learning.serving.gaussian_heads import PolicyOutput
from robot_learning.serving.policy import (
    build_policy,
)
from robot_learning.serving.policy_server import PolicyServer, ServingConfig
from robot_learning.serving.version_checks import Served, random_features

OBSERVATIONS = random_features(CONTRACT, 12, seed=4)


def version(seed):
    network = SequencePolicy(policies.NUM_FEATURES, 2, (8,), 'gru', 8)
    initialise_sequence_policy(network, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    tensors, spec = network.published(CONTRACT.action_low, CONTRACT.action_high)
    arrays = {name: value.numpy() for name, value in tensors.items()}
    return arrays, policies.manifest_for(CONTRACT, spec)


def build(seed):
    return build_policy(*version(seed), 'navigator')


def answers(seed, observations=OBSERVATIONS):
    """What a version does that begins with an empty memory."""
    policy = build(seed)
    return np.stack([policy.act(features).action for features in observations])


@pytest.fixture
def make_server(tmp_path):
    servers = []

    def make(*seeds, **config):
        for seed in seeds:
            ModelStore(tmp_path).publish('navigator', *version(seed))
        config = {'canary': CanaryConfig(ticks=0), 'poll_s': 0.02, **config}
        server = PolicyServer(ModelStore(tmp_path), CONTRACT, ServingConfig(**config))
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.close()


def drive(server, observations=OBSERVATIONS):
    actions = []
    for features in observations:
        decision = server.act(features)
        server.review(decision, ())
        actions.append(decision.action)
    return np.stack(actions)


def test_every_episode_begins_without_a_memory(make_server):
    server = make_server(1)
    server.load(version=1).result(10.0)
    server.start_episode()
    np.testing.assert_array_equal(drive(server), answers(1))
    assert not np.array_equal(drive(server), answers(1))  # It remembers on until told.
    server.start_episode()
    np.testing.assert_array_equal(drive(server), answers(1))


def test_a_version_swapped_in_and_one_that_comes_back_begin_without_a_memory(make_server):
    server = make_server(1, 2)
    for number in (1, 2, 1):
        server.load(version=number).result(10.0)
        np.testing.assert_array_equal(drive(server), answers(number))


def test_a_canary_disturbs_neither_memory():
    candidate, serving = (Served(build(seed), 'n', seed, 0, 0, '') for seed in (2, 1))
    canary = Canary(candidate, serving, CONTRACT, CanaryConfig(ticks=50))
    acted = []
    for features in OBSERVATIONS:
        acted.append(serving.policy.act(features).action)
        canary.observe(features)
    np.testing.assert_array_equal(acted, answers(1))
    assert canary.num_ticks == len(OBSERVATIONS)
    np.testing.assert_array_equal(
        [candidate.policy.act(features).action for features in OBSERVATIONS], answers(2)
    )


def test_a_canary_compares_memories_of_the_same_episode():
    """Over two episodes the divergence is that of both versions, each begun anew."""
    candidate, serving = (Served(build(seed), 'n', seed, 0, 0, '') for seed in (2, 1))
    canary = Canary(candidate, serving, CONTRACT, CanaryConfig(ticks=50, max_divergence=1.0))
    for _ in range(2):
        canary.start_episode()
        for features in OBSERVATIONS:
            canary.observe(features)
    span = CONTRACT.action_high - CONTRACT.action_low
    expected = (np.abs(answers(1) - answers(2)) / span).mean()
    assert canary.report().divergence == pytest.approx(expected, rel=1e-5)


def test_a_running_canary_is_told_of_new_episodes(make_server):
    server = make_server(1, canary=CanaryConfig(ticks=50, max_divergence=1.0))
    server.load().result(10.0)
    ModelStore(server._succession._store.root).publish('navigator', *version(2))
    server.notice('navigator')
    server.load().result(10.0)  # Whatever was asked before it is done by then.
    assert server.candidate.startswith('navigator@2: 0 of 50')
    for _ in range(2):
        server.start_episode()
        np.testing.assert_array_equal(drive(server), answers(1))
    span = CONTRACT.action_high - CONTRACT.action_low
    expected = (np.abs(answers(1) - answers(2)) / span).mean()
    found = server._succession.canary.report().divergence
    assert found == pytest.approx(expected, rel=1e-5)


class Told:
    """A policy that keeps what it is told was carried out."""

    def __init__(self):
        self.heard = []

    def act(self, features, noise=None, images=None):
        return PolicyOutput(np.array([0.3, 0.0], np.float32), 0.0)

    def executed(self, action):
        self.heard.append(action.tolist())

    def reset(self):
        pass

    def fork(self):
        return Told()


def test_the_version_that_acts_and_both_in_shadow_are_told_what_was_carried_out(make_server):
    server, acting = make_server(), Told()
    served = Served(acting, 'navigator', 1, 0, 0, '')
    server._succession._served = served
    canary = Canary(served._replace(version=2), served, CONTRACT, CanaryConfig(ticks=50))
    server._succession.canary = canary
    for executed in ([0.2, 0.5], [0.1, 0.0]):
        decision = server.act(OBSERVATIONS[0])
        server.review(decision, ('rate',), np.array(executed))
    for policy in (acting, *canary._policies):
        assert policy.heard == [[0.2, 0.5], [0.1, 0.0]]


def test_a_picture_that_the_contract_does_not_have_is_named(tmp_path):
    with pytest.raises(ConfigError, match='images: scan is no picture of rover, expected one of'):
        PolicyServer(ModelStore(tmp_path), CONTRACT, ServingConfig(images=('scan',)))
