"""A point on a line whose best policy is known: drive to 0 at once and stay.

x' = x + 0.5 v with v in [-2, 2] m/s, reward -x'^2, terminated beyond |x| = 3, truncated after
ten actions.
"""

import numpy as np
from robot_learning import contract as contracts
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore

PERIOD_NS = 100_000_000
NUM_ACTIONS = 10


def point_contract(**changes):
    return contracts.from_dict(
        {
            'robot': 'point',
            'description': 'A point on a line',
            'control_rate_hz': 10,
            'observation': {
                'place': {
                    'topic': 'place',
                    'type': 'std_msgs/msg/Float64MultiArray',
                    'shape': [1],
                    'unit': 'm',
                }
            },
            'actions': {
                'speed': {
                    'topic': 'speed',
                    'type': 'std_msgs/msg/Float64MultiArray',
                    'components': ['speed'],
                    'unit': ['m/s'],
                    'low': [-2.0],
                    'high': [2.0],
                    'stop': [0.0],
                }
            },
            'features': [{'kind': 'vector', 'fields': ['place'], 'scale': [1.0]}],
            **changes,
        }
    )


def step(place, speed):
    """Return the next place, its reward and whether the task ended."""
    place = place + 0.5 * np.clip(speed, -2, 2)
    return place, -(place**2), abs(place) > 3


def episode(number, rng, policy=None, num_actions=NUM_ACTIONS):
    """Drive one episode; the policy is random unless given as place -> speed."""
    place = rng.uniform(-1.5, 1.5)
    places, speeds, rewards, terminated = [place], [], [0.0], [False]
    for _ in range(num_actions):
        speed = rng.uniform(-2, 2) if policy is None else policy(place)
        place, reward, ended = step(place, speed)
        places.append(place)
        speeds.append(speed)
        rewards.append(reward)
        terminated.append(ended)
        if ended:
            break
    return from_arrays(number, places, [*speeds, 0.0], rewards, terminated)


def from_arrays(number, places, speeds, rewards, terminated, truncated=None, offset=0):
    count = len(places)
    stamp = (np.arange(count) + offset) * PERIOD_NS + number * 100 * PERIOD_NS
    if truncated is None:
        truncated = [False] * (count - 1) + [not terminated[-1]]
    action = np.asarray(speeds, np.float32)[:, None]
    return Episode(
        episode=number,
        offset=offset,
        stamp_ns=stamp.astype(np.int64),
        observations={'place': np.asarray(places, np.float32)[:, None]},
        field_stamp_ns={'place': stamp.astype(np.int64)},
        present={'place': np.ones(count, bool)},
        action=action,
        commanded=action,
        altered=np.zeros(count, bool),
        log_prob=np.full(count, np.nan, np.float32),
        model_version=np.full(count, -1, np.int64),
        reward=np.asarray(rewards, np.float32),
        terminated=np.asarray(terminated, bool),
        truncated=np.asarray(truncated, bool),
        is_first=np.arange(count) + offset == 0,
        is_complete=bool(terminated[-1] or truncated[-1]),
        attributes={'success': bool(abs(places[-1]) < 0.1)},
    )


def episodes(count, seed, policy=None, first=0):
    rng = np.random.default_rng(seed)
    return [episode(first + index, rng, policy) for index in range(count)]


def write_store(root, count, seed, session='a', first=0, per_segment=5, policy=None, reward=None):
    """Write `count` episodes into segments of a store."""
    store = TrajectoryStore(root)
    recorded = episodes(count, seed, policy, first)
    for recording in recorded if reward is not None else ():
        recording.reward[:] = reward
    for start in range(0, count, per_segment):
        store.write_segment(recorded[start : start + per_segment], session, point_contract())
    return store


def mean_reward(act, seed=99, num_episodes=40):
    """Return the mean reward per step of a policy place -> speed."""
    rng = np.random.default_rng(seed)
    rewards = []
    for _ in range(num_episodes):
        place = rng.uniform(-1.5, 1.5)
        for _ in range(NUM_ACTIONS):
            place, reward, ended = step(place, act(place))
            rewards.append(reward)
            if ended:
                break
    return float(np.mean(rewards))
