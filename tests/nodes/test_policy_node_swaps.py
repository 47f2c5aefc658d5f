"""Canary, refusal and rollback as the rest of the system sees them."""

import contextlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robot_learning import contract as contracts
from robot_learning.model_store import ModelStore
from robot_learning.nodes import qos
from robot_learning.version_history import VersionHistory
from robot_learning_interfaces.msg import EpisodeEvent, ModelVersion
from robot_learning_interfaces.srv import LoadModel
from rover import Rover, call, policies, policy_node, stamp_of, wait_until, write_robot

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'serving'))
import bad_versions

RATE_HZ, TICKS = 25.0, 15
CALM = (0.2, 0.1)
ODD_SPEED = 0.275  # 0.55 as a feature, where `sometimes_nan` answers NaN.


class System:
    """A rover that senses all the time, its policy node, and what both say."""

    def __init__(self, rover, robot, models):
        self.rover, self.models = rover, models
        self.contract = contracts.load(robot)
        self.bad = bad_versions.BadVersions(models, self.contract, [16, 8], CALM)
        self.health = {}
        self.values = {}
        rover.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_health, 10)
        self.episodes = rover.node.create_publisher(
            EpisodeEvent, 'episode_event', qos.EPISODE_EVENT_QOS
        )

    def publish(self):
        """Publish a sound version and wait until it serves."""
        version = self._good()
        self.wait_for(ModelVersion.SERVING, version)
        wait_until(lambda: self.acting() == version, f'version {version} acts')
        return version

    def _good(self):
        spec = policies.spec_for(self.contract)
        tensors = policies.constant_tensors(spec, CALM)
        return policies.publish(self.models, self.contract, tensors)

    def acting(self):
        actions = self.rover.actions
        return actions[-1].version if actions else None

    def said(self, state, version):
        notices = list(self.rover.versions)
        return [n for n in notices if (n.state, n.version) == (state, version)]

    def wait_for(self, state, version):
        return wait_until(lambda: self.said(state, version), f'notice {state} of {version}')[0]

    def has_acted(self, version):
        return any(action.version == version for action in list(self.rover.actions))

    def _on_health(self, message):
        for status in message.status:
            self.health[status.name.partition(': ')[2]] = (status.level, status.message)


@pytest.fixture(scope='module')
def system(tmp_path_factory):
    folder = tmp_path_factory.mktemp('swaps')
    models = folder / 'models'
    models.mkdir()
    robot = write_robot(folder, control_rate_hz=RATE_HZ)
    parameters = {'canary.ticks': TICKS, 'poll_s': 0.05, 'rollback.hold_ticks': 5}
    with (
        contextlib.closing(Rover('/swapped')) as rover,
        policy_node('/swapped', robot, models, **parameters),
    ):
        rover.wait_for_policy(has_outcome=False)
        system = System(rover, robot, models)
        with rover.sensing(2 * RATE_HZ) as system.values:
            wait_until(lambda: rover.actions and 'model' in system.health, 'actions and health')
            wait_until(lambda: rover.node.count_publishers('model_version'), 'publisher')
            wait_until(lambda: system.episodes.get_subscription_count(), 'episode listener')
            system.publish()
            yield system


def test_a_good_version_is_announced_tried_and_then_serves(system):
    before = system.acting()
    version = system.publish()
    canary, serving = (
        system.said(state, version)[0] for state in (ModelVersion.CANARY, ModelVersion.SERVING)
    )
    assert canary.reason == f'in shadow of navigator@{before} for {TICKS} control steps'
    assert stamp_of(canary) < stamp_of(serving)
    assert serving.reason == ''
    assert len(serving.sha256) == 64


def test_a_version_that_fails_its_canary_is_refused_on_the_topic_and_in_the_store(system):
    before = system.acting()
    version = system.bad.opposite()
    reason = system.wait_for(ModelVersion.REFUSED, version).reason
    assert 'canary: divergence from the serving version is' in reason
    assert ModelStore(system.models).refusal('navigator', version) == reason
    assert VersionHistory(system.models).events('navigator')[-1].reason == reason
    assert VersionHistory(system.models).events('navigator')[-1].by == '/swapped/policy'
    assert system.acting() == before
    assert not system.has_acted(version)


def test_a_version_that_answers_nan_now_and_then_is_found_in_shadow(system):
    version = system.bad.sometimes_nan(14, 0.5, 0.6)
    system.wait_for(ModelVersion.CANARY, version)
    system.values['speed'] = ODD_SPEED
    reason = system.wait_for(ModelVersion.REFUSED, version).reason
    system.values['speed'] = 0.0
    assert 'answers [nan, nan] to a live observation' in reason
    assert not system.has_acted(version)


@pytest.mark.parametrize('kind', ['NaN weight', 'truncated', 'foreign contract hash'])
def test_a_version_that_fails_when_loaded_is_refused_on_the_topic(system, kind):
    version = system.bad.load_kinds[kind]()
    assert f'navigator@{version}' in system.wait_for(ModelVersion.REFUSED, version).reason
    assert not system.said(ModelVersion.CANARY, version)
    assert not system.has_acted(version)


def test_a_nan_stops_the_robot_for_one_step_and_the_version_before_drives_on(system):
    before = system.publish()
    version = system.bad.sometimes_nan(14, 0.5, 0.6)
    answer = call(
        system.rover, LoadModel, '/swapped/policy/load_model', LoadModel.Request(version=version)
    )  # Named by number: no canary.
    assert answer.success, answer.message
    wait_until(lambda: system.acting() == version, 'the version acts')
    system.values['speed'] = ODD_SPEED
    notice = system.wait_for(ModelVersion.ROLLED_BACK, before)
    wait_until(lambda: system.acting() == before, 'the version before acts')
    assert f'navigator@{version}: answered [nan, nan]' in notice.reason
    assert notice.reason in ModelStore(system.models).refusal('navigator', version)
    failed = [a for a in list(system.rover.actions) if a.version == version]
    last = failed[-1]
    assert all(math.isnan(value) for value in last.commanded)
    assert list(last.executed) == [0.0, 0.0]
    assert all(np.isfinite(action.commanded).all() for action in failed[:-1])
    wait_until(
        lambda: system.health['model'][0] == DiagnosticStatus.WARN, 'a warning on /diagnostics'
    )
    assert f'navigator@{version} was rolled back' in system.health['model'][1]
    system.values['speed'] = 0.0
    system.publish()
    wait_until(lambda: system.health['model'][0] == DiagnosticStatus.OK, 'health')


def test_episodes_that_fail_send_a_version_back(system):
    before = system.publish()
    number = 0

    def episode(success):
        nonlocal number
        count = len(system.rover.actions)
        wait_until(lambda: len(system.rover.actions) >= count + 3, 'steps of an episode')
        number += 1
        system.episodes.publish(
            EpisodeEvent(
                event=EpisodeEvent.END,
                episode=number,
                terminated=True,
                success=success,
                reason='goal' if success else 'collision',
            )
        )

    for _ in range(30):
        episode(True)
    version = system.publish()
    for _ in range(40):
        if system.said(ModelVersion.ROLLED_BACK, before):
            break
        episode(False)
    reason = system.wait_for(ModelVersion.ROLLED_BACK, before).reason
    assert f'navigator@{version}: ' in reason
    assert 'episodes succeeded' in reason
    assert reason in ModelStore(system.models).refusal('navigator', version)
    system.publish()  # Newer ones are followed again.
