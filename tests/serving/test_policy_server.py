import math
import threading

import numpy as np
import policies
import pytest
from policies import CONTRACT
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_store import WEIGHTS, ModelStore
from robot_learning.serving.canary import CanaryConfig
from robot_learning.serving.policy_server import PolicyServer, ServingConfig

FEATURES = np.zeros(policies.NUM_FEATURES, np.float32)
DEADLINE_S = 10.0


class Changes:
    """Collects what a server says, and waits for it."""

    def __init__(self):
        self.all = []
        self._arrived = threading.Condition()

    def __call__(self, change):
        with self._arrived:
            self.all.append(change)
            self._arrived.notify_all()

    def wait_for(self, state, version):
        def has_come():
            return any((c.state, c.version) == (state, version) for c in self.all)

        with self._arrived:
            assert self._arrived.wait_for(has_come, DEADLINE_S), self.all
            return next(c for c in self.all if (c.state, c.version) == (state, version))


@pytest.fixture
def changes():
    return Changes()


@pytest.fixture
def make_server(tmp_path, changes):
    servers = []

    def make(**config):
        config = {'seed': 1, 'poll_s': 0.02, 'canary': CanaryConfig(ticks=0), **config}
        server = PolicyServer(ModelStore(tmp_path), CONTRACT, ServingConfig(**config), changes)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


def publish_constant(root, *u, **changes):
    tensors = policies.constant_tensors(policies.spec_for(CONTRACT), u)
    return policies.publish(root, CONTRACT, tensors, **changes)


def test_without_a_version_it_stops_when_it_does_not_explore(make_server):
    decision = make_server().act(FEATURES)
    np.testing.assert_array_equal(decision.action, [0, 0])
    assert (decision.model, decision.version) == ('', -1)
    assert math.isnan(decision.log_prob)


def test_without_a_version_it_explores_the_whole_action_space(make_server):
    server = make_server(explore=True, random_hold_steps=1)
    actions = np.array([server.act(FEATURES).action for _ in range(2000)])
    assert np.all(actions >= CONTRACT.action_low)
    assert np.all(actions <= CONTRACT.action_high)
    middle = (CONTRACT.action_low + CONTRACT.action_high) / 2
    np.testing.assert_allclose(actions.mean(0), middle, atol=0.05)
    uniform_std = (CONTRACT.action_high - CONTRACT.action_low) / math.sqrt(12)
    np.testing.assert_allclose(actions.std(0), uniform_std, rtol=0.1)


def test_random_actions_keep_their_direction_for_several_steps(make_server):
    server = make_server(explore=True, random_hold_steps=8)
    actions = np.array([server.act(FEATURES).action for _ in range(4000)])
    num_changes = np.any(np.diff(actions, axis=0) != 0, axis=1).sum()
    assert len(actions) / num_changes == pytest.approx(8, rel=0.15)


def test_exploration_repeats_from_its_seed(make_server, tmp_path, changes):
    publish_constant(tmp_path, 0.2, 0.1)
    servers = [make_server(explore=True, seed=5) for _ in range(2)]
    for server in servers:
        server.start()
        server.load().result(DEADLINE_S)
    first, second = ([s.act(FEATURES).action for _ in range(5)] for s in servers)
    np.testing.assert_array_equal(first, second)


def test_correlated_noise_stays_standard_normal(make_server, tmp_path):
    publish_constant(tmp_path, 0.0, 0.0)
    server = make_server(explore=True, noise_correlation=0.9)
    server.start()
    server.load().result(DEADLINE_S)
    low, high = CONTRACT.action_low, CONTRACT.action_high
    decisions = [server.act(FEATURES) for _ in range(4000)]
    assert all(math.isnan(decision.log_prob) for decision in decisions)  # Nobody knows it.
    actions = np.array([decision.action for decision in decisions])
    noise = np.arctanh((actions - low) / (high - low) * 2 - 1)  # The policy is tanh(noise).
    assert noise.std() == pytest.approx(1, rel=0.15)
    correlation = np.mean([np.corrcoef(noise[1:, i], noise[:-1, i])[0, 1] for i in range(2)])
    assert correlation == pytest.approx(0.9, abs=0.03)


def test_it_serves_the_newest_version_and_follows_newer_ones(make_server, tmp_path, changes):
    publish_constant(tmp_path, 0.0, 0.0)
    server = make_server()
    server.start()
    changes.wait_for('serving', 1)
    np.testing.assert_allclose(server.act(FEATURES).action, [0.2, 0], atol=1e-6)
    publish_constant(tmp_path, 50.0, 0.0)
    change = changes.wait_for('serving', 2)
    assert (change.update, change.environment_step) == (120, 60)
    assert server.act(FEATURES).version == 2
    assert server.act(FEATURES).action[0] == np.float32(0.5)


def test_a_notice_is_faster_than_the_poll(make_server, tmp_path, changes):
    server = make_server(poll_s=60.0)
    server.start()
    publish_constant(tmp_path, 0.0, 0.0)
    server.notice('navigator')
    changes.wait_for('serving', 1)


