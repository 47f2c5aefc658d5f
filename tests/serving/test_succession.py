import bad_versions
import numpy as np
import policies
import pytest
from policies import CONTRACT
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_store import WEIGHTS, ModelStore
from robot_learning.version_history import VersionHistory
from ticking_node import CALM, FEATURES, KINDS, TICKS, Node, publish


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


def test_a_world_model_under_the_name_that_is_followed_is_refused_once_in_one_line(root):
    publish(root)
    node = Node(root)
    tensors = {'rssm.prior_output.bias': np.zeros(8, np.float32)}
    version = ModelStore(root).publish('navigator', tensors, {'policy': {'kind': 'world_model'}})
    assert node.drive(3 * TICKS) == 1
    assert node.said == [('serving', 1), ('refused', version)]
    reason = ModelStore(root).refusal('navigator', version)
    assert reason.startswith(f'navigator@{version}: is a world model, which predicts and drives')
    assert len(reason.splitlines()) == 1
    publish(root)  # And does not stand in the way of the next one.
    assert node.drive(2 * TICKS) == 3


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


def test_a_pin_ends_the_canary_at_once(root):
    publish(root)
    publish(root)
    node = Node(root)
    tried = publish(root)
    node.drive(TICKS // 2)
    assert node.said[-1] == ('canary', tried)
    ModelStore(root).activate('navigator', 1)
    node.succession.follow()
    assert node.version == 1
    assert node.succession.canary is None
    assert node.drive(3 * TICKS) == 1
    assert ('serving', tried) not in node.said


def test_a_pin_on_what_is_being_tried_lets_it_serve_at_once(root):
    publish(root)
    node = Node(root)
    tried = publish(root)
    node.drive(TICKS // 2)
    ModelStore(root).activate('navigator', tried)
    assert node.drive(1) == tried
    assert node.succession.is_chosen


def test_a_canary_that_is_over_does_not_overrule_a_pin(root):
    publish(root)
    node = Node(root)
    tried = publish(root)
    node.succession.follow()
    for _ in range(TICKS):
        node.succession.canary.observe(FEATURES)
    ModelStore(root).activate('navigator', 1)
    node.succession.end_canary()
    assert node.version == 1
    assert ('serving', tried) not in node.said


def test_what_serves_already_is_a_persons_choice_while_it_is_pinned(root):
    publish(root)
    node = Node(root)
    ModelStore(root).activate('navigator', 1)
    node.drive(1)
    assert node.succession.is_chosen
    ModelStore(root).release('navigator')
    node.drive(1)
    assert not node.succession.is_chosen


def test_after_many_versions_that_only_waited_a_restart_goes_on_with_what_served(root):
    publish(root)
    Node(root)
    for _ in range(5):
        publish(root)
        ModelStore(root).prune('navigator', keep_best=0, keep_newest=2)
    node = Node(root)
    assert node.version == 1
    assert node.said == [('serving', 1), ('canary', 6)]
