"""A robot that sees how far it has come: the picture is as bright as its place is far right."""

import numpy as np
from point_mass import NUM_ACTIONS, episode, point_contract
from robot_learning.trajectory.store import TrajectoryStore

SIZE = 64
CAMERA = {
    'topic': 'camera/image_raw',
    'type': 'sensor_msgs/msg/Image',
    'shape': [SIZE, SIZE, 3],
    'dtype': 'uint8',
}
# For episodes of eleven steps; the place is one number.
SETTINGS = """
phase: nsca
config:
  model: {latent_size: 16, state_size: 16, image_size: 32, base_channels: 4, blocks_per_stage: 0,
    audio_channels: 4, proprioception_size: 1, fusion_heads: 2, fusion_layers: 1,
    temporal_heads: 2, temporal_layers: 1, temporal_length: 8, dynamics_layers: 1, dropout: 0.0}
  vision:
    passes: {epochs: 2, batch_size: 8}
    contrast: {smallest_rank: 1.0}
  fusion:
    senses: [vision, proprioception]
    passes: {epochs: 2, batch_size: 8}
    loss: {smallest_rank: 1.0, smallest_std: 0.0}
    window: {felt_steps: 2}
  dynamics: {passes: {epochs: 2, batch_size: 8}, loss: {horizon: 3, starts: 1}}
  full:
    passes: {epochs: 2, batch_size: 8}
    train_encoders: false
    fusion: {smallest_rank: 1.0, smallest_std: 0.0}
    dynamics: {horizon: 3, starts: 1}
  follow: {first_steps: 100, growth: 0.5, held_out: 0.25}
"""


def light_contract():
    place = {
        'topic': 'place',
        'type': 'std_msgs/msg/Float64MultiArray',
        'shape': [1],
        'unit': 'm',
    }
    return point_contract(observation={'place': place, 'camera': CAMERA})


def write_lights(root, count, seed, session='today'):
    """Write `count` episodes that are not cut short as one segment; return their steps."""
    rng = np.random.default_rng(seed)
    pieces = []
    for number in range(100 * seed, 100 * seed + count):
        piece = episode(number, rng, policy=lambda place: -place + rng.uniform(-1, 1))
        assert len(piece.reward) == NUM_ACTIONS + 1
        light = np.clip(127 + 60 * piece.observations['place'][:, 0], 0, 255)
        noise = rng.integers(0, 20, (len(light), SIZE, SIZE, 3))
        frames = np.clip(light[:, None, None, None] + noise, 0, 255).astype(np.uint8)
        piece.observations['camera'] = frames
        piece.present['camera'] = np.ones(len(light), bool)
        piece.field_stamp_ns['camera'] = piece.stamp_ns.copy()
        pieces.append(piece)
    TrajectoryStore(root).write_segment(pieces, session, light_contract())
    return sum(len(piece.reward) for piece in pieces)
