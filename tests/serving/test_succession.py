import tempfile
from pathlib import Path

import bad_versions
import numpy as np
import policies
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import CONTRACT
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_store import WEIGHTS, ModelStore
from robot_learning.serving.canary import CanaryConfig
from robot_learning.serving.succession import Succession
from robot_learning.version_history import VersionHistory

FEATURES = np.zeros(policies.NUM_FEATURES, np.float32)
TICKS, HOLD = 10, 100
CALM = (0.2, 0.1)
KINDS = sorted(bad_versions.BadVersions(None, CONTRACT, [16, 8], CALM).load_kinds)


class Node:
    """One serving process: a succession, and the ticks of its control loop."""

    def __init__(self, root, version=-1, ticks=TICKS, store=None):
        self.store = store or ModelStore(root)
        self.said = []
        self.succession = Succession(
            self.store,
            CONTRACT,
            'navigator',
            version,
            CanaryConfig(ticks=ticks),
            HOLD,
            lambda change: self.said.append((change.state, change.version)),
            VersionHistory(root, by='/policy'),
        )
        self.succession.begin()

    @property
    def version(self):
        served = self.succession.acting
        return None if served is None else served.version

    def drive(self, ticks=TICKS, features=FEATURES):
        """Tick; look at the store every time."""
        for _ in range(ticks):
            self.succession.num_decisions += 1
            if self.succession.canary is not None:
                self.succession.canary.observe(features)
            self.succession.end_canary()
            self.succession.follow()
        return self.version

    def withdraw(self, reason='it circles'):
        self.succession.withdraw(self.succession.acting, reason)


@pytest.fixture
def bad(tmp_path):
    return bad_versions.BadVersions(tmp_path / 'models', CONTRACT, [16, 8], CALM)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'models'
    folder.mkdir()
    return folder


def publish(root, u=CALM):
    tensors = policies.constant_tensors(policies.spec_for(CONTRACT), u)
    return policies.publish(root, CONTRACT, tensors)


def states(root):
    return [(e.version, e.state) for e in VersionHistory(root).events('navigator')]


def test_the_first_version_serves_at_once_and_the_next_after_its_canary(root):
    publish(root)
    node = Node(root)
    assert node.version == 1
    publish(root)
    assert node.drive(TICKS) == 1  # The look that begins the canary comes after the first tick.
    assert node.drive(1) == 2
    assert node.said == [('serving', 1), ('canary', 2), ('serving', 2)]
    assert states(root) == [(1, 'serving'), (2, 'canary'), (2, 'serving')]
    assert (
        'canary passed: 10 steps in shadow' in VersionHistory(root).events('navigator')[-1].reason
    )


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_bad_when_loaded_never_acts_and_is_refused_by_name(root, bad, kind):
    publish(root)
    node = Node(root)
    version = bad.load_kinds[kind]()
    assert node.drive(3 * TICKS) == 1
    assert ('canary', version) not in node.said
    assert node.said.count(('refused', version)) == 1
    assert f'navigator@{version}' in ModelStore(root).refusal('navigator', version)
    assert Node(root).version == 1


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_bad_does_not_act_where_nothing_serves_either(root, bad, kind):
    bad.load_kinds[kind]()
    assert Node(root).version is None


def test_a_version_that_differs_too_much_fails_its_canary(root, bad):
    publish(root)
    node = Node(root)
    version = bad.opposite()
    assert node.drive(3 * TICKS) == 1
    assert node.said[1:] == [('canary', version), ('refused', version)]
    assert 'canary: divergence' in ModelStore(root).refusal('navigator', version)


def test_a_version_that_fails_on_some_live_observation_never_acts(root, bad):
    publish(root)
    node = Node(root)
    version = bad.sometimes_nan(14, 0.5, 0.6)
    node.drive(5)
    odd = FEATURES.copy()
    odd[14] = 0.55
    assert node.drive(1, odd) == 1
    assert node.drive(3 * TICKS) == 1
    assert 'answers [nan, nan]' in ModelStore(root).refusal('navigator', version)


def test_of_many_versions_one_at_a_time_is_tried_and_the_newest_next(root):
    publish(root)
    node = Node(root)
    served = {node.version}
    for _ in range(5 * TICKS):
        publish(root)
        served.add(node.drive(1))
    assert len([s for s in node.said if s[0] == 'canary']) == 5
    assert len(served) == 5
    assert max(served) > 3 * TICKS


