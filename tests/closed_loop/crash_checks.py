"""What is on disk after kills, held against what an independent witness heard."""

import hashlib
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from robot_learning.errors import DataError, MessageError, ModelRefusedError, StoreError
from robot_learning.model_store import ModelStore
from robot_learning.trajectory.bags.bag_reader import open_bag
from robot_learning.trajectory.bags.bag_recovery import recover_bag
from robot_learning.trajectory.bags.bag_types import Decoder
from robot_learning.trajectory.store import TrajectoryStore
from witness import Action

_ACTION_TYPE = 'robot_learning_interfaces/msg/PolicyAction'
_DEFINITIONS_BYTES = 100_000  # What a bag without messages holds at most.
_SAME_S = 2.0  # Decisions with the same stamp follow each other this closely, on a slow machine.
_LATE_S = 1.0  # The witness hears at most this much later or earlier than a recorder.
_REORDERED = 5  # The witness may hear a decision so many places too early or too late.


class Step(NamedTuple):
    """What names a decision wherever it is kept."""

    stamp_ns: int
    executed: bytes
    version: int


class Outage(NamedTuple):
    """Monotonic seconds in which something else was dead, so that steps may be incomplete."""

    start_s: float
    end_s: float


class Life(NamedTuple):
    """One recorder from its start to its end, and what it left."""

    steps: list[Step]
    killed_s: float | None  # None: it ended in order.
    last_steps: frozenset[int] = frozenset()  # Of episodes: what is decided there moves nothing.
    num_skipped: int = 0  # Steps it counted as skipped itself: a sensor's message was lost.


@dataclass
class Findings:
    """How recordings compare with what was heard."""

    num_steps: int = 0
    beside_outages: int = 0  # Heard and not kept while another process was dead.
    skipped: int = 0  # Heard and not kept, and counted as skipped by the recorder.
    unheard: int = 0  # Kept, and not heard by the witness; it was just being connected.
    lost_at_end: list[int] = field(default_factory=list)  # Of each killed life, in its open file.
    problems: list[str] = field(default_factory=list)


def compare(heard: Sequence[Action], lives: Iterable[Life], outages: Sequence[Outage]) -> Findings:
    """Look each kept step up among those heard, and name what is missing in between.

    Between the first and the last step that one recorder kept, every decision that was heard
    must be kept, unless another process was dead at that moment, or the recorder has counted so
    many steps as skipped. Of several decisions with the same stamp one is enough: a step has one.

    Worlds that begin anew repeat stamps, and now and then decisions. So lives are followed from
    their ends, which are known, and a step is looked for before the one that came after it.
    """
    lives = list(lives)
    findings = Findings()
    index = _Index(heard)
    ceiling = len(heard) - 1
    for number, life in reversed(list(enumerate(lives))):
        born_s = lives[number - 1].killed_s if number else None
        found = index.follow(life, ceiling, born_s)
        findings.num_steps += len(life.steps)
        findings.unheard += len(life.steps) - len(found)
        if found:
            ceiling = found[0]
            problems = _missing(heard, found, life, outages, f'recorder {number}', findings)
            if len(problems) <= life.num_skipped:
                findings.skipped += len(problems)
            else:
                findings.problems += problems
            if life.killed_s is not None:
                open_part = heard[found[-1] + 1 :]
                findings.lost_at_end.append(sum(a.arrival_s <= life.killed_s for a in open_part))
    return findings