def corrupt(root, version):
    path = root / 'navigator' / f'{version:06d}' / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)


def test_a_bad_version_is_refused_by_name_marked_and_the_old_one_serves_on(
    make_server, tmp_path, changes
):
    publish_constant(tmp_path, 0.0, 0.0)
    server = make_server()
    server.start()
    changes.wait_for('serving', 1)
    wide = policies.tensors_for(policies.spec_for(CONTRACT, hidden=[99, 8]))
    version = policies.publish(tmp_path, CONTRACT, wide)
    change = changes.wait_for('refused', version)
    assert f'navigator@{version}: tensor trunk.0.weight has shape [99, 16]' in change.reason
    assert server.act(FEATURES).version == 1
    assert 'trunk.0.weight' in ModelStore(tmp_path).refusal('navigator', version)


def test_the_next_good_version_behind_bad_ones_serves(make_server, tmp_path, changes):
    for _ in range(4):
        publish_constant(tmp_path, 0.0, 0.0)
    corrupt(tmp_path, 4)
    corrupt(tmp_path, 3)
    server = make_server()
    server.start()
    changes.wait_for('serving', 2)
    assert [(c.state, c.version) for c in changes.all] == [
        ('refused', 4),
        ('refused', 3),
        ('serving', 2),
    ]


def test_loading_by_number_pins_until_the_newest_is_asked_for(make_server, tmp_path, changes):
    for _ in range(3):
        publish_constant(tmp_path, 0.0, 0.0)
    server = make_server()
    server.start()
    assert server.load(version=2).result(DEADLINE_S).version == 2
    publish_constant(tmp_path, 0.0, 0.0)
    server.notice('navigator')
    assert server.load(version=2).result(DEADLINE_S).version == 2  # Behind the notice in line.
    assert server.act(FEATURES).version == 2
    assert server.load().result(DEADLINE_S).version == 4
    assert server.act(FEATURES).version == 4


def test_loading_what_is_bad_or_not_there_raises_and_changes_nothing(
    make_server, tmp_path, changes
):
    for _ in range(2):
        publish_constant(tmp_path, 0.0, 0.0)
    server = make_server(version=1)
    server.start()
    changes.wait_for('serving', 1)
    corrupt(tmp_path, 2)
    with pytest.raises(ModelRefusedError, match='navigator@2'):
        server.load(version=2).result(DEADLINE_S)
    with pytest.raises(StoreError, match='version 9'):
        server.load(version=9).result(DEADLINE_S)
    with pytest.raises(ModelRefusedError, match='other: has no good version'):
        server.load('other').result(DEADLINE_S)
    assert server.act(FEATURES).version == 1
    assert ModelStore(tmp_path).refusal('navigator', 9) is None


def test_rollback_refuses_the_version_and_stays_with_the_one_before(
    make_server, tmp_path, changes
):
    publish_constant(tmp_path, 0.0, 0.0)
    server = make_server()
    server.start()
    changes.wait_for('serving', 1)
    publish_constant(tmp_path, 0.0, 0.0)
    changes.wait_for('serving', 2)
    assert server.rollback('it circles').result(DEADLINE_S).version == 1
    assert changes.wait_for('rolled_back', 1).reason == 'it circles'
    assert server.act(FEATURES).version == 1
    store = ModelStore(tmp_path)
    assert 'it circles' in store.refusal('navigator', 2)
    publish_constant(tmp_path, 0.0, 0.0)
    server.notice('navigator')
    with pytest.raises(ModelRefusedError, match='no other version has served'):
        server.rollback('again').result(DEADLINE_S)
    assert server.act(FEATURES).version == 1
    assert store.serving('navigator') == 1  # Another server would take the same.


def test_what_somebody_pins_in_the_store_is_served(make_server, tmp_path, changes):
    for _ in range(2):
        publish_constant(tmp_path, 0.0, 0.0)
    server = make_server()
    server.start()
    changes.wait_for('serving', 2)
    ModelStore(tmp_path).activate('navigator', 1)
    changes.wait_for('serving', 1)


def test_a_store_that_comes_later_is_found(tmp_path, changes):
    root = tmp_path / 'later'
    server = PolicyServer(ModelStore(root), CONTRACT, ServingConfig(poll_s=0.02), changes)
    server.start()
    publish_constant(root, 0.0, 0.0)
    changes.wait_for('serving', 1)
    server.close()


def test_decisions_during_swaps_are_always_whole(make_server, tmp_path, changes):
    """Two versions alternate under load: every action belongs to the version that it names."""
    publish_constant(tmp_path, 50.0, -50.0)
    publish_constant(tmp_path, -50.0, 50.0)
    expected = {1: [0.5, -1.5], 2: [-0.1, 1.5]}
    server = make_server(version=1)
    server.start()
    changes.wait_for('serving', 1)
    seen = set()
    for i in range(40):
        future = server.load(version=1 + i % 2)
        while not future.done():
            decision = server.act(FEATURES)
            seen.add(decision.version)
            np.testing.assert_allclose(decision.action, expected[decision.version], atol=1e-6)
        future.result()
    assert seen == {1, 2}
