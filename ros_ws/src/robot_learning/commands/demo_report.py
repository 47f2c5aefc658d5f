"""Turns what a run left behind into the record that the report shows."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.commands.demo_evaluation import ScoreBook, version_name
from robot_learning.commands.demo_loop import MODEL_NAME
from robot_learning.commands.recorded_run import RecordedEpisode, sensor_frames
from robot_learning.commands.run_directory import RunDirectory
from robot_learning.commands.simulated_navigation import SimulatedNavigation
from robot_learning.contract import RobotContract
from robot_learning.evaluation.layouts import FIRST_EVALUATION_SEED, LayoutChoice
from robot_learning.evaluation.run_record import (
    Curve,
    DrivenPath,
    EpisodePoint,
    MapPanel,
    RatePoint,
    RunRecord,
    Table,
)

_NUM_MAPS = 15
_NUM_FRAMES = 6
_NUM_CURVES = 8


def build_record(
    run: RunDirectory,
    contract: RobotContract,
    book: ScoreBook,
    metrics: dict[str, Any],
    episodes: list[RecordedEpisode],
    latency_ms: np.ndarray[Any, Any],
    notes: list[str],
) -> RunRecord:
    """Collect everything; parts that are not known are left empty."""
    final = metrics['final_version']
    return RunRecord(
        title=f'robot_learning demo · {run.root.name}',
        verdict=verdict(metrics),
        lead=_lead(metrics),
        key_numbers=_key_numbers(metrics),
        success_curve=[
            RatePoint(
                point['environment_step'],
                point['wall_s'],
                point['rate'],
                *point['interval_95'],
            )
            for point in metrics['success_curve']
        ],
        baselines={
            name: rate
            for name in ('random', 'straight', 'geodesic')
            if (rate := book.rate(name)) is not None
        },
        episodes=_episode_points(episodes, run.timeline(), metrics),
        policies=_policies(book, final),
        maps=_maps(contract, book, final),
        frames=sensor_frames(run.episodes, contract, _NUM_FRAMES),
        latency_ms=latency_ms,
        versions=_versions(metrics),
        versions_note=(
            f'{len(metrics["model_versions"])} versions were published; shown are those that were '
            f'measured afterwards or refused.'
        ),
        curves=_curves(run.timeline()),
        topics=_topics(metrics),
        gate=_gate(metrics),
        commands=_commands(run, metrics),
        provenance=_provenance(run, metrics),
        notes=notes,
    )


def verdict(metrics: dict[str, Any]) -> str:
    """Say in one sentence what was learned."""
    before, after = metrics['success_rate_before'], metrics['success_rate_after']
    minutes = metrics['loop_seconds'] / 60
    duration = f'{minutes:.0f} minutes' if minutes >= 2 else f'{metrics["loop_seconds"]:.0f} s'
    if after is None:
        return f'It drove and learned for {duration}; what it learned was not measured.'
    count = metrics['num_layouts']
    reached = f'{round(after * count)} of {count} unseen goals'
    beginning = '' if before is None else f'; driving at random it reaches {round(before * count)}'
    return f'After {duration} of driving and learning it reaches {reached}{beginning}.'


def _lead(metrics: dict[str, Any]) -> str:
    steps = thousands(metrics['environment_steps'])
    shown = metrics['demonstration_steps']
    teacher = (
        f' Before, a scripted driver that knows the map showed {thousands(shown)} steps on other '
        f'layouts, which are mixed into what it learns from.'
        if shown
        else ' It learned from its own driving alone.'
    )
    return (
        f'Simulator, recorder, trainer and policy ran as separate processes over ROS 2 for '
        f'{steps} control steps. The layouts it is measured on (seeds from '
        f'{thousands(FIRST_EVALUATION_SEED)}) never occur while learning; the model is scored '
        f'without exploration, behind the action gate.{teacher}'
    )


def from_here(path: Path) -> str:
    """Write a path for the command line, short where it lies below the current folder."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def thousands(number: float) -> str:
    """Write a whole number in groups of three digits."""
    return f'{round(number):,}'.replace(',', '\u202f')


