"""A thousand swaps of the serving version under load, a tenth of the versions bad.

One process is the robot: it senses at 50 Hz and notes every command, who gave it and when. One is
the policy node, with canary and rollback. One is a trainer at full load. This process publishes
one version after the other, as a trainer would, and waits until the node serves or refuses it.
Bad versions come in a random mix of ways: those that the load checks must find, those that only
the canary can find, and some that answer NaN only long after they passed it.

Counted are missed ticks (no command within one control period), commands of versions that had
failed, and whether exactly the bad versions were refused. Before the swaps the same is measured
without them.

    python benchmarks/swap_campaign.py [--quick] [--swaps 1000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rclpy
from policy_harness import (
    HIDDEN,
    ROOT,
    Robot,
    node,
    publish,
    quantiles,
    record,
    stamp_ns_of,
    write_contract,
)
from reporting import table, write
from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.nodes import qos
from robot_learning.nodes.run import make_executor
from robot_learning.version_history import VersionHistory
from robot_learning_interfaces.msg import ModelVersion

sys.path.insert(0, str(ROOT / 'tests' / 'serving'))
import bad_versions

MODEL = 'navigator'
RATE_HZ = 50
CANARY_TICKS = 10  # Few, so that a thousand fit into minutes; the default is 50.
HOLD_TICKS = 10  # After a rollback, likewise.
OFTEN, SELDOM = 0.11, 0.22  # Speeds in m/s that the robot senses now and then.
OFTEN_EVERY, SELDOM_SHARE = 3, 0.01  # Of its readings; every canary meets the first.
BAND = 0.01  # Width in feature units of what makes a bad version answer NaN.
KEEP_NEWEST = 30  # Versions on disk, as a trainer keeps them.
DEADLINE_S = 60.0
STILL_S = 60.0  # Of measuring without swaps.
DRIVEN = 'driven'  # What the robot says when a version drives it.


class CampaignRobot(Robot):
    """Senses odd speeds now and then, and looks at every command."""

    def __init__(self) -> None:
        super().__init__(RATE_HZ, float('inf'))
        self._random = random.Random(1)
        self._is_driven = False
        self._num_readings = 0
        contract = contracts.load('arena')
        self._low, self._high = contract.action_low - 1e-6, contract.action_high + 1e-6
        self._num_wrong = 0

    def vary(self) -> None:
        """Sense a speed that bad versions cannot stand, or none; say when a version drives."""
        if not self._is_driven and self.actions and self.actions[-1].version >= 0:
            self._is_driven = True
            print(DRIVEN, flush=True)
        self._num_readings += 1
        speed = SELDOM if self._random.random() < SELDOM_SHARE else 0.0
        is_often = self._num_readings % OFTEN_EVERY == 0
        self.odometry.twist.twist.linear.x = OFTEN if is_often else speed

    def on_command(self, message: Any) -> None:
        """Note arrival, and commands that are not finite or beyond the limits."""
        super().on_command(message)
        command = np.array([message.twist.linear.x, message.twist.angular.z])
        is_right = (command >= self._low).all() and (command <= self._high).all()
        self._num_wrong += not is_right  # NaN is neither.

    def summary(self, stamps: list[int]) -> dict[str, Any]:
        """Add jitter, and per version when it acted and when it answered something not finite."""
        actions: dict[int, dict[str, Any]] = {}
        for action in self.actions:
            entry = actions.setdefault(
                action.version, {'first_ns': stamp_ns_of(action), 'count': 0, 'after_nan': 0}
            )
            entry['count'] += 1
            entry['after_nan'] += 'nan' in entry
            if not np.isfinite(action.commanded).all():
                entry['nan'] = True
        arrivals = np.array([self.arrivals_ns[s] for s in stamps if s in self.arrivals_ns])
        sent = np.array([s for s in stamps if s in self.arrivals_ns])
        jitter_ms = np.abs(np.diff(arrivals) - np.diff(sent)) * 1e-6
        result = super().summary(stamps)
        del result['versions']
        return {
            **result,
            **quantiles('jitter_', jitter_ms),
            'wrong_commands': self._num_wrong,
            'actions': actions,
        }


class Publication(NamedTuple):
    """One version, and when it became visible."""

    version: int
    kind: str  # 'good' or the way in which it is bad.
    published_ns: int


class Witness:
    """Hears what becomes of versions, and tells of new ones as a trainer does."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, int]] = {}  # Version -> state -> stamp.
        self._node = rclpy.create_node('campaign')
        self._notices = self._node.create_publisher(ModelVersion, 'model_version', qos.NOTICE_QOS)
        self._node.create_subscription(
            ModelVersion, 'model_version', self._on_notice, qos.NOTICE_QOS
        )
        self._changed = threading.Condition()
        self._executor = make_executor()
        self._executor.add_node(self._node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def close(self) -> None:
        """Hear no more."""
        self._ending.set()
        self._thread.join()

    def tell(self, version: int) -> None:
        """Announce a version."""
        notice = ModelVersion(model=MODEL, version=version, state=ModelVersion.PUBLISHED)
        self._notices.publish(notice)

    def has_heard(self, version: int, seconds: float) -> bool:
        """Wait for the end of a version's canary."""
        with self._changed:
            return self._changed.wait_for(
                lambda: 'serving' in self.states.get(version, {}), seconds
            )

    def wait_for(self, version: int, *states: str) -> str:
        """Return the first of the states that a version has reached."""

        def reached() -> str | None:
            known = self.states.get(version, {})
            return next((state for state in states if state in known), None)

        with self._changed:
            if not self._changed.wait_for(reached, DEADLINE_S):
                raise TimeoutError(f'{MODEL}@{version}: none of {states}: {self.states[version]}')
            state = reached()
        assert state is not None, 'waited for above'
        return state

    def _on_notice(self, notice: ModelVersion) -> None:
        names = {
            ModelVersion.CANARY: 'canary',
            ModelVersion.SERVING: 'serving',
            ModelVersion.REFUSED: 'refused',
        }
        state = names.get(notice.state)
        if state is not None:
            stamp = notice.header.stamp
            with self._changed:
                entry = self.states.setdefault(int(notice.version), {})
                entry.setdefault(state, stamp.sec * 10**9 + stamp.nanosec)
                self._changed.notify_all()

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.1)


