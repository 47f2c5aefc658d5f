"""From the simulator to a policy that drives in it, all in this process and without ROS."""

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.commands.collect import RecordedDrive
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
from robot_learning.trajectory.store import TrajectoryStore

NUM_EPISODES = 40
NOISE = 0.3
NUM_UPDATES = 400
NUM_LAYOUTS = 12
LEARNING = """
config: {hidden: [64, 64], batch_size: 128, learning_rate: 1.0e-3}
trainer: {warmup_steps: 500, train_ratio: 10, max_saved_updates: 100000, report_every_updates: 50}
"""


def driven(contract, seed):
    """Drive one episode without recording it; return its actions, rewards and success."""
    world = World(contract, WorldConfig(camera='off'))
    teacher = GeodesicDriver(contract, NOISE)
    world.begin(seed)
    teacher.begin(seed)
    actions, rewards, success = [], [0.0], False
    while not world.ended:
        actions.append(teacher.act(world))
        result = world.step({'base': actions[-1]})
        rewards.append(result.reward)
        success = result.success
    return np.array(actions), np.array(rewards), success


@pytest.fixture(scope='module')
def contract():
    return contracts.load('arena')


@pytest.fixture(scope='module')
def recorded(contract, tmp_path_factory):
    """A store with a few segments, and what really happened."""
    store = TrajectoryStore(tmp_path_factory.mktemp('episodes'))
    recorder = Recorder(contract, RecorderConfig())
    world = World(contract, WorldConfig(camera='off'))
    drive = RecordedDrive(world, GeodesicDriver(contract, NOISE), recorder)
    for number in range(NUM_EPISODES):
        drive.episode(number, seed=number)
        if number % 10 == 9:
            store.write_segment(recorder.collect(), 'morning', contract)
    recorder.close()
    remaining = recorder.collect()
    if remaining:
        store.write_segment(remaining, 'morning', contract)
    return store, recorder


@pytest.fixture(scope='module')
def learned(contract, recorded, tmp_path_factory):
    """A model store with what behavioural cloning made of the recording."""
    store, _ = recorded
    models = tmp_path_factory.mktemp('models')
    recipe = recipes.load('behavior_cloning', overrides=LEARNING)
    trainer = follow_store(contract, recipe, store.root, Destination(models, 'navigator'), seed=0)
    progress = trainer.run(NUM_UPDATES)
    return models, progress


def test_the_store_holds_what_happened_step_by_step(contract, recorded):
    store, _ = recorded
    episodes = list(store.episodes())
    assert len(episodes) == NUM_EPISODES
    for seed, episode in enumerate(episodes):
        actions, rewards, success = driven(contract, seed)
        assert episode.is_complete
        assert np.array_equal(episode.action[:-1], actions)
        assert episode.reward == pytest.approx(rewards)
        assert episode.attributes['success'] == success
        assert (episode.model_version == -1).all()
        assert episode.attributes['seed'] == seed


def test_no_message_is_lost_or_unaccounted_for(recorded):
    _, recorder = recorded
    for topic, counts in recorder.counts().items():
        assert counts.unaccounted == 0, topic
        assert counts.dropped == 0, topic
    assert recorder.num_steps == recorder.counts()['policy_action'].used


def test_the_version_knows_where_it_comes_from(contract, recorded, learned):
    store, _ = recorded
    models, progress = learned
    manifest = ModelStore(models).manifest('navigator', progress.version)
    provenance = manifest['provenance']
    assert manifest['contract_hash'] == contract.hash
    paths = store.segments()
    (first, last) = paths[0], paths[-1]
    assert len(paths) > 1
    assert provenance['segments'] == [
        f'{first.parent.name}/{first.stem}..{last.stem.removeprefix("segment_")}.hdf5'
    ]
    assert provenance['update'] == NUM_UPDATES
    assert provenance['environment_step'] == sum(len(e) for e in store.episodes())


def test_the_numpy_policy_acts_as_the_trained_network_does(contract, recorded, learned):
    store, _ = recorded
    models, progress = learned
    tensors, manifest = ModelStore(models).load('navigator', progress.version)
    network = OfflinePolicy(tensors, manifest, contract)
    served = StoredPolicy(contract, models, 'navigator', progress.version)
    episode = next(iter(store.episodes()))
    fields = {name: episode.observations[name] for name in FeatureBuilder(contract).fields}
    actions = [served.act({k: v[t] for k, v in fields.items()}) for t in range(len(episode))]
    assert np.array(actions) == pytest.approx(
        network.mode(fields, episode.is_first, episode.action), abs=1e-4
    )


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
