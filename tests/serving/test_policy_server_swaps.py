"""Versions that fail while the server runs on its own thread, and what acts meanwhile."""

import math
import threading
import time

import bad_versions
import numpy as np
import policies
import pytest
from policies import CONTRACT
from robot_learning.model_store import ModelStore
from robot_learning.serving.canary import CanaryConfig
from robot_learning.serving.policy_server import Decision, PolicyServer, ServingConfig
from robot_learning.serving.rollback import RollbackConfig
from robot_learning.version_history import VersionHistory

FEATURES = np.zeros(policies.NUM_FEATURES, np.float32)
ODD = FEATURES.copy()
ODD[14] = 0.55  # In the band of `sometimes_nan`.
CALM = (0.2, 0.1)
DEADLINE_S = 20.0


class Loop:
    """A control loop without a robot; keeps who acted."""

    def __init__(self, root, store=None, **config):
        config = {'poll_s': 0.02, 'canary': CanaryConfig(ticks=0), 'seed': 1, **config}
        self.root = root
        self.changes = []
        self.acted = []
        self.server = PolicyServer(
            store or ModelStore(root),
            CONTRACT,
            ServingConfig(**config),
            self.changes.append,
            VersionHistory(root),
        )
        self.server.start()

    def tick(self, features=FEATURES, reasons=()):
        decision = self.server.act(features)
        self.acted.append(decision.version)
        self.server.review(decision, reasons)
        return decision

    def tick_until(self, predicate, features=FEATURES):
        end = time.monotonic() + DEADLINE_S
        while not predicate():
            assert time.monotonic() < end, (self.changes, self.acted[-5:])
            self.tick(features)
            time.sleep(0.001)

    def serve(self, version):
        self.tick_until(lambda: self.acted and self.acted[-1] == version)

    def said(self, state, version):
        return [c for c in self.changes if (c.state, c.version) == (state, version)]

    def episode(self, success, reasons=(), steps=10):
        for _ in range(steps):
            self.tick(reasons=reasons)
        self.server.end_episode(success)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'models'
    folder.mkdir()
    return folder


@pytest.fixture
def bad(root):
    return bad_versions.BadVersions(root, CONTRACT, [16, 8], CALM)


@pytest.fixture
def make_loop(root):
    loops = []

    def make(**config):
        loops.append(Loop(root, **config))
        return loops[-1]

    yield make
    for loop in loops:
        loop.server.close()


def publish(root):
    tensors = policies.constant_tensors(policies.spec_for(CONTRACT), CALM)
    return policies.publish(root, CONTRACT, tensors)


def test_a_new_version_is_tried_beside_the_old_one_and_then_serves(root, make_loop):
    publish(root)
    loop = make_loop(canary=CanaryConfig(ticks=30))
    loop.serve(1)
    publish(root)
    loop.tick_until(lambda: loop.said('canary', 2))
    assert loop.server.candidate.startswith('navigator@2: ')
    loop.serve(2)
    assert loop.server.candidate == ''
    assert 'in shadow of navigator@1 for 30 control steps' in loop.said('canary', 2)[0].reason


def test_at_the_first_nan_the_version_before_acts_from_the_next_decision_on(root, bad, make_loop):
    publish(root)
    loop = make_loop()
    loop.serve(1)
    version = bad.sometimes_nan(14, 0.5, 0.6)
    loop.serve(version)
    assert np.isnan(loop.tick(ODD).action).all()  # The gate makes a stop of it.
    assert loop.tick(ODD).version == 1
    assert np.isfinite(loop.tick(ODD).action).all()
    loop.tick_until(lambda: loop.said('rolled_back', 1))
    reason = ModelStore(root).refusal('navigator', version)
    assert (
        reason == f'rolled back: navigator@{version}: answered [nan, nan], expected finite actions'
    )
    assert f'navigator@{version} was rolled back' in loop.server.warning
    for _ in range(100):
        assert loop.tick().version == 1


def test_a_number_of_nans_may_be_allowed(root, bad, make_loop):
    publish(root)
    loop = make_loop(rollback=RollbackConfig(non_finite=3))
    loop.serve(1)
    version = bad.sometimes_nan(14, 0.5, 0.6)
    loop.serve(version)
    assert [loop.tick(ODD).version for _ in range(4)] == [version, version, version, 1]


def test_an_observation_that_no_version_can_answer_condemns_none(root, bad, make_loop):
    bad.sometimes_nan(14, 0.5, 0.6)
    loop = make_loop()
    loop.serve(1)
    loop_version = bad.sometimes_nan(14, 0.5, 0.6)
    loop.serve(loop_version)
    for _ in range(5):
        assert loop.tick(ODD).version == loop_version
    assert not loop.said('refused', loop_version)


def test_the_only_version_is_refused_at_a_nan_and_the_robot_stops(root, bad, make_loop):
    version = bad.sometimes_nan(14, 0.5, 0.6)
    loop = make_loop()
    loop.serve(version)
    loop.tick(ODD)
    decision = loop.tick()
    assert decision.version == -1
    assert math.isnan(decision.log_prob)
    np.testing.assert_array_equal(decision.action, CONTRACT.action_stop)
    loop.tick_until(lambda: loop.said('refused', version))


def test_success_that_collapses_is_rolled_back_with_the_reason_everywhere(root, make_loop):
    publish(root)
    loop = make_loop()
    loop.serve(1)
    loop.server.start_episode()
    for _ in range(30):
        loop.episode(True)
    publish(root)
    loop.serve(2)
    loop.server.start_episode()
    for _ in range(30):
        loop.episode(False)
    loop.tick_until(lambda: loop.said('rolled_back', 1))
    assert loop.acted[-1] == 1
    reason = loop.said('rolled_back', 1)[0].reason
    assert 'episodes succeeded, 30 of 30 with the versions before' in reason
    assert reason in ModelStore(root).refusal('navigator', 2)
    events = VersionHistory(root).events('navigator')
    assert [(e.version, e.state) for e in events[-2:]] == [(2, 'refused'), (1, 'rolled_back')]
    assert events[-1].reason == reason
    again = make_loop()
    again.serve(1)
    assert 2 not in again.acted


