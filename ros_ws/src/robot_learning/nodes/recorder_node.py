"""Records what the contract names as episodes in a store, beside a running robot."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from robot_learning_interfaces.msg import EpisodeEvent, SegmentWritten
from robot_learning_interfaces.srv import EndEpisode, StartEpisode

from robot_learning import contract
from robot_learning.config import STRICT
from robot_learning.errors import MessageError
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health, RecentGrowth
from robot_learning.nodes.matched_subscription import MatchedSubscription, keep_matching
from robot_learning.nodes.messages import make_converter
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.qos import EPISODE_EVENT_QOS, NOTICE_QOS
from robot_learning.nodes.reading_input import message_type
from robot_learning.nodes.run import run_node
from robot_learning.trajectory.bags.bag_types import Decoder, known_types
from robot_learning.trajectory.intake import DISCARDED, Intake, Source
from robot_learning.trajectory.recorder import Recorder, RecorderConfig
from robot_learning.trajectory.segment_writer import SegmentWriter, WrittenSegment
from robot_learning.trajectory.signals import MARKS, Mark
from robot_learning.trajectory.store import TrajectoryStore

_OPERATOR = 'operator'
_LOSSES = {  # Counts of messages that did not become readings, and what to do about each.
    'dropped': 'are dropped before they reach us. Give the recorder more processor',
    'overflow': 'find no room to wait in order. Lower recorder.reorder_window_s or their rate',
    'non_finite': 'hold NaN or infinity. Check the sensor',
    'late': 'come too late to be put in order. Raise recorder.reorder_window_s',
}


@dataclass(frozen=True, config=STRICT)
class RecorderNodeConfig:
    """What is recorded, where it goes and how often."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    store: Path = Path('runs/store')  # Directory of recorded episodes.
    session: str = ''  # Name of this recording in the store; empty: the time of the start.
    flush_s: Annotated[float, Field(ge=0.05, le=60)] = 2.0  # Wall time between two segments.
    max_waiting_steps: PositiveInt = 20_000  # Kept in memory while the disk refuses.
    retry_s: PositiveFloat = 2.0  # Wall time between two tries while the disk refuses.
    # GB (10^9 bytes) that the store may hold: beyond, its oldest segments go; 0: no limit.
    max_store_gb: NonNegativeFloat = 0.0
    recorder: RecorderConfig = field(default_factory=RecorderConfig)


