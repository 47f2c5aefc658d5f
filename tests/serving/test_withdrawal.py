"""Versions that are withdrawn, by this node or another, before and after restarts."""

import tempfile
from pathlib import Path

import bad_versions
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import CONTRACT
from robot_learning.errors import ModelRefusedError
from robot_learning.model_store import ModelStore
from robot_learning.version_history import VersionHistory
from ticking_node import CALM, FEATURES, HOLD, KINDS, TICKS, Node, publish


@pytest.fixture
def bad(tmp_path):
    return bad_versions.BadVersions(tmp_path / 'models', CONTRACT, [16, 8], CALM)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'models'
    folder.mkdir()
    return folder


def states(root):
    return [(e.version, e.state) for e in VersionHistory(root).events('navigator')]


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


def test_serving_never_goes_back_to_what_another_node_has_refused(root):
    publish(root)
    node = Node(root)
    for _ in range(2):
        publish(root)
        node.drive(2 * TICKS)
    assert node.version == 3
    ModelStore(root).refuse('navigator', 2, 'it circles elsewhere')
    node.withdraw()
    assert node.version == 1
    assert ('rolled_back', 2) not in node.said


def test_the_version_behind_is_forgotten_before_it_is_needed(root):
    publish(root)
    node = Node(root)
    for _ in range(2):
        publish(root)
        node.drive(2 * TICKS)
    ModelStore(root).refuse('navigator', 2, 'it circles elsewhere')
    node.drive(1)
    node.succession.condemn(node.succession.acting)  # Nobody looks at the store now.
    assert node.version == 1


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