def test_a_version_that_a_person_chose_is_complained_about_and_serves_on(root, make_loop):
    publish(root)
    publish(root)
    loop = make_loop()
    loop.serve(2)
    for _ in range(30):
        loop.episode(True)
    loop.server.load(version=1).result(DEADLINE_S)
    loop.server.start_episode()
    for _ in range(30):
        loop.episode(False)
    assert loop.acted[-1] == 1
    assert 'it serves on because it was chosen by name' in loop.server.warning
    assert ModelStore(root).refusal('navigator', 1) is None


def test_gate_interventions_that_rise_are_rolled_back(root, make_loop):
    publish(root)
    loop = make_loop()
    loop.serve(1)
    for _ in range(2000):
        loop.tick()
    publish(root)
    loop.serve(2)
    for _ in range(1000):
        loop.tick(reasons=('rate',))
    loop.tick_until(lambda: loop.said('rolled_back', 1))
    assert 'the gate altered' in loop.said('rolled_back', 1)[0].reason


def test_stops_for_other_reasons_are_not_the_fault_of_the_version(root, make_loop):
    publish(root)
    loop = make_loop(rollback=RollbackConfig(max_altered_share=0.1))
    loop.serve(1)
    for _ in range(3000):
        loop.tick(reasons=('emergency_stop',))
    assert not loop.said('refused', 1)


def test_what_a_person_commands_is_not_the_fault_of_the_version(root, make_loop):
    publish(root)
    loop = make_loop(rollback=RollbackConfig(min_success_rate=0.9, max_altered_share=0.1))
    loop.serve(1)
    loop.server.start_episode()
    by_person = Decision(CONTRACT.action_stop, math.nan, '', -1, False)
    for _ in range(50):
        for _ in range(60):
            loop.server.act(FEATURES)
            loop.server.review(by_person, ('rate',))
        loop.server.end_episode(False)
    assert not loop.said('refused', 1)


def test_rollback_can_be_switched_off(root, bad, make_loop):
    publish(root)
    loop = make_loop(rollback=RollbackConfig(enabled=False, min_success_rate=0.9))
    loop.serve(1)
    version = bad.sometimes_nan(14, 0.5, 0.6)
    loop.serve(version)
    loop.tick(ODD)
    for _ in range(50):
        loop.episode(False)
    assert loop.tick().version == version


class SlowStore(ModelStore):
    """A file that does not come for as long as somebody likes."""

    def __init__(self, root):
        super().__init__(root)
        self.may_go_on = threading.Event()
        self.is_asked = threading.Event()

    def load(self, name, version=None):
        if version != 1:
            self.is_asked.set()
            assert self.may_go_on.wait(DEADLINE_S)
        return super().load(name, version)


def test_while_a_slow_file_is_read_the_old_version_acts_and_can_be_left(root, bad, make_loop):
    publish(root)
    store = SlowStore(root)
    loop = make_loop(store=store)
    loop.serve(1)
    publish(root)
    loop.server.notice('navigator')
    assert store.is_asked.wait(DEADLINE_S)
    assert {loop.tick().version for _ in range(1000)} == {1}
    store.may_go_on.set()
    loop.serve(2)


def test_a_trainer_that_publishes_all_the_time_neither_starves_nor_floods(root, make_loop):
    publish(root)
    loop = make_loop(canary=CanaryConfig(ticks=20), poll_s=5.0)
    loop.serve(1)
    ending = threading.Event()

    def train():
        while not ending.wait(0.02):  # 50 a second.
            publish(root)
            loop.server.notice('navigator')

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        loop.tick_until(lambda: len(set(loop.acted)) >= 8)
    finally:
        ending.set()
        trainer.join()
    served = [change.version for change in loop.changes if change.state == 'serving']
    tried = [change.version for change in loop.changes if change.state == 'canary']
    assert served[1:] == tried[: len(served) - 1]
    assert set(loop.acted) <= {-1, *served}
    assert loop.acted == sorted(loop.acted)
    assert not [change for change in loop.changes if change.state == 'refused']


@pytest.mark.parametrize('kind', ['NaN weight', 'overflow', 'truncated', 'half a manifest'])
def test_bad_versions_among_good_ones_never_act(root, bad, make_loop, kind):
    publish(root)
    loop = make_loop(canary=CanaryConfig(ticks=5))
    loop.serve(1)
    never = set()
    for _ in range(3):
        never.add(bad.load_kinds[kind]())
        loop.tick_until(lambda: all(loop.said('refused', version) for version in never))
        loop.serve(publish(root))
    assert not never & set(loop.acted)


class FaultyStore(ModelStore):
    """Fails in a way that nobody has thought of, once."""

    def __init__(self, root):
        super().__init__(root)
        self.is_broken = False

    def serving(self, name):
        if self.is_broken:
            raise OverflowError('cannot convert float infinity to integer')
        return super().serving(name)


def test_versions_change_again_after_an_unforeseen_fault_that_is_told(root, make_loop):
    publish(root)
    store = FaultyStore(root)
    loop = make_loop(store=store)
    loop.serve(1)
    store.is_broken = True
    loop.tick_until(lambda: 'cannot convert float infinity' in loop.server.warning)
    store.is_broken = False
    publish(root)
    loop.serve(2)
    loop.tick_until(lambda: loop.server.warning == '')