def test_what_a_person_names_serves_without_canary(root, bad):
    publish(root)
    node = Node(root)
    version = bad.opposite()
    assert node.succession.load('navigator', version).version == version
    assert node.succession.is_chosen
    publish(root)
    assert node.drive(3 * TICKS) == version


def test_what_a_person_pins_in_the_store_serves_without_canary(root):
    publish(root)
    publish(root)
    node = Node(root)
    assert node.version == 2
    ModelStore(root).activate('navigator', 1)
    assert node.drive(1) == 1
    assert node.succession.is_chosen


def test_asking_for_the_newest_tries_it_first(root):
    publish(root)
    node = Node(root, version=1)
    publish(root)
    assert node.drive(3 * TICKS) == 1  # Pinned.
    assert node.succession.load('navigator', -1).version == 1
    assert node.drive(TICKS) == 2


def test_a_refused_version_is_not_loaded_by_number_until_it_is_pardoned(root, bad):
    publish(root)
    node = Node(root)
    version = bad.opposite()
    node.drive(2 * TICKS)
    with pytest.raises(ModelRefusedError, match=rf'was refused: .*pardon navigator@{version}'):
        node.succession.load('navigator', version)
    assert node.version == 1
    ModelStore(root).pardon('navigator', version)
    assert node.succession.load('navigator', version).version == version


def test_withdrawing_goes_back_marks_says_and_later_follows_newer_ones(root):
    publish(root)
    node = Node(root)
    publish(root)
    node.drive(2 * TICKS)
    assert node.version == 2
    node.withdraw('navigator@2: it circles')
    assert node.version == 1
    assert node.said[-2:] == [('refused', 2), ('rolled_back', 1)]
    assert ModelStore(root).refusal('navigator', 2) == 'rolled back: navigator@2: it circles'
    assert 'it circles' in node.succession.last_rollback
    version = publish(root)
    assert node.drive(HOLD - 1) == 1
    assert node.drive(2 * TICKS) == version
    assert node.succession.last_rollback == ''
    assert states(root)[-5:] == [
        (2, 'serving'),
        (2, 'refused'),
        (1, 'rolled_back'),
        (3, 'canary'),
        (3, 'serving'),
    ]


def test_a_condemned_version_acts_no_more_before_anybody_writes_it_down(root):
    publish(root)
    node = Node(root)
    publish(root)
    node.drive(2 * TICKS)
    node.succession.condemn(node.succession.acting)
    assert node.version == 1


def test_versions_skipped_before_the_withdrawn_one_are_not_taken_up_afterwards(root):
    publish(root)
    node = Node(root)
    publish(root)
    publish(root)
    node.drive(2 * TICKS)
    assert node.version == 3
    node.withdraw()
    assert node.drive(HOLD + 3 * TICKS) == 1
    assert publish(root) == 4
    assert node.drive(2 * TICKS) == 4


def test_a_restart_goes_on_with_what_served_and_tries_the_newest(root, bad):
    publish(root)
    Node(root)
    version = bad.opposite()  # Published while nobody was there.
    node = Node(root)
    assert node.version == 1
    assert node.drive(3 * TICKS) == 1
    assert ('refused', version) in node.said


def test_a_withdrawn_version_stays_away_after_a_restart(root):
    publish(root)
    node = Node(root)
    publish(root)
    node.drive(2 * TICKS)
    node.withdraw()
    again = Node(root)
    assert again.drive(HOLD + 3 * TICKS) == 1


def test_after_a_restart_it_goes_back_to_what_served_before(root):
    publish(root)
    Node(root)
    publish(root)
    Node(root).drive(2 * TICKS)
    node = Node(root)
    assert node.version == 2
    node.withdraw()
    assert node.version == 1


def test_without_a_good_version_none_acts_until_another_comes(root):
    publish(root)
    node = Node(root)
    node.withdraw()
    assert node.version is None
    assert node.drive(3 * TICKS) is None
    publish(root)
    assert node.drive(1) == 2


def test_withdrawals_in_a_row_come_to_rest(root):
    """Whatever is condemned, each version serves once and the end is a stop."""
    for _ in range(4):
        publish(root)
    node = Node(root)
    served = []
    for _ in range(20):
        if node.version is None:
            break
        served.append(node.version)
        node.withdraw()
        node.drive(HOLD + 2 * TICKS)
    assert node.version is None
    assert len(served) == len(set(served)) == 4