class Campaign:
    """Publishes good and bad versions in random order and waits for the fate of each."""

    def __init__(self, models: Path, contract: RobotContract, witness: Witness, seed: int):
        self.publications: list[Publication] = []
        self._models = models
        self._contract = contract
        self._witness = witness
        self._random = random.Random(seed)
        self._store = ModelStore(models)
        bad = bad_versions.BadVersions(models, contract, list(HIDDEN), (0.1, 0.0))
        index, scale = speed_feature(contract)
        often, seldom = ((s * scale - BAND / 2, s * scale + BAND / 2) for s in (OFTEN, SELDOM))
        self._early: dict[str, Callable[[], int]] = {
            **bad.load_kinds,
            'contrary (canary)': bad.opposite,
            'NaN often (canary)': lambda: bad.sometimes_nan(index, *often),
        }
        self._late = {'NaN seldom (watch)': lambda: bad.sometimes_nan(index, *seldom)}

    def connect(self) -> None:
        """Publish until a notice of the policy node is heard: nothing is lost after that."""
        for _ in range(20):
            version = publish(self._models, self._contract)
            self._witness.tell(version)
            if self._witness.has_heard(version, 3.0):
                return
        raise TimeoutError('the policy node says nothing about new versions')

    def run(self, num_swaps: int) -> None:
        """Publish until `num_swaps` good versions have served, a bad one among ten."""
        num_good = 0
        while num_good < num_swaps:
            if self._random.random() < 0.1:
                kinds = {**self._early, **self._late}
                kind = self._random.choice(sorted(kinds))
                self._one(kind, kinds[kind])
            else:
                self._one('good', lambda: publish(self._models, self._contract))
                num_good += 1
                if num_good % 100 == 0:
                    print(f'  {num_good} swaps', flush=True)
            self._store.prune(MODEL, 0, KEEP_NEWEST)

    def _one(self, kind: str, make: Callable[[], int]) -> None:
        version = make()
        self.publications.append(Publication(version, kind, time.time_ns()))
        self._witness.tell(version)
        state = self._witness.wait_for(version, 'refused', 'serving')
        if kind in self._late and state == 'serving':
            self._witness.wait_for(version, 'refused')
            time.sleep(2 * HOLD_TICKS / RATE_HZ)  # Newer ones are held back that long.


def speed_feature(contract: RobotContract) -> tuple[int, float]:
    """Return the index of the forward speed among the features, and its scale."""
    builder = FeatureBuilder(contract)
    fields = {
        name: np.ones(contract.observation[name].shape, np.float32) for name in builder.fields
    }
    still = builder.build(fields)
    fields['velocity'] = fields['velocity'] + np.array([1, 0], np.float32)
    difference = builder.build(fields) - still
    (index,) = np.flatnonzero(difference)
    return int(index), float(difference[index])


@contextmanager
def robot(results: list[dict[str, Any]]) -> Iterator[None]:
    """Run the robot in a process of its own while the block lasts; append what it has seen."""
    command = [sys.executable, __file__, '--robot']
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None, 'both are pipes'
    try:
        while process.stdout.readline().strip() != DRIVEN:
            if process.poll() is not None:
                raise RuntimeError('the robot has ended')
        yield
        output, _ = process.communicate('end\n', timeout=DEADLINE_S)
        results.append(json.loads(output.splitlines()[-1]))
    finally:
        if process.poll() is None:
            process.kill()


