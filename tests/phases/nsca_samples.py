"""A few samples of all senses, for tests of NSCA: brighter things ring higher and weigh more."""

import h5py
import numpy as np
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.trajectory.paired_arrays import from_arrays

STEPS, SECONDS = 6, 0.6
EVERYTHING = ('image', 'sound', 'proprioception', 'action', 'frames', 'properties')
TINY = NscaModelConfig(
    latent_size=16,
    state_size=16,
    image_size=32,
    base_channels=4,
    blocks_per_stage=0,
    audio_channels=4,
    proprioception_size=3,
    fusion_heads=2,
    fusion_layers=1,
    temporal_heads=2,
    temporal_layers=1,
    temporal_length=8,
    dynamics_layers=1,
    dropout=0.0,
)


def sample_set(count=24, seed=0, senses=('image', 'sound', 'proprioception', 'action', 'frames')):
    """A brightness of its own per sample; what the action adds up to moves the body."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(0.2, 0.8, count)
    action = np.zeros((count, STEPS, 16), np.float32)
    action[:, :, 0] = rng.uniform(-1, 1, (count, STEPS))
    place = np.cumsum(action[:, :, 0], axis=1) - action[:, :, 0]
    time = np.arange(round(SECONDS * 16_000)) / 16_000
    sound = np.stack([0.3 * np.sin(2 * np.pi * (300 + 2000 * value) * time) for value in light])
    body = np.stack([place, np.broadcast_to(light[:, None], place.shape), 0 * place], axis=2)
    level = (255 * light).astype(np.uint8)
    noise = rng.integers(0, 30, (count, STEPS, 64, 64, 3), dtype=np.uint8)
    frames = np.minimum(level[:, None, None, None, None], 220) + noise
    frames[:, :, :8] += (4 * np.clip(place, -4, 4) + 16).astype(np.uint8)[:, :, None, None, None]
    arrays = {
        'image': frames[:, -1],
        'sound': sound.astype(np.float32),
        'proprioception': body.astype(np.float32),
        'action': action,
        'frames': frames,
        'properties': np.stack([light] + 8 * [np.full(count, np.nan)], axis=1).astype(np.float32),
    }
    wanted = {name: list(arrays[name]) for name in senses}
    labels = (light > 0.5).astype(int).tolist()
    splits = ['val' if index % 3 == 2 else 'train' for index in range(count)]
    return from_arrays('toy', wanted, labels, ('dark', 'bright'), splits)


def write_hdf5(path, count=24, senses=EVERYTHING):
    """Write `sample_set` as a file that `open_paired` reads."""
    paired = sample_set(count, senses=senses)
    with h5py.File(path, 'w') as file:
        for name in senses:
            file[name] = np.stack([getattr(sample, name) for sample in paired])
        file['label'] = paired.labels
        splits = ['val' if index % 3 == 2 else 'train' for index in range(count)]
        file['split'] = np.array(splits, h5py.string_dtype())
        file.attrs['classes'] = list(paired.classes)
        file.attrs['synthetic'] = True
    return path
