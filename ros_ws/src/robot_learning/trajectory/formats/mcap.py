"""Episodes become a bag again, whose import through the recorder gives the same episodes.

Every reading that a step used becomes a message with its measured stamp; decisions, outcomes and
marks carry the rest. Each session has a bag of its own, and another one where its time goes back.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_learning.contract import ObservationField, RobotContract
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.formats.chunks import Chunk, Headers
from robot_learning.trajectory.formats.ros_messages import MessageMaker, make_message_maker
from robot_learning.trajectory.formats.ros_values import header
from robot_learning.trajectory.recorder import RecorderConfig
from robot_learning.trajectory.signals import DECISIONS, MARKS, OUTCOMES, SIGNAL_TYPES

_NEVER = 2**62


class McapWriter:
    """Writes one bag, or one per session and stretch of time that runs forward."""

    def __init__(self, path: Path, contract: RobotContract):
        self._path = path
        self._contract = contract
        self._topics: dict[str, _Topic] = {}
        self._lost_fields: dict[str, str] = {}
        for topic, fields in _by_topic(contract).items():
            maker = make_message_maker(fields)
            self._lost_fields |= maker.unmade
            if maker.made:
                self._topics[topic] = _Topic(topic, maker, fields)
        self._headers = Headers()
        self._lost: Counter[str] = Counter()
        self._told = False  # The task gave a reward in the open trajectory.
        self._bags: list[_Bag] = []
        self._previous_ns = -_NEVER  # Of the newest step of the open bag.
        self._session: str | None = None  # That the open bag holds.

    def add(self, chunk: Chunk) -> None:
        """Write the messages of one chunk."""
        self._headers.note(chunk)
        steps = chunk.steps
        if chunk.begins and not self._goes_on(steps):
            self._begin_bag()
        bag = self._bags[-1]
        number = int(steps.attributes.get('source_episode', steps.episode))
        if chunk.begins:
            bag.mark(int(steps.stamp_ns[0]), 0, number, steps)
        for topic in self._topics.values():
            self._lost['conflicts'] += bag.readings(topic, steps)
        bag.decisions(steps)
        bag.outcomes(steps, number)
        if chunk.ends:
            bag.mark(int(steps.stamp_ns[-1]), 1, number, steps)
        self._note_losses(chunk)
        self._previous_ns = int(steps.stamp_ns[-1])

    def close(self) -> tuple[list[str], dict[str, Any]]:
        """Complete the bags; return what they do not hold, and facts."""
        for bag in self._bags:
            bag.close()
        folder = self._path
        if len(self._bags) == 1:  # The bag is the result itself.
            inner = self._bags[0].path
            for file in inner.iterdir():
                file.rename(folder / file.name)
            inner.rmdir()
        names = ['.'] if len(self._bags) == 1 else [bag.path.name for bag in self._bags]
        return self._losses(), {'bags': names}

    def abort(self) -> None:
        """Give up; what was written is worthless."""
        for bag in self._bags:
            bag.close()

    def _goes_on(self, steps: Episode) -> bool:
        """Tell whether one recorder, and so one bag, can have seen these steps after the last."""
        session, self._session = self._session, str(steps.attributes.get('session', ''))
        return session == self._session and int(steps.stamp_ns[0]) > self._previous_ns

    def _begin_bag(self) -> None:
        if self._bags:
            self._bags[-1].close()
        self._path.mkdir(exist_ok=True)
        name = self._path.name.removeprefix('.exporting_')
        path = self._path / (f'{name}_{len(self._bags):03d}' if self._bags else name)
        for topic in self._topics.values():
            topic.newest_ns = -1
        self._bags.append(_Bag(path, self._contract, self._topics))

    def _note_losses(self, chunk: Chunk) -> None:
        """Count what the recorder will make otherwise than it was."""
        steps, lost = chunk.steps, self._lost
        for name, spec in self._contract.observation.items():
            if name not in steps.present:
                continue
            present, stamps = steps.present[name], steps.field_stamp_ns[name]
            max_age_ns = round(spec.max_age_s * 1e9) if spec.max_age_s else _NEVER
            young = (stamps >= 0) & (steps.stamp_ns - stamps <= max_age_ns)
            lost['masks'] += int(np.count_nonzero(young != present))
            if spec.required:
                lost['unrecordable'] += int(np.count_nonzero(~young))
        timeout_ns = round(RecorderConfig().topic_timeout_s * 1e9)
        lost['pauses'] += int(np.count_nonzero(np.diff(steps.stamp_ns) > timeout_ns))
        self._told = (self._told and not chunk.begins) or bool((~np.isnan(steps.reward)).any())
        lost['trailing'] += int(chunk.ends and self._told and np.isnan(steps.reward[-1]))

    def _losses(self) -> list[str]:
        losses = [
            'what messages say beyond the fields of the contract (covariances, poses out of the '
            'plane, other joints): episodes do not hold it.',
            'readings that no step used, and counts of messages: they are not in episodes.',
            "the model's name: episodes hold its version.",
        ]
        texts = {
            'conflicts': 'readings of fields that share a topic are older than the others: left '
            'out.',
            'masks': 'gap masks contradict stamps and max_age_s of the contract: the import sets '
            'them by these.',
            'unrecordable': 'steps lack a required field: the import leaves them out.',
            'pauses': 'pauses are longer than the recorder waits: episodes are split there.',
            'trailing': 'episodes end with an unknown reward after known ones: the import takes '
            'it for zero.',
        }
        losses += [f'{self._lost[key]} {text}' for key, text in texts.items() if self._lost[key]]
        losses += [f'field {name}: {text}' for name, text in self._lost_fields.items()]
        entries = self._headers.entries
        if any(entry['episode'] != place for place, entry in enumerate(entries)):
            losses.append('episode numbers: the import counts from 0; source_episode keeps them.')
        if self._headers.num_partial:
            losses.append(
                f'{self._headers.num_partial} episodes lack their start or end: the import takes '
                f'them for whole ones.'
            )
        if len(self._bags) > 1:
            losses.append(
                f'one timeline: there are {len(self._bags)} bags, one for each session and after '
                f'each jump back in time.'
            )
        return losses


class _Topic:
    """A topic of the contract and how far its readings were written."""

    def __init__(self, name: str, maker: MessageMaker, fields: dict[str, ObservationField]):
        self.name = name
        self.maker = maker
        self.type = next(iter(fields.values())).type
        self.newest_ns = -1


class _Bag:
    """One MCAP bag while it is written."""

    def __init__(self, path: Path, contract: RobotContract, topics: dict[str, _Topic]):
        self.path = path
        self._contract = contract
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._is_open = True
        self._store = known_types()
        types = {topic.name: topic.type for topic in topics.values()} | SIGNAL_TYPES
        self._types = types
        self._connections: dict[str, Connection] = {
            name: self._writer.add_connection(_absolute(name), kind, typestore=self._store)
            for name, kind in types.items()
        }

    def close(self) -> None:
        """Complete the bag."""
        if self._is_open:
            self._writer.close()
            self._is_open = False

    def readings(self, topic: _Topic, steps: Episode) -> int:
        """Write the readings of a topic that were not written yet; return how many conflict."""
        names = [name for name in topic.maker.made if name in steps.observations]
        conflicts = 0
        if not names:
            return conflicts
        stamps = np.stack([steps.field_stamp_ns[name] for name in names])  # [F, T]
        newest = stamps.max(axis=0)
        for index in np.flatnonzero(newest > topic.newest_ns):
            stamp_ns = int(newest[index])
            if stamp_ns <= topic.newest_ns:
                continue
            values = {
                name: steps.observations[name][index]
                for name, stamp in zip(names, stamps[:, index], strict=True)
                if stamp == stamp_ns
            }
            conflicts += len(names) - len(values)
            self._write(topic.name, stamp_ns, topic.maker.make(stamp_ns, values))
            topic.newest_ns = stamp_ns
        return conflicts

    def decisions(self, steps: Episode) -> None:
        """Write the action of every step; the recorder needs one at the last step too."""
        kind = self._store.types[SIGNAL_TYPES[DECISIONS]]
        for index, stamp_ns in enumerate(steps.stamp_ns.tolist()):
            message = kind(
                header=header(stamp_ns),
                model='',
                version=int(steps.model_version[index]),
                commanded=steps.commanded[index],
                executed=steps.action[index],
                log_probability=float(steps.log_prob[index]),
                altered=bool(steps.altered[index]),
                exploring=bool(steps.exploring[index]),
                intervention=bool(steps.intervention[index]),
                latency_ms=-1.0,
            )
            self._write(DECISIONS, stamp_ns, message)

    def outcomes(self, steps: Episode, number: int) -> None:
        """Write what the task said; a reward left out is unknown by the count of steps."""
        kind = self._store.types[SIGNAL_TYPES[OUTCOMES]]
        for index in np.flatnonzero(~np.isnan(steps.reward)).tolist():
            stamp_ns = int(steps.stamp_ns[index])
            message = kind(
                header=header(stamp_ns),
                episode=number,
                step=steps.offset + index,
                is_first=bool(steps.is_first[index]),
                reward=float(steps.reward[index]),
                terminated=bool(steps.terminated[index]),
                truncated=bool(steps.truncated[index]),
                success=bool(steps.attributes.get('success', False)),
            )
            self._write(OUTCOMES, stamp_ns, message)

    def mark(self, stamp_ns: int, event: int, number: int, steps: Episode) -> None:
        """Write the begin (0) or end (1) of an episode with what its attributes say."""
        facts = steps.attributes
        info = facts.get('info') if event == 0 else None
        message = self._store.types[SIGNAL_TYPES[MARKS]](
            header=header(stamp_ns),
            event=event,
            episode=number,
            # The end must name its episode, which an operator does not.
            source='task' if event else str(facts.get('source', 'task')),
            seed=int(facts.get('seed', -1)),
            terminated=bool(event and steps.terminated[-1]),
            truncated=bool(event and steps.truncated[-1]),
            success=bool(facts.get('success') or False),
            reason=str(facts.get('reason', '')) if event else '',
            info_json=json.dumps(info) if info else '',
        )
        self._write(MARKS, stamp_ns, message)

    def _write(self, topic: str, stamp_ns: int, message: Any) -> None:
        data = self._store.serialize_cdr(message, self._types[topic])
        self._writer.write(self._connections[topic], stamp_ns, data)


def _by_topic(contract: RobotContract) -> dict[str, dict[str, ObservationField]]:
    topics: dict[str, dict[str, ObservationField]] = {}
    for name, spec in contract.observation.items():
        topics.setdefault(spec.topic, {})[name] = spec
    return topics


def _absolute(topic: str) -> str:
    return topic if topic.startswith('/') else f'/{topic}'