class _Index:
    """Where each decision was heard."""

    def __init__(self, heard: Sequence[Action]):
        self._heard = heard
        self._of_step: dict[Step, list[int]] = {}
        self._of_stamp: dict[int, list[int]] = {}
        for place, action in enumerate(heard):
            self._of_step.setdefault(Step(*action[:3]), []).append(place)
            self._of_stamp.setdefault(action.stamp_ns, []).append(place)

    def follow(self, life: Life, ceiling: int, born_s: float | None) -> list[int]:
        """Return where the steps of a life were heard, in order; those not heard are left out.

        Steps and decisions that are the same may come again in another world. So the longest
        chain is taken in which both are in order, of several the one that was heard last.
        """
        latest_s = float('inf') if life.killed_s is None else life.killed_s + _LATE_S
        earliest_s = float('-inf') if born_s is None else born_s - _LATE_S
        near = [
            [
                place
                for place in self._of_step.get(step, [])
                if place <= ceiling and earliest_s <= self._heard[place].arrival_s <= latest_s
            ]
            for step in life.steps
        ]
        found = _longest_chain(near)
        self._add_reordered(near, found)
        self._add_last_steps(life, found, ceiling)
        first = next((n for n in range(len(life.steps)) if n not in life.last_steps), 0)
        return sorted(place for number, place in found.items() if number >= first)

    def _add_reordered(self, near: Sequence[Sequence[int]], found: dict[int, int]) -> None:
        """Add steps that were heard a few places too early or too late."""
        taken = set(found.values())
        for number, places in enumerate(near):
            neighbour = found.get(number - 1, found.get(number + 1))
            if number in found or neighbour is None:
                continue
            free = [p for p in places if abs(p - neighbour) <= _REORDERED and p not in taken]
            if free:
                found[number] = free[-1]
                taken.add(free[-1])

    def _add_last_steps(self, life: Life, found: dict[int, int], ceiling: int) -> None:
        """Add ends of episodes, whose decision may be another one than the step that is kept."""
        taken = set(found.values())
        for number in life.last_steps:
            if number in found or number - 1 not in found:
                continue
            low = found[number - 1] - _REORDERED
            high = found.get(number + 1, ceiling) + _REORDERED
            same = self._of_stamp.get(life.steps[number].stamp_ns, [])
            free = [p for p in same if low <= p <= high and p not in taken]
            if free:
                found[number] = free[-1]
                taken.add(free[-1])


def _longest_chain(places: Sequence[Sequence[int]]) -> dict[int, int]:
    """Return the longest chain of numbers, each with one of its places, both in order.

    Hunt & Szymanski 1977, from the end, so that of several chains the latest places are taken.
    """
    ends: list[int] = []  # Of chains of every length: the negative place at which they stop.
    nodes: list[tuple[int, int, int]] = []  # Number, place, node behind it.
    heads: list[int] = []  # Node at the end of each of them.
    for number in range(len(places) - 1, -1, -1):
        for place in sorted(places[number]):
            length = bisect_left(ends, -place)
            nodes.append((number, place, heads[length - 1] if length else -1))
            ends[length : length + 1] = [-place]
            heads[length : length + 1] = [len(nodes) - 1]
    found: dict[int, int] = {}
    node = heads[-1] if heads else -1
    while node >= 0:
        number, place, node = nodes[node]
        found[number] = place
    return found


def _missing(
    heard: Sequence[Action],
    found: Sequence[int],
    life: Life,
    outages: Sequence[Outage],
    who: str,
    findings: Findings,
) -> list[str]:
    problems = []
    steps = {step.stamp_ns: step for step in life.steps}
    kept = set(found)
    kept_s: dict[int, list[float]] = {}  # Stamp -> when steps with it were heard.
    for place in found:
        kept_s.setdefault(heard[place].stamp_ns, []).append(heard[place].arrival_s)
    for index in range(min(kept), max(kept)):
        action = heard[index]
        if any(abs(s - action.arrival_s) <= _SAME_S for s in kept_s.get(action.stamp_ns, [])):
            continue
        if any(outage.start_s <= action.arrival_s <= outage.end_s for outage in outages):
            findings.beside_outages += 1
        else:
            problems.append(
                f'{who}: the decision of version {action.version} at '
                f'{action.stamp_ns * 1e-9:.2f} s, heard at {action.arrival_s:.2f} s, is not kept'
                + _instead(action, steps.get(action.stamp_ns))
            )
    return problems