def drive() -> None:
    """Be the robot until a line comes on the standard input."""
    rclpy.init()
    machine = CampaignRobot()

    def wait() -> None:
        sys.stdin.readline()
        machine.ending.set()

    threading.Thread(target=wait, daemon=True).start()
    print(json.dumps(machine.run()))
    rclpy.try_shutdown()


def judge(
    seen: dict[str, Any], campaign: Campaign, witness: Witness, history: VersionHistory
) -> dict[str, Any]:
    """Hold what the robot saw against what was published."""
    kinds = {p.version: p.kind for p in campaign.publications}
    actions = {int(version): entry for version, entry in seen['actions'].items()}
    late = {v for v, kind in kinds.items() if kind.endswith('(watch)')}
    bad = {v for v, kind in kinds.items() if kind != 'good'}
    refused = {v for v, states in witness.states.items() if 'refused' in states}
    written = {event.version for event in history.events(MODEL) if event.state == 'refused'}
    good = [p for p in campaign.publications if p.kind == 'good' and p.version in actions]
    states = [witness.states[p.version] for p in good]
    swap_ms = np.array([actions[p.version]['first_ns'] - p.published_ns for p in good]) * 1e-6
    load_ms = [(s['canary'] - p.published_ns) * 1e-6 for p, s in zip(good, states, strict=True)]
    return {
        'swaps': len(good),
        'versions': len(kinds),
        'bad': len(bad),
        'refused': len(refused),
        'bad_not_refused': len(bad - refused),
        'good_refused': len(refused - bad),
        'refused_without_record': len(refused ^ written),
        'bad_commands': sum(actions[v]['count'] for v in bad - late if v in actions),
        'commands_after_failure': sum(actions[v]['after_nan'] for v in late if v in actions),
        **quantiles('load_', np.array(load_ms)),
        **quantiles('swap_', swap_ms),
        'kinds': dict(Counter(kind for kind in kinds.values() if kind != 'good')),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='40 swaps')
    parser.add_argument('--swaps', type=int, default=1000, help='of good versions')
    parser.add_argument('--seed', type=int, default=0, help='of the order of versions')
    parser.add_argument('--robot', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.robot:
        drive()
        return 0
    rclpy.init()
    witness = Witness()
    try:
        with tempfile.TemporaryDirectory(prefix='swap_campaign_') as name:
            results = measure(Path(name), witness, arguments)
    finally:
        witness.close()
        rclpy.try_shutdown()
    troubles = [
        f'{key}: {row[key]}'
        for row in results['rows']
        for key in (
            *('missed', 'wrong_commands', 'bad_commands', 'commands_after_failure'),
            *('bad_not_refused', 'good_refused', 'refused_without_record'),
        )
        if row.get(key)
    ]
    table(results['rows'])
    print('; '.join(troubles) or 'no problem was found')
    print(f'written to {write("swap_campaign", results, quick=arguments.quick)}')
    return 1 if troubles else 0


def measure(folder: Path, witness: Witness, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure without swaps, then with; return the table and the mix of bad versions."""
    num_swaps = 40 if arguments.quick else arguments.swaps
    still_s = 10.0 if arguments.quick else STILL_S
    store = record(folder)
    models, path = folder / 'models', write_contract(folder, RATE_HZ)
    contract = contracts.load(path)
    learning = folder / 'learning.yaml'
    learning.write_text('phase: sac\ntrainer: {train_ratio: 1000, warmup_steps: 500}\n')
    publish(models, contract)
    parameters = {
        'robot': path,
        'models': models,
        'canary.ticks': CANARY_TICKS,
        'rollback.hold_ticks': HOLD_TICKS,
        'rollback.max_altered_increase': 1.0,  # Versions here differ at random.
    }
    nice = ['nice', '-n', '5']
    learned = {'store': store, 'models': folder / 'learned', 'config': learning}
    learned['model_name'] = 'learned'
    campaign = Campaign(models, contract, witness, arguments.seed)
    seen: list[dict[str, Any]] = []
    with node('trainer_node', nice, **learned), node('policy_node', **parameters):
        print('without swaps ...', flush=True)
        with robot(seen):
            time.sleep(still_s)
        print(f'{num_swaps} swaps ...', flush=True)
        with robot(seen):
            campaign.connect()
            campaign.run(num_swaps)
    verdict = judge(seen[1], campaign, witness, VersionHistory(models))
    kinds = verdict.pop('kinds')
    for entry in seen:
        del entry['actions']
    rows = [{'case': 'trainer', **seen[0]}, {'case': 'trainer and swaps', **seen[1], **verdict}]
    return {'seed': arguments.seed, 'rows': rows, 'bad_versions': kinds}


if __name__ == '__main__':
    sys.exit(main())
