"""Records what a hand does with objects on a bench: camera, sound, touch, action, properties.

Writes the folders of `trajectory.paired_folders`, labelled as synthetic, and on request the same
recordings as episodes into a trajectory store below.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_learning import contract as contracts
from robot_learning.commands.collect_dmc import write_contract
from robot_learning.contract import RobotContract
from robot_learning.sense_formats import FRAME_SIZE, PROPERTIES, SAMPLE_RATE_HZ
from robot_learning.simulation.bench_scene import HAND_RANGE, OPENING_RANGE
from robot_learning.simulation.bench_world import (
    COMMANDS,
    CONTROL_RATE_HZ,
    PROPRIOCEPTION_NAMES,
)
from robot_learning.simulation.interaction_plans import Plan, plan_set
from robot_learning.simulation.interactions import NUM_STEPS, Bench, Recording
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.formats.foreign import whole_episode
from robot_learning.trajectory.paired_data import PairedSample
from robot_learning.trajectory.paired_writer import PairedWriter
from robot_learning.trajectory.sample_table import SampleRow
from robot_learning.trajectory.store import TrajectoryStore

Array = np.ndarray[Any, Any]

EPISODES = 'episodes'  # Folder of the store below the data set.
_CHUNK = 24  # Recordings that a process makes at a time.
_EPISODES_PER_SEGMENT = 48
_PAUSE_STEPS = 10  # Between episodes, so that none seems to continue another.
_HEARD = SAMPLE_RATE_HZ // CONTROL_RATE_HZ  # Samples per control period.


class SetOptions(NamedTuple):
    """What to record."""

    num_interactions: int
    num_interventions: int
    seed: int = 0
    has_camera: bool = True
    has_episodes: bool = False
    num_processes: int = 1


def collect_interactions(
    options: SetOptions, out: Path, on_progress: Callable[[int], None] = lambda done: None
) -> int:
    """Record a set; return the number of recordings. Equal options give equal files.

    Args:
        options: what to record.
        out: folder to make; it appears when everything is in it.
        on_progress: told how many recordings are done.

    Raises:
        StoreError: `out` is there already, or the disk refuses.
        EnvironmentSetupError: pictures are wanted and cannot be drawn.
    """
    plans = plan_set(options.num_interactions, options.num_interventions, options.seed)
    with PairedWriter(out) as writer:
        episodes = _EpisodeWriter(writer.folder, options.seed) if options.has_episodes else None
        for done, (plan, recording) in enumerate(_recordings(plans, options), 1):
            writer.add(plan.split, plan.item.class_name, _sample(recording), _row(plan))
            if episodes is not None:
                episodes.add(plan, recording)
            on_progress(done)
        if episodes is not None:
            episodes.close()
        writer.finish(_manifest(options))
    return len(plans)


def bench_contract(has_camera: bool = True) -> RobotContract:
    """Return the bench's hand, camera and microphone as a robot."""
    array = 'std_msgs/msg/Float32MultiArray'
    fields: dict[str, Any] = {
        'microphone': {'topic': 'microphone/samples', 'type': array, 'shape': [_HEARD]},
        'proprioception': {
            'topic': 'hand/state',
            'type': array,
            'shape': [len(PROPRIOCEPTION_NAMES)],
        },
    }
    if has_camera:
        fields['camera'] = {
            'topic': 'camera/image_raw',
            'type': 'sensor_msgs/msg/Image',
            'shape': [FRAME_SIZE, FRAME_SIZE, 3],
            'dtype': 'uint8',
        }
    limits = [*HAND_RANGE.values(), OPENING_RANGE]
    low, high = ([limit[side] for limit in limits] for side in (0, 1))
    return contracts.from_dict(
        {
            'robot': 'bench',
            'description': 'A hand on three rails above a bench with one object',
            'control_rate_hz': CONTROL_RATE_HZ,
            'observation': fields,
            'actions': {
                'hand': {
                    'topic': 'hand/command',
                    'type': 'std_msgs/msg/Float64MultiArray',
                    'components': list(COMMANDS),
                    'unit': ['m'] * len(COMMANDS),
                    'low': low,
                    'high': high,
                    'stop': [0.0, 0.0, high[2], high[3]],
                }
            },
            'features': [{'kind': 'vector', 'fields': ['proprioception']}],
        },
        'bench',
    )


