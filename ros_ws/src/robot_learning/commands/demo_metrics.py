"""The numbers of a run, as `metrics.json` holds them."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import robot_learning
from robot_learning.commands.demo_evaluation import ScoreBook, version_name
from robot_learning.commands.demo_loop import MODEL_NAME, recorded_steps
from robot_learning.commands.machine_description import machine
from robot_learning.commands.recorded_run import RecordedEpisode, message_counts
from robot_learning.commands.run_directory import RunDirectory, RunState
from robot_learning.errors import RobotLearningError
from robot_learning.model_store import ModelStore
from robot_learning.trajectory.store import TrajectoryStore

Array = np.ndarray[Any, Any]


def collect_metrics(
    run: RunDirectory,
    state: RunState,
    book: ScoreBook,
    episodes: list[RecordedEpisode],
    latency_ms: Array,
    command: str,
) -> dict[str, Any]:
    """Return everything known about the run as plain data; None where nothing is known."""
    versions = _model_versions(run.models, state, book)
    final = max((v['version'] for v in versions if v['state'] != 'refused'), default=None)
    # The recorder's own counts; an episode's leave out what came between episodes.
    messages = _added(s.messages for s in state.sessions) or message_counts(episodes)
    gate = _added({'gate': session.gate} for session in state.sessions).get('gate', {})
    loop_seconds = state.loop_seconds
    return {
        'success_rate_before': book.rate('random'),
        'success_rate_after': None
        if final is None
        else book.rate(version_name(MODEL_NAME, final)),
        'success_curve': _success_curve(versions, book),
        'steps_per_second': state.environment_steps / loop_seconds if loop_seconds else 0.0,
        'latency_ms': _latency(latency_ms),
        'dropped_messages': {t: counts.get('dropped', 0) for t, counts in messages.items()},
        'unaccounted_messages': {
            t: counts.get('unaccounted', 0) for t, counts in messages.items()
        },
        'gate_interventions': gate.get('altered', 0),
        'train_ratio': state.sessions[-1].train_ratio if state.sessions else float('nan'),
        'model_versions': versions,
        'final_version': final,
        'baselines': {n: book.rate(n) for n in ('random', 'straight', 'geodesic')},
        'num_layouts': book.num_layouts,
        'environment_steps': state.environment_steps,
        'loop_seconds': loop_seconds,
        'demonstration_steps': sum(
            recorded_steps(run.demonstrations, s)
            for s in TrajectoryStore(run.demonstrations).sessions()
        ),
        'num_episodes': sum(episode.is_complete for episode in episodes),
        'num_sessions': len(state.sessions),
        'messages': messages,
        'gate': gate,
        'seed': state.seed,
        'robot': state.robot,
        'contract_hash': state.contract_hash,
        'code_version': code_version(),
        'command': command,
        'created': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'machine': machine(),
    }


def code_version() -> str:
    """Return the package's version and, in a git checkout, its commit."""
    folder = Path(__file__).resolve().parent
    command = ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=12']
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return robot_learning.__version__
    return f'{robot_learning.__version__} ({commit.stdout.strip()})'


def _model_versions(models: Path, state: RunState, book: ScoreBook) -> list[dict[str, Any]]:
    store = ModelStore(models)
    entries = []
    for version in store.versions(MODEL_NAME):
        refusal = store.refusal(MODEL_NAME, version)
        try:
            manifest = store.manifest(MODEL_NAME, version)
        except RobotLearningError as error:  # Damaged: named, and kept out of everything else.
            manifest, refusal = {}, str(error)
        provenance = manifest.get('provenance', {})
        score = book.scores.get(version_name(MODEL_NAME, version), {})
        entry = {
            'version': version,
            'update': int(provenance.get('update') or 0),
            'environment_step': int(provenance.get('environment_step') or 0),
            'wall_s': round(state.loop_time_of(_unix_seconds(manifest.get('created'))), 1),
            'state': 'good' if refusal is None else 'refused',
            'reason': refusal or '',
        }
        names = ('success_rate', 'collision_rate', 'time_out_rate', 'path_efficiency')
        entries.append(entry | {name: score[name] for name in names if name in score})
    return entries


def _success_curve(versions: list[dict[str, Any]], book: ScoreBook) -> list[dict[str, Any]]:
    """Return the scored versions in order; before the first one the robot drives at random."""
    named = [(-1, 'random', {'environment_step': 0, 'wall_s': 0.0})]
    named += [(v['version'], version_name(MODEL_NAME, v['version']), v) for v in versions]
    return [
        {
            'environment_step': entry['environment_step'],
            'wall_s': entry['wall_s'],
            'rate': book.scores[name]['success_rate'],
            'interval_95': book.scores[name]['success_interval_95'],
            'version': version,
        }
        for version, name, entry in named
        if name in book.scores
    ]


def _latency(latency_ms: Array) -> dict[str, float | int | None]:
    if len(latency_ms) == 0:
        return {'p50': None, 'p99': None, 'max': None, 'count': 0}
    p50, p99 = np.percentile(latency_ms, [50, 99])
    return {
        'p50': round(float(p50), 4),
        'p99': round(float(p99), 4),
        'max': round(float(latency_ms.max()), 4),
        'count': len(latency_ms),
    }


def _added(tables: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Add tables of counts cell by cell."""
    total: dict[str, dict[str, int]] = {}
    for table in tables:
        for row, counts in table.items():
            sums = total.setdefault(row, {})
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
    return total


def _unix_seconds(created: Any) -> float:
    """Convert a manifest's time, seconds or ISO 8601; 0 where there is none."""
    if isinstance(created, int | float):
        return float(created)
    if isinstance(created, str):
        return datetime.datetime.fromisoformat(created.replace('Z', '+00:00')).timestamp()
    return 0.0
