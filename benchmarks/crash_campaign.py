"""Kill -9 of every process of the running loop, at random moments, again and again.

The system runs as `./run up` starts it: simulator, policy, recorder, raw recorder and trainer,
half of the time in accelerated lock-step, half in real time. One process at a time is killed,
in random order, at a random moment of its work and now and then once more while it starts; the
next follows when everything works again. A witness in this process hears what is published. Each
chapter ends with Ctrl-C, and then everything on disk is held against what the witness heard.

Policies die in real time only, so that each death shows how long the robot went on. At last a
trainer that is killed again and again is compared, bit by bit, with one that was left alone.

Every chapter is written when it is done, and the next call goes on behind it.

    python benchmarks/crash_campaign.py [--kills 100] [--seed 0] [--quick] [--minutes 20]
    python benchmarks/crash_campaign.py --only policy   # Results in a file of their own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for folder in ('ros_ws/src', 'tests/phases', 'tests/closed_loop'):
    sys.path.insert(0, str(ROOT / folder))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(ROOT / 'config' / 'fastdds.xml'))
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
)

import killed_trainer  # noqa: E402
from campaign import (  # noqa: E402
    PROCESSES,
    Campaign,
    Chapter,
    Kill,
    Mode,
    quantiles,
    shuffled_schedule,
)
from crash_checks import Findings  # noqa: E402
from reporting import RESULTS, table, write  # noqa: E402
from robot_learning.commands.demo_loop import free_domain_id  # noqa: E402
from robot_learning.phases.publishing import code_version  # noqa: E402

KILLS_IN_A_CHAPTER = 30  # Some three minutes.
MOST_FAILURES = 3  # Chapters that are run once more.
KEPT_BY = {'recorder': 'recorded', 'bag_recorder': 'bags'}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=100, help='of each process')
    parser.add_argument('--seed', type=int, default=0, help='of the moments and the order')
    parser.add_argument('--quick', action='store_true', help='two of each, results apart')
    parser.add_argument(
        '--minutes', type=float, default=float('inf'), help='begin no chapter then'
    )
    parser.add_argument('--only', choices=PROCESSES, help='kill nothing else')
    arguments = parser.parse_args()
    name = f'crash_campaign_{arguments.only}' if arguments.only else 'crash_campaign'
    processes = (arguments.only,) if arguments.only else PROCESSES
    num_kills = 2 if arguments.quick else arguments.kills
    begun_s = time.monotonic()
    domain_id = free_domain_id()
    os.environ['ROS_DOMAIN_ID'] = str(domain_id)
    results = earlier(name, arguments.quick, num_kills, arguments.seed)
    waiting = [
        (number, mode, schedule)
        for number, (mode, schedule) in enumerate(plan(processes, num_kills, arguments.seed), 1)
        if str(number) not in results['chapters']
    ]
    failed = 0
    while waiting and time.monotonic() - begun_s < 60 * arguments.minutes:
        number, mode, schedule = waiting.pop(0)
        print(f'chapter {number}: {len(schedule)} kills in {mode}', flush=True)
        folder = Path(tempfile.mkdtemp(prefix='crash_campaign_'))
        found: list[str] = []
        try:
            campaign = Campaign(folder, mode, domain_id, 1000 * arguments.seed + number)
            chapter = campaign.run(schedule, tell)
            results['chapters'][str(number)] = dataclasses.asdict(chapter)
            found = troubles(chapter)
        except AssertionError as error:
            found = [f'chapter {number}: {error}']
            results['failures'] += found
            failed += 1
            if failed <= MOST_FAILURES:  # Its kills are made up for.
                waiting.append((number, mode, schedule))
        if found:
            print('\n'.join([*found, f'  kept for a look: {folder}']), flush=True)
        else:
            shutil.rmtree(folder)
        save(name, results, waiting, arguments.quick)
    if not waiting and results['trainer'] is None and 'trainer' in processes:
        with tempfile.TemporaryDirectory(prefix='crash_campaign_') as working:
            trainer = killed_trainer.compare(
                Path(working),
                max(num_kills // 5, 2),
                arguments.seed,
                updates_per_step=4 + num_kills // 4,
            )
        results['trainer'] = trainer._asdict()
    path = save(name, results, waiting, arguments.quick)
    table(results['table'])
    print('\n'.join(results['problems']) or 'no problem was found')
    print(f'written to {path}; chapters to do: {len(waiting)}')
    return 1 if results['problems'] else 0


def earlier(name: str, quick: bool, num_kills: int, seed: int) -> dict[str, Any]:
    """Return the results to go on from: those of the same plan, else empty ones."""
    plan_of = {'kills of each': num_kills, 'seed': seed}
    path = RESULTS / f'{name}{".quick" if quick else ""}.json'
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())['results']
        is_open = bool(found['chapters to do']) or found['trainer'] is None
        if is_open and {key: found[key] for key in plan_of} == plan_of:
            return found
    return {**plan_of, 'chapters': {}, 'failures': [], 'trainer': None}


def save(name: str, results: dict[str, Any], waiting: Sequence[Any], quick: bool) -> Path:
    """Sum up what is there and write it."""
    chapters = [read_chapter(entry) for entry in results['chapters'].values()]
    rows = [row(process, chapters) for process in PROCESSES]
    results['table'] = [each for each in rows if each['kills']]
    results['problems'] = results['failures'] + [
        text for chapter in chapters for text in troubles(chapter)
    ]
    if results['trainer'] is not None:
        different = results['trainer']['different']
        results['problems'] += [f'trainer: {each} differs' for each in different]
    results['chapters to do'] = len(waiting)
    results['code_version'] = code_version()
    return write(name, results, quick=quick)


def read_chapter(entry: dict[str, Any]) -> Chapter:
    """Return a chapter as it was before it was written."""
    kills = [Kill(**kill) for kill in entry['kills']]
    findings = {name: Findings(**entry[name]) for name in ('recorded', 'bags')}
    return Chapter(**{**entry, 'kills': kills, **findings})


def plan(processes: Sequence[str], num_kills: int, seed: int) -> Iterable[tuple[Mode, list[str]]]:
    """Return the chapters: how time passes, and whom to kill in which order."""
    rng = random.Random(seed)
    half = num_kills // 2
    counts: dict[Mode, dict[str, int]] = {
        'lock_step': {name: num_kills - half for name in processes if name != 'policy'},
        'real_time': {name: num_kills if name == 'policy' else half for name in processes},
    }
    for mode, count in counts.items():
        if not count:
            continue
        schedule = shuffled_schedule(count, rng)
        for start in range(0, len(schedule), KILLS_IN_A_CHAPTER):
            yield mode, schedule[start : start + KILLS_IN_A_CHAPTER]


def tell(kill: Kill) -> None:
    """Show that the campaign goes on."""
    text = f'{kill.process}: works again after {kill.to_work_s:.1f} s'
    if kill.to_zero_ms is not None:
        text += f', wheels at zero after {kill.to_zero_ms:.0f} ms'
        text += f' ({kill.to_zero_wall_ms:.0f} on the wall)'
        text += f', robot stood after {kill.to_stand_ms:.0f} ms'
    print(f'  {text}', flush=True)


def row(process: str, chapters: Sequence[Chapter]) -> dict[str, Any]:
    """Sum up all kills of one process; columns about files belong to the recorders' rows."""
    kills = [kill for chapter in chapters for kill in chapter.kills if kill.process == process]
    work = quantiles([k.to_work_s for k in kills if k.to_work_s is not None], 1)
    zero = quantiles([k.to_zero_ms for k in kills if k.to_zero_ms is not None], 0)
    stand = quantiles([k.to_stand_ms for k in kills if k.to_stand_ms is not None], 0)
    gone = quantiles([k.orphans_gone_s for k in kills if k.orphans_gone_s is not None], 1)
    result: dict[str, Any] = {
        'process': process,
        'kills': len(kills),
        'while starting': sum(kill.while_starting for kill in kills),
        'recovered': sum(kill.has_recovered for kill in kills),
        'to work p50 s': work[0],
        'to work max s': work[1],
        'steps checked': None,
        'damaged': None,
        'skipped and counted': None,
        'lost in open file p50': None,
        'lost in open file max': None,
        'versions checked': None,
        'half visible': None,
        'to zero p50 ms': zero[0],
        'to zero max ms': zero[1],
        'to stand p50 ms': stand[0],
        'to stand max ms': stand[1],
        'children gone max s': gone[1],
        'orphans': sum(kill.num_orphans for kill in kills),
        'stale files': None,
    }
    if process in KEPT_BY:
        found = [getattr(chapter, KEPT_BY[process]) for chapter in chapters]
        lost = quantiles([float(n) for findings in found for n in findings.lost_at_end], 0)
        result['steps checked'] = sum(findings.num_steps for findings in found)
        result['damaged'] = sum(len(findings.problems) for findings in found)
        result['skipped and counted'] = sum(findings.skipped for findings in found)
        result['lost in open file p50'], result['lost in open file max'] = lost
    if process == 'recorder':
        result['segments'] = sum(chapter.num_segments for chapter in chapters)
    if process == 'trainer':
        result['versions checked'] = sum(chapter.num_versions for chapter in chapters)
        result['half visible'] = sum(len(chapter.half_visible) for chapter in chapters)
    if process == 'supervisor':
        result['orphans'] += sum(chapter.num_orphans for chapter in chapters)
        result['stale files'] = sum(len(chapter.stale_files) for chapter in chapters)
    return result


def troubles(chapter: Chapter) -> list[str]:
    """List everything in a chapter that must not be."""
    found = [*chapter.damaged, *chapter.half_visible, *chapter.lost_updates]
    found += [f'refused: {text}' for text in chapter.refused]
    found += [f'stale: {name}' for name in chapter.stale_files]
    if chapter.num_orphans or any(kill.num_orphans for kill in chapter.kills):
        found.append('processes stayed behind')
    if chapter.exit_code:
        found.append(f'`up` ended with exit code {chapter.exit_code}')
    return [f'{chapter.mode}: {text}' for text in found]


if __name__ == '__main__':
    sys.exit(main())
