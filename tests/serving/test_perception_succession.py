"""Newer versions of what perceives: tried aside, taken over between two moments, or refused."""

import threading

import numpy as np
import pytest
import torch
from nsca_samples import TINY
from nsca_served import NAME, publish
from robot_learning.errors import ConfigError, ModelRefusedError, StoreError
from robot_learning.model_store import ModelStore
from robot_learning.serving.perception import Senses
from robot_learning.serving.perception_succession import PerceptionSuccession, fits_body

SENSES = Senses(None, None, np.array([0.1, 0.2, 0.3], np.float32))
PATIENCE_S = 20.0


class Watched:
    """A succession, and what it tells."""

    def __init__(self, folder, pinned=None, check=lambda version: None):
        self.store, self.told = ModelStore(folder), []
        self._has_told = threading.Condition()
        self.succession = PerceptionSuccession(
            self.store, NAME, pinned, check, self._on_change, poll_s=0.02
        )

    def _on_change(self, change):
        with self._has_told:
            self.told.append((change.state, change.version, change.reason))
            self._has_told.notify_all()

    def wait_for(self, state, version):
        """Return the reason."""
        with self._has_told:
            assert self._has_told.wait_for(lambda: self._found(state, version), PATIENCE_S)
            return self._found(state, version)[0][2]

    def _found(self, state, version):
        return [told for told in self.told if told[:2] == (state, version)]


@pytest.fixture
def watch(tmp_path):
    watched = []

    def make(**options):
        watched.append(Watched(tmp_path, **options))
        watched[-1].succession.begin()
        return watched[-1]

    yield make
    for one in watched:
        one.succession.close()


def overflowing(model):
    torch.nn.init.constant_(model.perception.fusion.state[1].weight, 3e38)


def test_a_newer_version_takes_over_only_when_it_is_taken(watch, tmp_path):
    publish(tmp_path)
    watched = watch()
    first = watched.succession.take()
    assert first.version == 1
    publish(tmp_path, seed=1)
    watched.wait_for('serving', 2)
    second = watched.succession.take()
    assert second.version == 2 and second.world.past is None
    assert watched.succession.take() is second
    states = [one.world.observe(SENSES).state for one in (first, second)]
    assert not np.allclose(*states), 'they have different weights'


def test_it_waits_for_a_store_and_a_first_version(watch, tmp_path):
    watched = watch()
    assert watched.succession.take() is None
    publish(tmp_path)
    watched.wait_for('serving', 1)
    assert watched.succession.take().version == 1


def test_a_version_whose_state_is_not_finite_is_refused_in_the_store(watch, tmp_path):
    publish(tmp_path)
    watched = watch()
    old = watched.succession.take()
    watched.succession.tried_on(SENSES)
    publish(tmp_path, seed=1, change=overflowing)
    reason = watched.wait_for('refused', 2)
    assert 'numbers that are not finite' in reason
    assert watched.succession.take() is old
    publish(tmp_path, seed=2)
    watched.wait_for('serving', 3)
    assert watched.store.refusal(NAME, 2) == reason
    assert [told[1] for told in watched.told if told[0] == 'refused'] == [2], 'told once'


def test_damage_is_refused_and_at_the_start_the_one_before_serves(watch, tmp_path):
    publish(tmp_path)
    publish(tmp_path, seed=1)
    weights = tmp_path / NAME / '000002' / 'weights.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1])
    watched = watch()
    assert 'truncated or changed' in watched.wait_for('refused', 2)
    assert watched.succession.take().version == 1


def test_one_that_does_not_fit_this_node_is_refused_by_it_alone(watch, tmp_path):
    is_first = True

    def check(version):
        fits_body(version, {'pose': 3} if is_first else {'pose': 3, 'goal': 1}, True, 'arena')

    publish(tmp_path)
    watched = watch(check=check)
    is_first = False
    publish(tmp_path, seed=1)
    assert f'pose, goal have 4 numbers, {NAME}@2 learned from 3' in watched.wait_for('refused', 2)
    assert watched.succession.take().version == 1
    assert watched.store.refusal(NAME, 2) is None
    with pytest.raises(ConfigError, match='have 4 numbers'):
        watch(check=check)


def test_a_version_that_sees_needs_a_camera(watch, tmp_path):
    publish(tmp_path)
    with pytest.raises(ConfigError, match=f'arena: has no picture .* {NAME}@1 learned to see'):
        watch(check=lambda version: fits_body(version, {}, False, 'arena'))


def test_a_named_version_stays_and_must_be_there_and_sound(watch, tmp_path):
    with pytest.raises(StoreError):
        watch(pinned=1)
    publish(tmp_path)
    publish(tmp_path, kind='nsca_fusion')
    with pytest.raises(ModelRefusedError, match='expected nsca_full'):
        watch(pinned=2)
    watched = watch(pinned=1)
    watched.succession.notice(NAME)
    assert watched.succession.take().version == 1
    assert watched.told == [('serving', 1, '')]
    assert watched.succession.take().world.published.config == TINY
