"""Bags become episodes: their messages go through the same recorder as live ones."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory.bags.bag_reader import BROKEN, open_bag, read_messages
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.intake import Intake
from robot_learning.trajectory.recorder import Recorder, RecorderConfig
from robot_learning.trajectory.signals import CLOCK, DECISIONS
from robot_learning.trajectory.store import TrajectoryStore

_BATCH = 2000  # Messages between two collections of finished steps.
_SEGMENT_BYTES = 64 << 20  # Of observations, before compression.
# Simulated seconds; a world that outruns the wall clock arrives in bursts of one topic each.
_SIMULATED_WINDOW_S = 20.0


@dataclass
class TopicReport:
    """What a bag's topic holds and what became of it."""

    topic: str
    type: str
    messages: int
    status: str  # 'used', 'skipped' or 'unknown type'.
    reason: str = ''
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class ImportReport:
    """What an import kept, what it skipped and why."""

    bag: str
    robot: str
    contract_hash: str
    actions_from: str
    duration_s: float = 0.0
    num_messages: int = 0
    num_steps: int = 0
    episodes: list[dict[str, Any]] = field(default_factory=list)
    topics: list[TopicReport] = field(default_factory=list)
    endings: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)  # Field -> recorded steps without it.
    missing: dict[str, int] = field(default_factory=dict)  # Field -> steps lost for want of it.
    warnings: list[str] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


def import_bag(
    path: Path | str,
    contract: RobotContract,
    store: TrajectoryStore,
    session: str | None = None,
    config: RecorderConfig | None = None,
    namespace: str = '',
) -> ImportReport:
    """Turn a bag (MCAP, sqlite3, ROS 1; compressed or not) into a session of episodes.

    Args:
        path: folder of a ROS 2 bag, or one .mcap, .db3 or .bag file.
        contract: says which topics are wanted.
        store: gets the session, complete or not at all.
        session: its name; None: the bag's.
        config: None: defaults, with the kind of action that the bag holds. Messages of a bag
            with simulated time are waited for longer than it says.
        namespace: of the robot's topics in the bag.

    Raises:
        DataError: the bag is empty, damaged, or holds nothing that the contract names.
        StoreError: the session exists already or cannot be written.
    """
    path = Path(path)
    session = session or path.resolve().stem
    if session in store.sessions():
        raise StoreError(
            f'{store.root / session}: the session exists already. Remove it, or choose another '
            f'session name.'
        )
    replay = BagReplay(path, contract, config, namespace)
    hidden = store.root / f'.importing_{session}'
    shutil.rmtree(hidden, ignore_errors=True)  # Left over from an import that was killed.
    try:
        _write_segments(replay, TrajectoryStore(hidden), session)
        if replay.report.num_steps:
            (hidden / session).rename(store.root / session)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    replay.report.segments = [str(file) for file in store.segments(session)]
    return replay.report


def bag_info(path: Path | str) -> dict[str, Any]:
    """Return duration and topics of a bag as plain data; see `open_bag` for the errors."""
    with open_bag(Path(path)) as reader:
        duration_s = max(0.0, reader.duration * 1e-9)
        topics = [
            {
                'topic': connection.topic,
                'type': connection.msgtype,
                'messages': connection.msgcount,
                'rate_hz': connection.msgcount / duration_s if duration_s > 0 else 0.0,
                'known': connection.msgtype in reader.typestore.fielddefs,
            }
            for connection in sorted(reader.connections, key=lambda c: c.topic)
        ]
        return {
            'bag': str(path),
            'duration_s': duration_s,
            'messages': reader.message_count,
            'topics': topics,
        }