class _EpisodeWriter:
    """Writes recordings as episodes of one session."""

    def __init__(self, folder: Path, seed: int):
        self._store = TrajectoryStore(folder / EPISODES)
        self._session = f'interactions_{seed:04d}'
        self._waiting: list[Episode] = []
        self._count = 0
        self._contract: RobotContract | None = None

    def add(self, plan: Plan, recording: Recording) -> None:
        if self._contract is None:
            self._contract = bench_contract(recording.frames is not None)
            write_contract(self._contract, self._store.root)
        self._waiting.append(_episode(plan, recording, self._count, self._contract))
        self._count += 1
        if len(self._waiting) == _EPISODES_PER_SEGMENT:
            self.close()

    def close(self) -> None:
        if self._waiting and self._contract is not None:
            self._store.write_segment(self._waiting, self._session, self._contract)
            self._waiting = []


def _recordings(plans: Sequence[Plan], options: SetOptions) -> Iterator[tuple[Plan, Recording]]:
    """Yield all recordings in order."""
    chunks = [plans[start : start + _CHUNK] for start in range(0, len(plans), _CHUNK)]
    if options.num_processes == 1:
        bench = Bench(options.has_camera)
        try:
            for plan in plans:
                yield plan, bench.record(plan.item, plan.kind, plan.seed, plan.noise_seed)
        finally:
            bench.close()
        return
    # OpenGL does not survive a fork.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(options.num_processes, context) as pool:
        try:
            jobs = [pool.submit(_record_chunk, chunk, options.has_camera) for chunk in chunks]
            for chunk, job in zip(chunks, jobs, strict=True):
                yield from zip(chunk, job.result(), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _record_chunk(plans: Sequence[Plan], has_camera: bool) -> list[Recording]:
    bench = Bench(has_camera)
    try:
        return [bench.record(plan.item, plan.kind, plan.seed, plan.noise_seed) for plan in plans]
    finally:
        bench.close()


def _sample(recording: Recording) -> PairedSample:
    frames = recording.frames
    return PairedSample(
        None if frames is None else frames[0],
        recording.sound,
        recording.proprioception[:-1],
        recording.action[:-1],
        None if frames is None else frames[:-1],
        -1,
        None,
        '',
    )


def _row(plan: Plan) -> SampleRow:
    changed = PROPERTIES.index(plan.changed) if plan.changed else -1
    properties = np.asarray(plan.item.properties, np.float32)
    return SampleRow(plan.item.name, properties, plan.kind, plan.pair, plan.role, changed)


def _episode(plan: Plan, recording: Recording, number: int, contract: RobotContract) -> Episode:
    """Return a recording as an episode; what was heard before its first step is silence."""
    count = len(recording.action)
    heard = np.concatenate([np.zeros(_HEARD, np.float32), recording.sound])
    observations = {
        'microphone': heard.reshape(count, _HEARD),
        'proprioception': recording.proprioception,
    }
    if recording.frames is not None:
        observations['camera'] = recording.frames
    period_ns = contract.control_period_ns
    start_ns = number * (count + _PAUSE_STEPS) * period_ns
    stamp_ns = start_ns + np.arange(count, dtype=np.int64) * period_ns
    action = recording.action[:, : contract.action_size].copy()
    action[-1] = contract.action_stop
    episode = whole_episode(
        number,
        observations,
        action,
        np.full(count, np.nan, np.float32),
        stamp_ns,
        'simulated bench',
    )
    episode.attributes |= {
        'class': plan.item.class_name,
        'object': plan.item.name,
        'properties': list(plan.item.properties),
        'interaction': plan.kind,
        'split': plan.split,
        'pair': plan.pair,
        'role': plan.role,
        'changed': plan.changed,
        'seed': plan.seed,
        'synthetic': True,
        'reason': 'end_of_interaction',
    }
    return episode


def _manifest(options: SetOptions) -> dict[str, Any]:
    return {
        'synthetic': True,
        'notes': [
            'made by a simulation: MuJoCo contacts, sound by modal synthesis',
            f'seed {options.seed}, {options.num_interactions} interactions, '
            f'{options.num_interventions} interventions',
        ],
        'control_rate_hz': CONTROL_RATE_HZ,
        'sample_rate_hz': SAMPLE_RATE_HZ,
        'num_steps': NUM_STEPS,
        'properties': list(PROPERTIES),
        'proprioception': list(PROPRIOCEPTION_NAMES),
        'action': [f'{name}, m' for name in COMMANDS],
    }
