"""The loop with PPO: a robot that drives with what was published, without ROS."""

import numpy as np
import pytest
import torch
from point_mass import NUM_ACTIONS, from_arrays, mean_reward, point_contract
from point_mass import step as drive
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore
from robot_learning.phases import recipe
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.training_session import Destination, follow_store, learn_offline
from robot_learning.phases.validation import Split
from robot_learning.serving.policy import build_policy
from robot_learning.trajectory.store import TrajectoryStore

OVERRIDES = """
config: {hidden: [16], num_steps: 200, batch_size: 50, num_epochs: 10, learning_rate: 0.01,
         discount: 0.8}
trainer: {warmup_steps: 40, checkpoint_every_s: 1.0e+6, report_every_s: 1.0e-9}
"""


class Robot:
    """Drives the point with the newest version and records, as nodes do in several processes."""

    def __init__(self, root):
        self.store = TrajectoryStore(root / 'store')
        self.models = ModelStore(root / 'models')
        self.rng = np.random.default_rng(0)
        self.number = 0

    def policy(self):
        version = self.models.serving('point')
        if version is None:
            return None, -1
        return build_policy(*self.models.load('point', version), 'point'), version

    def drive(self, num_episodes):
        policy, version = self.policy()
        self.store.write_segment(
            [self.episode(policy, version) for _ in range(num_episodes)], 'a', point_contract()
        )

    def episode(self, policy, version):
        place = self.rng.uniform(-1.5, 1.5)
        places, speeds, rewards, terminated, log_probs = [place], [], [0.0], [False], []
        for _ in range(NUM_ACTIONS):
            if policy is None:
                speed, log_prob = self.rng.uniform(-2, 2), np.nan
            else:
                noise = self.rng.standard_normal(1)
                action, log_prob = policy.act(np.array([place], np.float32), noise)
                speed = float(action[0])
            place, reward, ended = drive(place, speed)
            places.append(place)
            speeds.append(speed)
            rewards.append(reward)
            terminated.append(ended)
            log_probs.append(log_prob)
            if ended:
                break
        episode = from_arrays(self.number, places, [*speeds, 0.0], rewards, terminated)
        episode.log_prob[:-1], episode.model_version[:-1] = log_probs, version
        self.number += 1
        return episode


def follow(root, seed=0, squash='tanh'):
    plan = recipe.load('ppo', overrides=OVERRIDES.replace('hidden', f'squash: {squash}, hidden'))
    destination = Destination(root / 'models', 'point', root)
    return follow_store(point_contract(), plan, root / 'store', destination, seed)


def run_dry(trainer):
    seen = []
    trainer.run(
        should_stop=lambda: bool(seen) and seen[-1].state == 'waiting', on_progress=seen.append
    )
    return seen[-1]


def learn(root, robot, trainer, rounds):
    for _ in range(rounds):
        robot.drive(10)
        progress = run_dry(trainer)
    return progress


@pytest.mark.parametrize(
    ('squash', 'kind'), [('tanh', 'gaussian_tanh_mlp'), ('clip', 'gaussian_clipped_mlp')]
)
def test_the_loop_closes_and_the_policy_learns(squash, kind, tmp_path):
    robot, trainer = Robot(tmp_path), follow(tmp_path, squash=squash)
    robot.drive(10)
    progress = run_dry(trainer)
    assert (progress.update, progress.version) == (0, 1)  # Something must drive first.
    assert progress.metrics['data/foreign_steps'] > 40
    assert 'newest version drives' in waiting_details(trainer)[0]

    def score():
        policy, _ = robot.policy()
        return mean_reward(lambda place: policy.act(np.array([place], np.float32)).action[0])

    before = score()
    progress = learn(tmp_path, robot, trainer, 60)
    assert progress.update == progress.version - 1 > 15
    assert score() > before + 0.3
    manifest = robot.models.manifest('point', progress.version)
    assert manifest['provenance']['parent'] == progress.version - 1
    assert manifest['policy']['kind'] == kind


def waiting_details(trainer):
    details = []
    trainer.run(should_stop=lambda: bool(details), on_progress=lambda p: details.append(p.detail))
    return details


def test_what_versions_of_before_drove_is_refused(tmp_path):
    robot, trainer = Robot(tmp_path), follow(tmp_path)
    robot.drive(10)
    run_dry(trainer)
    old = robot.policy()
    progress = learn(tmp_path, robot, trainer, 8)
    assert progress.version >= 3
    refused = progress.metrics['data/stale_steps']
    robot.store.write_segment([robot.episode(*old) for _ in range(30)], 'a', point_contract())
    after = run_dry(trainer)
    assert after.update == progress.update
    assert after.metrics['data/stale_steps'] > refused + 250


def test_interrupted_and_resumed_equals_uninterrupted_bit_by_bit(tmp_path):
    torch.set_num_threads(1)
    tensors = []
    for is_interrupted in (False, True):
        root = tmp_path / str(is_interrupted)
        robot, trainer = Robot(root), follow(root)
        robot.drive(10)
        run_dry(trainer)
        learn(root, robot, trainer, 5)  # Ends with a rollout that is not complete.
        trainer = follow(root, seed=0) if is_interrupted else trainer
        progress = learn(root, robot, trainer, 5)
        assert progress.metrics['data/dropped_steps'] == 0
        checkpoint = CheckpointFolder(root / 'checkpoints' / 'point-ppo').newest()
        tensors.append((checkpoint.tensors, checkpoint.content['experience']['rollouts']))
    (first, rollouts), (second, others) = tensors
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert rollouts == others


def test_after_a_crash_the_weights_of_the_checkpoint_drive_again(tmp_path):
    robot, trainer = Robot(tmp_path), follow(tmp_path)
    robot.drive(10)
    run_dry(trainer)
    learn(tmp_path, robot, trainer, 4)
    tensors, manifest = robot.models.load('point', robot.models.newest('point'))
    for _ in range(3):  # Published, and then it died before it saved.
        robot.models.publish('point', tensors, manifest)
    robot.drive(10)
    again = follow(tmp_path)
    progress = run_dry(again)
    assert progress.version == robot.models.newest('point')
    before = progress.update
    assert learn(tmp_path, robot, again, 6).update > before


def test_recorded_data_is_one_clear_error(tmp_path):
    robot = Robot(tmp_path)
    episodes = [robot.episode(None, -1) for _ in range(20)]
    plan = recipe.load('ppo', overrides=OVERRIDES)
    destination = Destination(tmp_path / 'models', 'point', tmp_path)
    split = Split(episodes[:15], episodes[15:])
    with pytest.raises(ConfigError, match=r'ppo: learns only from what its own .* --env'):
        learn_offline(point_contract(), plan, split, 'bag', destination, 0)
