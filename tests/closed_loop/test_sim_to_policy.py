"""From the simulator to a policy that drives in it, all in this process and without ROS."""

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.commands.simulated_navigation import (
    SimulatedNavigation,
    StoredPolicy,
    baseline_factory,
)
from robot_learning.evaluation.layouts import evaluation_layouts
from robot_learning.evaluation.navigation import evaluate_navigation
from robot_learning.evaluation.offline_policy import OfflinePolicy
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.phases import recipe as recipes
from robot_learning.phases.training_session import Destination, follow_store
from robot_learning.simulation.drivers import GeodesicDriver
from robot_learning.simulation.world import World, WorldConfig
from robot_learning.trajectory.recorder import Recorder, RecorderConfig
from robot_learning.trajectory.signals import Decision, Mark, Outcome
from robot_learning.trajectory.store import TrajectoryStore

NUM_EPISODES = 40
NUM_UPDATES = 400
NUM_LAYOUTS = 12
LEARNING = """
config: {hidden: [64, 64], batch_size: 128, learning_rate: 1.0e-3}
trainer: {warmup_steps: 500, train_ratio: 10, max_saved_updates: 100000, report_every_updates: 50}
"""


class Drive:
    """Drives a teacher through the world and tells a recorder, as topics would."""

    def __init__(self, contract, recorder):
        self.contract = contract
        self.world = World(contract, WorldConfig(camera='off'))
        self.teacher = GeodesicDriver(contract, noise=0.3)
        self.recorder = recorder
        self.experienced = []  # Per episode: actions and rewards as they happened.

    def episode(self, number):
        world = self.world
        world.begin(number)
        self.teacher.begin(number)
        self.recorder.mark(Mark(world.time_ns, True, number, 'simulator', number))
        self._publish_sensors()
        self._arrive(number, 0.0, False, False, False)
        actions, rewards = [], [0.0]
        while not world.ended:
            action = self.teacher.act(world)
            self.recorder.act(Decision(world.time_ns, action, action, model_version=7))
            actions.append(action)
            world.apply({'base': action})
            world.advance(self.contract.control_period_ns)
            outcome = world.judge()
            rewards.append(outcome.reward)
            self._publish_sensors()
            self._arrive(number, *outcome[:4])
        stop = self.contract.action_stop
        self.recorder.act(Decision(world.time_ns, stop, stop, model_version=7))
        self.recorder.mark(
            Mark(
                world.time_ns,
                False,
                number,
                'simulator',
                number,
                outcome.terminated,
                outcome.truncated,
                outcome.success,
                outcome.reason,
            )
        )
        self.experienced.append((np.array(actions), np.array(rewards), outcome.success))

    def _publish_sensors(self):
        readings = {}
        for name, value in self.world.observe().items():
            readings.setdefault(self.contract.observation[name].topic, {})[name] = value
        for topic, values in readings.items():
            self.recorder.read(topic, self.world.time_ns, values)

    def _arrive(self, number, reward, terminated, truncated, success):
        step = self.world.num_steps
        self.recorder.arrive(
            Outcome(
                self.world.time_ns,
                number,
                step,
                step == 0,
                reward,
                terminated,
                truncated,
                success,
            )
        )


@pytest.fixture(scope='module')
def contract():
    return contracts.load('arena')


@pytest.fixture(scope='module')
def recorded(contract, tmp_path_factory):
    """A store with a few segments, and what really happened."""
    store = TrajectoryStore(tmp_path_factory.mktemp('episodes'))
    recorder = Recorder(contract, RecorderConfig())
    drive = Drive(contract, recorder)
    for number in range(NUM_EPISODES):
        drive.episode(number)
        if number % 10 == 9:
            store.write_segment(recorder.collect(), 'morning', contract)
    recorder.close()
    remaining = recorder.collect()
    if remaining:
        store.write_segment(remaining, 'morning', contract)
    return store, recorder, drive


@pytest.fixture(scope='module')
def learned(contract, recorded, tmp_path_factory):
    """A model store with what behavioural cloning made of the recording."""
    store, _, _ = recorded
    models = tmp_path_factory.mktemp('models')
    recipe = recipes.load('behavior_cloning', overrides=LEARNING)
    trainer = follow_store(contract, recipe, store.root, Destination(models, 'navigator'), seed=0)
    progress = trainer.run(NUM_UPDATES)
    return models, progress


def test_the_store_holds_what_happened_step_by_step(recorded):
    store, _, drive = recorded
    episodes = list(store.episodes())
    assert len(episodes) == NUM_EPISODES
    for episode, (actions, rewards, success) in zip(episodes, drive.experienced, strict=True):
        assert episode.is_complete
        assert np.array_equal(episode.action[:-1], actions)
        assert episode.reward == pytest.approx(rewards)
        assert episode.attributes['success'] == success
        assert (episode.model_version[:-1] == 7).all()


def test_no_message_is_lost_or_unaccounted_for(recorded):
    _, recorder, _ = recorded
    for topic, counts in recorder.counts().items():
        assert counts.unaccounted == 0, topic
        assert counts.dropped == 0, topic
    assert recorder.num_steps == recorder.counts()['policy_action'].used


def test_the_version_knows_where_it_comes_from(contract, recorded, learned):
    store, _, _ = recorded
    models, progress = learned
    manifest = ModelStore(models).manifest('navigator', progress.version)
    provenance = manifest['provenance']
    assert manifest['contract_hash'] == contract.hash
    assert provenance['segments'] == [
        f'{path.parent.name}/{path.name}' for path in store.segments()
    ]
    assert provenance['update'] == NUM_UPDATES
    assert provenance['environment_step'] == sum(len(e) for e in store.episodes())


def test_the_numpy_policy_acts_as_the_trained_network_does(contract, recorded, learned):
    store, _, _ = recorded
    models, progress = learned
    tensors, manifest = ModelStore(models).load('navigator', progress.version)
    network = OfflinePolicy(tensors, manifest, contract)
    served = StoredPolicy(contract, models, 'navigator', progress.version)
    episode = next(iter(store.episodes()))
    fields = {name: episode.observations[name] for name in FeatureBuilder(contract).fields}
    actions = [served.act({k: v[t] for k, v in fields.items()}) for t in range(len(episode))]
    assert np.array(actions) == pytest.approx(network.mode(fields), abs=1e-4)


def test_the_learned_policy_drives_better_than_straight_at_the_goal(contract, learned):
    models, progress = learned
    world = SimulatedNavigation(contract)
    layouts = evaluation_layouts(NUM_LAYOUTS)
    straight = evaluate_navigation('straight', world, baseline_factory('straight'), layouts)
    policy = evaluate_navigation(
        'learned',
        world,
        lambda world: StoredPolicy(contract, models, 'navigator', progress.version),
        layouts,
    )
    assert straight.num_successes <= 0.6 * NUM_LAYOUTS
    assert policy.num_successes > straight.num_successes