def _instead(heard: Action, kept: Step | None) -> str:
    """Tell two decisions with one stamp apart."""
    if kept is None:
        return ''
    wanted, found = (np.frombuffer(each, np.float32) for each in (heard.executed, kept.executed))
    return f': heard {wanted}, kept {found} of version {kept.version}'


class SegmentWatch:
    """Remembers every segment as it was when first seen."""

    def __init__(self, root: Path):
        self._store = TrajectoryStore(root)
        self._digests: dict[Path, str] = {}

    def look(self) -> int:
        """Take note of new segments; return how many there are."""
        for path in self._store.segments():
            if path not in self._digests:
                self._digests[path] = _digest(path)
        return len(self._digests)

    def problems(self) -> list[str]:
        """Name segments that changed or vanished since, and all that cannot be read."""
        changed = [
            f'{path}: is not what it was when it appeared'
            for path, digest in self._digests.items()
            if not path.exists() or _digest(path) != digest
        ]
        found = self._store.verify()
        return changed + [p.text for p in found if not p.path.name.startswith('.')]

    def lives(self, ends: Sequence[tuple[int, float]]) -> list[Life]:
        """Split the steps on disk by recorder.

        Args:
            ends: for each killed recorder how many segments there were, and when it died.
        """
        paths = self._store.segments()
        bounds = [0, *(count for count, _ in ends), len(paths)]
        killed: list[float | None] = [*(moment for _, moment in ends), None]
        return [
            self._life(paths[start:stop], moment)
            for start, stop, moment in zip(bounds[:-1], bounds[1:], killed, strict=True)
        ]

    def _life(self, paths: Iterable[Path], killed_s: float | None) -> Life:
        steps: list[Step] = []
        last_steps = set()
        num_skipped = 0
        for piece in (p for path in paths for p in self._store.read_segment(path, fields=())):
            steps += [
                Step(int(stamp), np.asarray(action, np.float32).tobytes(), int(version))
                for stamp, action, version in zip(
                    piece.stamp_ns, piece.action, piece.model_version, strict=True
                )
            ]
            if piece.is_complete:
                last_steps.add(len(steps) - 1)
                num_skipped += int(piece.attributes.get('skipped_steps', 0))
        return Life(steps, killed_s, frozenset(last_steps), num_skipped)


class VersionWatch:
    """Reads every model version the moment it becomes visible."""

    def __init__(self, root: Path, name: str):
        self.half_visible: list[str] = []
        self._store, self._name = ModelStore(root), name
        self._seen: set[int] = set()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> int:
        """Look at all of them once more; return how many there were."""
        self._is_ending.set()
        self._thread.join()
        for version in self._store.versions(self._name):
            self._verify(version)
        return len(self._seen)

    def _run(self) -> None:
        while not self._is_ending.wait(0.05):
            for version in set(self._store.versions(self._name)) - self._seen:
                self._verify(version)

    def _verify(self, version: int) -> None:
        self._seen.add(version)
        try:
            self._store.verify(self._name, version)
        except (ModelRefusedError, StoreError) as error:
            if version in self._store.versions(self._name):  # Else it was pruned meanwhile.
                self.half_visible.append(str(error))


def bag_steps(bag: Path, target: Path) -> list[Step]:
    """Recover a bag into `target` and return the decisions in it, in order."""
    try:
        recover_bag(bag, target)
    except DataError:
        if sum(path.stat().st_size for path in bag.rglob('*.mcap')) > _DEFINITIONS_BYTES:
            raise
        return []  # Its recorder was killed before the first message.
    decode = Decoder(_ACTION_TYPE)
    steps = []
    with open_bag(target) as reader:
        wanted = [c for c in reader.connections if c.topic.endswith('/policy_action')]
        for _, _, data in reader.messages(wanted):
            try:
                message = decode(bytes(data))
            except MessageError:  # Its publisher was killed while handing it over.
                continue
            stamp = message.header.stamp
            executed = np.asarray(message.executed, np.float32).tobytes()
            steps.append(Step(stamp.sec * 10**9 + stamp.nanosec, executed, int(message.version)))
    return steps


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