def _key_numbers(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    before, after = metrics['success_rate_before'], metrics['success_rate_after']
    latency = metrics['latency_ms']
    numbers = [
        (
            f'{_percent(before).removesuffix(" %")} → {_percent(after)}',
            'success on unseen layouts',
        ),
        (f'{metrics["steps_per_second"]:.0f}', 'control steps per second'),
        (thousands(metrics['environment_steps']), 'control steps'),
        (_decimal(metrics['train_ratio']), 'updates per control step'),
    ]
    if latency['p50'] is not None:
        numbers.append((f'{latency["p50"]:.1f} / {latency["p99"]:.1f}', 'latency p50 / p99, ms'))
    dropped = sum(metrics['dropped_messages'].values())
    return [*numbers, (thousands(dropped), 'messages dropped')]


def _episode_points(
    episodes: list[RecordedEpisode], timeline: list[dict[str, Any]], metrics: dict[str, Any]
) -> list[EpisodePoint]:
    """Join recorded episodes with the loop time at which their ends were noticed."""
    ends = {
        (event['session'], event['episode']): event['wall_s']
        for event in timeline
        if event['kind'] == 'episode'
    }
    total_s, total = metrics['loop_seconds'], max(metrics['environment_steps'], 1)
    return [
        EpisodePoint(
            environment_step=episode.last_step,
            wall_s=ends.get(
                (episode.session, episode.source_episode), total_s * episode.last_step / total
            ),
            episode_return=episode.episode_return,
            success=episode.success,
            num_steps=episode.num_steps,
        )
        for episode in episodes
        if episode.is_complete
    ]


def _policies(book: ScoreBook, final: int | None) -> Table | None:
    names = {'random': 'random', 'straight': 'straight at the goal'}
    names |= {'geodesic': 'shortest path, knows the map'}
    if final is not None:
        names[version_name(MODEL_NAME, final)] = f'{MODEL_NAME}@{final}, learned here'
    rows = []
    for name, label in names.items():
        score = book.scores.get(name)
        if score is None:
            continue
        low, high = score['success_interval_95']
        rows.append(
            [
                label,
                _percent(score['success_rate']),
                f'{100 * low:.0f}–{100 * high:.0f} %',
                _percent(score['collision_rate']),
                _percent(score['time_out_rate']),
                _decimal(score['path_efficiency']),
                '–'
                if score['cross_track_error_m'] is None
                else f'{score["cross_track_error_m"]:.2f} m',
            ]
        )
    columns = ['policy', 'success', '95 %', 'collisions', 'time-outs', 'path efficiency']
    is_last_learned = final is not None and version_name(MODEL_NAME, final) in book.scores
    highlight = {len(rows) - 1} if is_last_learned else set()
    return Table([*columns, 'cross-track'], rows, highlight) if rows else None


def _maps(contract: RobotContract, book: ScoreBook, final: int | None) -> list[MapPanel]:
    """Show layouts with the random and the final drive; failures of the final one first."""
    before = {d['seed']: d for d in book.scores.get('random', {}).get('drives', [])}
    learned = book.scores.get(version_name(MODEL_NAME, final), {}) if final is not None else {}
    after = {d['seed']: d for d in learned.get('drives', [])}
    if not before and not after:
        return []
    failed = [seed for seed, drive in after.items() if not drive['success']][: _NUM_MAPS // 3]
    others = [seed for seed in (after or before) if seed not in failed]
    shown = sorted([*failed, *others][:_NUM_MAPS])
    world = SimulatedNavigation(contract)
    panels = []
    for seed in shown:
        world.reset(LayoutChoice(seed))
        panels.append(
            MapPanel(
                f'layout {seed}',
                world.scene(),
                _path(before.get(seed)),
                _path(after.get(seed)),
                world.shortest_path(),
            )
        )
    return panels


def _path(drive: dict[str, Any] | None) -> DrivenPath | None:
    if drive is None:
        return None
    return DrivenPath(np.asarray(drive['path']), drive['success'], drive['reason'])


def _versions(metrics: dict[str, Any]) -> Table | None:
    """List the versions that were scored or refused."""
    rows: list[list[str]] = []
    highlight: set[int] = set()
    for version in metrics['model_versions']:
        if 'success_rate' not in version and version['state'] == 'good':
            continue
        if version['version'] == metrics['final_version']:
            highlight.add(len(rows))
        rows.append(
            [
                str(version['version']),
                thousands(version['update']),
                thousands(version['environment_step']),
                f'{version["wall_s"]:.0f} s',
                _percent(version.get('success_rate')),
                _percent(version.get('collision_rate')),
                _percent(version.get('time_out_rate')),
                _decimal(version.get('path_efficiency')),
                version['state'],
            ]
        )
    columns = ['version', 'updates', 'steps', 'loop time', 'success', 'collisions', 'time-outs']
    return Table([*columns, 'path efficiency', 'state'], rows, highlight) if rows else None


def _curves(timeline: list[dict[str, Any]]) -> list[Curve]:
    values: dict[str, tuple[list[int], list[float]]] = {}
    for event in timeline:
        if event['kind'] != 'training':
            continue
        for name, value in event['metrics'].items():
            updates, numbers = values.setdefault(name, ([], []))
            is_news = not updates or event['update'] > updates[-1]
            if value is not None and np.isfinite(value) and is_news:
                updates.append(event['update'])
                numbers.append(value)
    curves = [Curve(name, updates, numbers) for name, (updates, numbers) in values.items()]
    shown = [c for c in curves if len(c.update) > 1 and not c.name.startswith('episode/')]
    return shown[:_NUM_CURVES]


def _topics(metrics: dict[str, Any]) -> Table | None:
    rows = [
        [
            topic,
            thousands(counts.get('received', 0)),
            thousands(counts.get('used', 0)),
            thousands(counts.get('dropped', 0)),
            thousands(counts.get('late', 0)),
            thousands(counts.get('duplicates', 0)),
            thousands(counts.get('unaccounted', 0)),
        ]
        for topic, counts in metrics['messages'].items()
    ]
    columns = ['topic', 'received', 'used', 'dropped', 'late', 'duplicates', 'unaccounted']
    return Table(columns, rows) if rows else None


def _gate(metrics: dict[str, Any]) -> Table | None:
    rows = [[name.replace('_', ' '), thousands(count)] for name, count in metrics['gate'].items()]
    return Table(['what the gate did', 'count'], rows) if rows else None


def _commands(run: RunDirectory, metrics: dict[str, Any]) -> list[tuple[str, str]]:
    root, minutes = from_here(run.root), max(1, round(metrics['loop_seconds'] / 60))
    final = metrics['final_version']
    pairs = [
        (
            f'Drive and learn on from here, up to {minutes + 12} minutes in all',
            f'./run demo --out {root} --minutes {minutes + 12}',
        ),
        ('The same run from the beginning', metrics['command']),
    ]
    if final is not None:
        pairs.append(
            (
                'Score the final version again',
                f'./run evaluate --model {MODEL_NAME}@{final} --models {root}/models '
                f'--json score.json',
            )
        )
        pairs.append(
            (
                'Watch it drive in real time, without learning',
                f'./run up --only simulator,policy --models {run.models} --mode real_time '
                f'--explore false',
            )
        )
    for bag in sorted(path for path in run.bag.glob('*') if path.is_dir()):
        pairs.append(
            ('Play the raw messages (needs a ROS 2 install)', f'ros2 bag play {from_here(bag)}')
        )
    pairs.append(('Training curves', f'tensorboard --logdir {root}/tensorboard'))
    return pairs


def _provenance(run: RunDirectory, metrics: dict[str, Any]) -> list[tuple[str, str]]:
    machine = metrics['machine']
    return [
        ('seed', str(metrics['seed'])),
        ('robot', f'{metrics["robot"]}, contract {metrics["contract_hash"]}'),
        ('code', metrics['code_version']),
        (
            'layouts',
            f'{metrics["num_layouts"]} with seeds from {thousands(FIRST_EVALUATION_SEED)}',
        ),
        ('sessions', str(metrics['num_sessions'])),
        ('machine', f'{machine["cpu"]}, {machine["usable_cores"]} cores, {machine["system"]}'),
        ('python', machine['python']),
        ('written', datetime.datetime.now().astimezone().isoformat(timespec='seconds')),
        ('files', _contents(run.root)),
    ]


def _contents(root: Path) -> str:
    names = sorted(path.name + '/' * path.is_dir() for path in root.iterdir())
    return ', '.join(name for name in names if not name.startswith('.'))


def _percent(rate: float | None) -> str:
    return '–' if rate is None else f'{100 * rate:.0f} %'


def _decimal(value: float | None) -> str:
    return '–' if value is None or not np.isfinite(value) else f'{value:.2f}'