def test_what_another_node_refuses_is_left_here_too(root):
    publish(root)
    first, second = Node(root), Node(root)
    publish(root)
    first.drive(2 * TICKS)
    second.drive(2 * TICKS)
    assert (first.version, second.version) == (2, 2)
    first.withdraw('it circles')
    assert second.drive(1) == 1
    assert 'it circles' in second.succession.last_rollback


def test_what_another_node_refuses_during_the_canary_never_serves(root):
    publish(root)
    node = Node(root)
    version = publish(root)
    node.drive(TICKS // 2)
    ModelStore(root).refuse('navigator', version, 'it circles elsewhere')
    assert node.drive(3 * TICKS) == 1
    assert ('serving', version) not in node.said


def test_a_pinned_version_that_is_withdrawn_loses_its_pin(root):
    for _ in range(2):
        publish(root)
    store = ModelStore(root)
    Node(root)
    store.activate('navigator', 1)
    node = Node(root)
    assert node.version == 1
    node.withdraw()
    assert store.active('navigator') is None
    assert node.version == 2


class MeddledStore(ModelStore):
    """Somebody changes the file in place as soon as it has been read."""

    def load(self, name, version=None):
        result = super().load(name, version)
        path = self.root / name / f'{version:06d}' / WEIGHTS
        with path.open('r+b') as file:
            data = file.read()
            file.seek(len(data) - 400)
            file.write(b'\xff' * 400)  # NaN in every float of the last 100.
        return result


def test_what_was_checked_is_what_acts_when_the_file_changes_afterwards(root):
    version = publish(root)
    node = Node(root, store=MeddledStore(root))
    assert node.version == version
    action = node.succession.acting.policy.act(FEATURES).action
    expected = policies.constant_tensors(policies.spec_for(CONTRACT), CALM)
    assert np.isfinite(action).all()
    low, high = CONTRACT.action_low, CONTRACT.action_high
    mode = low + (np.tanh(expected['mean.bias']) + 1) / 2 * (high - low)
    np.testing.assert_allclose(action, mode, rtol=1e-6)
    with pytest.raises(ModelRefusedError, match='SHA-256'):
        ModelStore(root).load('navigator', version)


def test_a_store_that_cannot_be_written_is_remembered_here(root, bad):
    class ReadOnly(ModelStore):
        def refuse(self, name, version, reason):
            raise StoreError('read-only')

    publish(root)
    node = Node(root, store=ReadOnly(root))
    bad.load_kinds['overflow']()
    assert node.drive(3 * TICKS) == 1
    assert node.said.count(('refused', 2)) == 1


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(['good', 'opposite', 'sometimes NaN', 'withdraw', 'restart', *KINDS]),
            st.integers(0, 3 * TICKS),
        ),
        max_size=12,
    )
)
def test_nothing_bad_ever_acts_whatever_the_order(steps):
    odd = FEATURES.copy()
    odd[14] = 0.55
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'models'
        root.mkdir()
        bad = bad_versions.BadVersions(root, CONTRACT, [16, 8], CALM)
        publish(root)
        node, never = Node(root), set()
        for action, ticks in steps:
            if action == 'good':
                publish(root)
            elif action == 'withdraw' and node.version is not None:
                never.add(node.version)
                node.withdraw()
            elif action == 'restart':
                node = Node(root)
            elif action == 'opposite':
                bad.opposite()  # Bad only beside another one.
            elif action == 'sometimes NaN':
                bad.sometimes_nan(14, 0.5, 0.6)
            elif action in KINDS:
                never.add(bad.load_kinds[action]())
            for tick in range(ticks):
                node.drive(1, odd if tick % 4 == 0 else FEATURES)
                acting = node.version
                assert acting not in never
                assert acting is None or node.store.refusal('navigator', acting) is None


def test_between_the_failure_and_its_mark_in_the_store_nobody_takes_it_again(root):
    """The loading thread may look for newer versions in just that moment."""
    publish(root)
    node = Node(root, ticks=0)
    publish(root)
    assert node.drive(1) == 2
    node.succession.condemn(node.succession.acting)
    assert node.drive(5) == 1
    with pytest.raises(ModelRefusedError, match='it has just failed here'):
        node.succession.load('navigator', 2)
    assert node.said.count(('serving', 2)) == 1