class BagReplay:
    """Plays a bag through a recorder.

    Attributes:
        report: complete when `pieces` has ended.
    """

    def __init__(
        self,
        path: Path | str,
        contract: RobotContract,
        config: RecorderConfig | None = None,
        namespace: str = '',
    ):
        self._path = Path(path)
        self.contract = contract
        self._config = config
        self._prefix = f'/{namespace.strip("/")}/' if namespace.strip('/') else '/'
        self.report = ImportReport(str(path), contract.robot, contract.hash, '')
        self._num_read: Counter[int] = Counter()  # By connection.

    def pieces(self) -> Iterator[Episode]:
        """Yield pieces of episodes as their steps become final, and fill the report."""
        with open_bag(self._path) as reader:
            recorder = Recorder(self.contract, self._choose_config(reader))
            intake = Intake(self.contract, recorder)
            self.report.actions_from = recorder.config.actions_from
            wanted = self._choose(reader, intake)
            self.report.duration_s = max(0.0, reader.duration * 1e-9)
            messages = self._play(reader, wanted, intake)
            for count, _ in enumerate(messages, start=1):
                if count % _BATCH == 0:
                    yield from self._noted(recorder.collect())
            recorder.close('end_of_bag')
            yield from self._noted(recorder.collect())
            self._compare_counts(reader, wanted)
            self._conclude(recorder, intake)

    def _choose_config(self, reader: AnyReader) -> RecorderConfig:
        """Return what was given or fits the bag; more patient where time was simulated."""
        present = {c.topic for c in reader.connections if c.msgcount}
        config = self._config or self._guess_config(present)
        if f'/{CLOCK}' in present or self._prefix + CLOCK in present:
            window_s = max(config.reorder_window_s, _SIMULATED_WINDOW_S)
            config = dataclasses.replace(config, reorder_window_s=window_s)
        return config

    def _guess_config(self, present: set[str]) -> RecorderConfig:
        """Choose where actions come from: a policy, commands, or the motion that followed."""
        if self._prefix + DECISIONS in present:
            return RecorderConfig(actions_from='policy')
        has_commands = [
            self._absolute(action.topic) in present
            and not (
                action.derive_from
                and self.contract.observation[action.derive_from].topic == action.topic
            )
            for action in self.contract.learned_actions.values()
        ]
        return RecorderConfig(actions_from='commands' if all(has_commands) else 'derived')

    def _choose(self, reader: AnyReader, intake: Intake) -> dict[int, str]:
        """Return connection id -> topic of the contract, and report on all the bag's topics."""
        by_name = {self._absolute(topic): source for topic, source in intake.sources.items()}
        commands = {self._absolute(action.topic) for action in self.contract.actions.values()}
        wanted: dict[int, str] = {}
        for connection in reader.connections:
            source = by_name.get(connection.topic)
            status, reason = 'used', ''
            if connection.msgtype not in reader.typestore.fielddefs:
                status = 'unknown type'
                reason = f'{connection.msgtype} is not defined in the bag nor known here'
                if connection.msgcount:
                    self.report.warnings.append(
                        f'{connection.topic}: {connection.msgcount} messages skipped, {reason}.'
                    )
            elif source is not None and connection.msgtype not in source.types:
                status = 'skipped'
                reason = f'is {connection.msgtype}, expected {" or ".join(source.types)}'
                self.report.warnings.append(
                    f'{connection.topic}: {connection.msgcount} messages skipped, {reason}. '
                    f'Correct the type in the contract.'
                )
            elif source is not None:
                wanted[id(connection)] = source.topic
            elif connection.topic == self._prefix + CLOCK or connection.topic == f'/{CLOCK}':
                reason = 'stamps messages without a header'
                wanted[id(connection)] = CLOCK
            else:
                status, reason = 'skipped', 'not in the contract'
                if connection.topic in commands:
                    reason = f'actions are taken from: {self.report.actions_from}'
            self.report.topics.append(
                TopicReport(
                    connection.topic, connection.msgtype, connection.msgcount, status, reason
                )
            )
        self._check_present(by_name, {c.topic for c in reader.connections if id(c) in wanted})
        return wanted

    def _check_present(self, by_name: dict[str, Any], found: set[str]) -> None:
        needed = {
            self._absolute(spec.topic): name
            for name, spec in self.contract.observation.items()
            if spec.required
        }
        absent = [topic for topic in needed if topic not in found]
        if absent:
            there = ', '.join(f'{t.topic} ({t.type})' for t in self.report.topics) or 'nothing'
            raise DataError(
                f'{self._path}: holds no usable {", ".join(sorted(absent))}, which contract '
                f'{self.contract.robot!r} requires. It holds: {there}. Choose the contract of '
                f'the robot that recorded it, or give its namespace.'
            )

    def _play(self, reader: AnyReader, wanted: dict[int, str], intake: Intake) -> Iterator[None]:
        """Give every wanted message to the intake, in the order of the bag."""
        connections = [c for c in reader.connections if id(c) in wanted]
        now = _BagClock()
        for connection, now.log_ns, data in read_messages(self._path, reader, connections):
            self.report.num_messages += 1
            self._num_read[id(connection)] += 1
            topic = wanted[id(connection)]
            try:
                message: Any = reader.deserialize(data, connection.msgtype)
            except BROKEN as error:  # The message, or its definition in the bag.
                if topic != CLOCK:
                    intake.refuse(topic, f'{type(error).__name__}: {error}')
                continue
            if topic == CLOCK:
                now.clock_ns = message.clock.sec * 1_000_000_000 + message.clock.nanosec
            else:
                intake.take(topic, message, now)
            yield

    def _noted(self, pieces: list[Episode]) -> Iterator[Episode]:
        for piece in pieces:
            self.report.num_steps += len(piece)
            piece.attributes['bag'] = self._path.name
            if piece.is_complete:
                self.report.episodes.append(
                    {
                        'episode': piece.episode,
                        'num_steps': piece.offset + len(piece),
                        'reason': piece.attributes.get('reason', ''),
                        'success': piece.attributes.get('success'),
                    }
                )
            yield piece

    def _compare_counts(self, reader: AnyReader, wanted: dict[int, str]) -> None:
        """Say when the bag gave other messages than it says that it holds."""
        for connection in reader.connections:
            found, expected = self._num_read[id(connection)], connection.msgcount
            if id(connection) in wanted and found != expected:
                self.report.warnings.append(
                    f'{connection.topic}: {found} messages were read, the bag says that it holds '
                    f'{expected}. Compare with "bags recover {self._path} --out FOLDER".'
                )

    def _conclude(self, recorder: Recorder, intake: Intake) -> None:
        report = self.report
        report.endings = dict(recorder.endings)
        report.gaps, report.missing = dict(recorder.gaps), dict(recorder.missing)
        counts = {self._absolute(t): c.to_dict() for t, c in recorder.counts().items()}
        for entry in report.topics:
            if entry.status == 'used' and entry.topic in counts:
                entry.counts = counts[entry.topic]
        for topic, text in intake.problems.items():
            refused = recorder.counts()[topic].refused
            report.warnings.append(f'{refused} messages refused, the first: {text}')
        if not report.num_steps:
            lacking = ', '.join(f'{name} ({n} times)' for name, n in recorder.missing.items())
            report.warnings.append(
                f'no step was complete{": missing " + lacking if lacking else ""}. Compare the '
                f'topics and ages above with the contract.'
            )

    def _absolute(self, topic: str) -> str:
        return topic if topic.startswith('/') else self._prefix + topic


class _BagClock:
    """The time at which a message was recorded: by the recorded clock if there is one."""

    log_ns = 0
    clock_ns: int | None = None

    def __call__(self) -> int:
        return self.log_ns if self.clock_ns is None else self.clock_ns


def _write_segments(replay: BagReplay, store: TrajectoryStore, session: str) -> None:
    waiting: list[Episode] = []
    size = 0
    for piece in replay.pieces():
        waiting.append(piece)
        size += sum(values.nbytes for values in piece.observations.values())
        if size >= _SEGMENT_BYTES:
            store.write_segment(waiting, session, replay.contract)
            waiting, size = [], 0
    if waiting:
        store.write_segment(waiting, session, replay.contract)