class RecorderNode(Node):
    """Gives messages to a `Recorder` and its episodes to a `SegmentWriter`."""

    def __init__(self, **node_options: Any):
        super().__init__('recorder', **node_options)
        config = declare_config(self, RecorderNodeConfig)
        self._contract = contract.load(config.robot)
        store = TrajectoryStore(config.store)
        session = config.session or datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
        self._recorder = Recorder(
            self._contract, config.recorder, first_episode=store.next_episode(session)
        )
        self._intake = Intake(self._contract, self._recorder, make_converter)
        self._reported: set[str] = set()
        self._notices = self.create_publisher(SegmentWritten, 'segment_written', NOTICE_QOS)
        self._events = self.create_publisher(EpisodeEvent, MARKS, EPISODE_EVENT_QOS)
        self._writer = SegmentWriter(
            store,
            session,
            self._contract,
            config.max_waiting_steps,
            config.retry_s,
            self._on_written,
            self._on_write_error,
            round(config.max_store_gb * 1e9) or None,
        )
        keep_matching(self, [self._subscribe(s) for s in self._intake.sources.values()])
        self.create_service(StartEpisode, '~/start_episode', self._on_start_episode)
        self.create_service(EndEpisode, '~/end_episode', self._on_end_episode)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # Sim time may stand still.
        self.create_timer(config.flush_s, self._flush, clock=steady)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None,
                min_backward=Duration(nanoseconds=-round(config.recorder.clock_jump_s * 1e9)),
                on_clock_change=False,
            ),
            post_callback=lambda _: self._recorder.jump_back(),
        )
        self._diagnostics = Diagnostics(self, hardware_id=self._contract.robot)
        self._diagnostics.add('store', self._store_health)
        self._diagnostics.add('episodes', self._episodes_health)
        for topic in self._intake.sources:
            self._diagnostics.add(f'topic {topic}', self._topic_health(topic))
        self.get_logger().info(
            f'records {self._contract.robot} (contract {self._contract.hash}) into '
            f'{config.store / session}'
        )

    def close(self) -> None:
        """End the open episode and write everything that was recorded."""
        self._recorder.close()
        self._writer.put(self._recorder.collect())
        self._writer.close()
        self._diagnostics.publish()
        if self._writer.lost_steps:
            self.get_logger().error(f'{self._writer.lost_steps} steps could not be written.')

    def _subscribe(self, source: Source) -> MatchedSubscription:
        """Take the bytes of a topic: the recorder's own decoder is faster than rclpy's."""
        intake, clock, topic = self._intake, self.get_clock(), source.topic
        decode = _decoder(source.types[0])

        def now_ns() -> int:
            return int(clock.now().nanoseconds)

        def on_message(data: bytes) -> None:
            try:
                message = decode(data)
            except MessageError as error:
                intake.refuse(topic, str(error))
            else:
                intake.take(topic, message, now_ns)

        return MatchedSubscription(
            self,
            message_type(source.types[0]),
            topic,
            source.qos,
            on_message,
            lambda count: self._recorder.drop(topic, count),
        )

    def _flush(self) -> None:
        self._writer.put(self._recorder.collect())
        for topic, text in self._intake.problems.items():
            if topic not in self._reported:
                self._reported.add(topic)
                self.get_logger().warning(f'{text} Counted as refused; not reported again.')

    def _on_written(self, written: WrittenSegment) -> None:
        """Announce a segment; called on the writer's thread."""
        notice = SegmentWritten()
        notice.header.stamp = self.get_clock().now().to_msg()
        notice.path = str(written.path.resolve())
        notice.contract_hash = self._contract.hash
        notice.first_episode = written.first_episode
        notice.last_episode = written.last_episode
        notice.num_steps = written.num_steps
        notice.total_steps = written.total_steps
        notice.dropped = sum(c.dropped + c.overflow for c in self._recorder.counts().values())
        notice.bytes = written.num_bytes
        self._notices.publish(notice)

    def _on_write_error(self, text: str) -> None:
        self.get_logger().error(f'{text} Recording goes on in memory.', throttle_duration_sec=10.0)

    def _on_start_episode(
        self, request: StartEpisode.Request, response: StartEpisode.Response
    ) -> StartEpisode.Response:
        info = {'task': request.task} if request.task else {}
        response.episode = self._recorder.next_episode
        self._mark(is_begin=True, seed=request.seed, info=info)
        response.success = True
        return response

    def _on_end_episode(
        self, request: EndEpisode.Request, response: EndEpisode.Response
    ) -> EndEpisode.Response:
        current = self._recorder.open_episode
        if current is None:
            response.message = 'no episode is open. Call start_episode, or wait for data.'
            return response
        response.accepted = True
        response.episode, response.num_steps = current
        reason = DISCARDED if request.discard else request.reason or _OPERATOR
        self._mark(is_begin=False, success=request.success, reason=reason, truncated=True)
        return response

    def _mark(self, **facts: Any) -> None:
        """Tell the recorder and everybody else; what comes back is known as a duplicate."""
        mark = Mark(
            stamp_ns=self.get_clock().now().nanoseconds,
            source=_OPERATOR,
            discard=facts.get('reason') == DISCARDED,
            **facts,
        )
        self._recorder.mark(mark)
        self._events.publish(_event(mark))

    def _store_health(self) -> Health:
        writer = self._writer
        values = {
            'total_steps': writer.total_steps,
            'waiting_steps': writer.waiting_steps,
            'lost_steps': writer.lost_steps,
            'pruned_segments': writer.pruned_segments,
        }
        if writer.error:
            return Health(ERROR, writer.error, values)
        if writer.lost_steps:
            episodes = ', '.join(map(str, writer.lost_episodes))
            text = f'{writer.lost_steps} steps of episodes {episodes} were lost. Free space'
            return Health(WARN, text, values)
        return Health(OK, 'writing', values)

    def _episodes_health(self) -> Health:
        recorder = self._recorder
        current = recorder.open_episode
        values: dict[str, Any] = {
            'num_steps': recorder.num_steps,
            'num_episodes': recorder.num_episodes,
            'open_episode': '' if current is None else current[0],
            **{f'ended.{reason}': count for reason, count in recorder.endings.items()},
            **{f'gaps.{name}': count for name, count in recorder.gaps.items()},
            **{f'missing.{name}': count for name, count in recorder.missing.items()},
        }
        text = 'no episode is open' if current is None else f'recording episode {current[0]}'
        return Health(OK, text, values)

    def _topic_health(self, topic: str) -> Callable[[], Health]:
        growth = RecentGrowth()

        def health() -> Health:
            counts = self._recorder.counts()[topic].to_dict()
            problem = self._intake.problems.get(topic, '')
            if problem:
                return Health(WARN, problem, counts)
            rates = {name: growth.per_second(name, counts[name]) for name in _LOSSES}
            bad = [f'{rate:.2g} messages/s {_LOSSES[n]}' for n, rate in rates.items() if rate]
            if bad:
                return Health(WARN, '; '.join(bad), counts)
            lost = ', '.join(f'{counts[name]} {name}' for name in _LOSSES if counts[name])
            text = 'receiving' if counts['received'] else 'nothing received yet'
            return Health(OK, f'{text}; earlier: {lost}' if lost else text, counts)

        return health


def _decoder(type_name: str) -> Callable[[bytes], Any]:
    """Return what turns bytes into a message: rosbags where it knows the type, else rclpy."""
    if type_name in known_types().fielddefs:
        return Decoder(type_name)
    message_class = message_type(type_name)
    return lambda data: deserialize_message(data, message_class)


def _event(mark: Mark) -> EpisodeEvent:
    event = EpisodeEvent()
    event.header.stamp = Time(nanoseconds=mark.stamp_ns).to_msg()
    event.event = EpisodeEvent.BEGIN if mark.is_begin else EpisodeEvent.END
    event.source = mark.source
    event.seed = mark.seed
    event.terminated, event.truncated = mark.terminated, mark.truncated
    event.success, event.reason = mark.success, mark.reason
    event.info_json = json.dumps(mark.info) if mark.info else ''
    return event


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(RecorderNode, args)


if __name__ == '__main__':
    sys.exit(main())
