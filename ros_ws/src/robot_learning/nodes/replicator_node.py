"""Brings segments and model versions to other hosts, and theirs here, over DDS.

On a robot segments are sent and models received, on a learning machine the other way round; then
recorder, trainer and policy work on folders of their own host as always.
"""

from __future__ import annotations

import math
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from builtin_interfaces.msg import Time
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from robot_learning_interfaces.msg import (
    FileChunk,
    FileHoldings,
    FileOffer,
    FileRequest,
    ModelVersion,
    SegmentWritten,
)

from robot_learning.commands import network
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, ReplicationError, RobotLearningError
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.nodes import qos
from robot_learning.nodes import replication_messages as messages
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.run import run_node
from robot_learning.replication import protocol
from robot_learning.replication.flow import TokenBucket
from robot_learning.replication.model_shelf import IncomingModels, OutgoingModels
from robot_learning.replication.protocol import Chunk, Holdings, Offer, Request, TransferConfig
from robot_learning.replication.receiver import Arrival, Receiver
from robot_learning.replication.replicator import Message, Replicator
from robot_learning.replication.segment_shelf import IncomingSegments, OutgoingSegments
from robot_learning.replication.sender import Sender
from robot_learning.replication.shelf import IncomingShelf, OutgoingShelf
from robot_learning.trajectory import segment

_QOS = qos.qos_profile('reliable')
# Best effort: the receiver asks again for what it lacks, and at once; DDS would send it too.
_CHUNK_QOS = qos.qos_profile('sensor', depth=256)
_MAX_RECEIVERS = 64  # Further hosts are not served.
_NAMESAKE_S = 30.0  # Another host of the same name is remembered for so long.
_NOTICES = {SegmentWritten: 'segment_written', ModelVersion: 'model_version'}

Direction = Literal['send', 'receive', 'none']


@dataclass(frozen=True, config=STRICT)
class ReplicatorConfig:
    """What travels in which direction, between which folders."""

    host: str = ''  # Name of this host for the others, unique; empty: the machine's name.
    store: Path = Path('runs/store')  # Directory of recorded episodes.
    models: Path = Path('runs/models')  # Directory of model versions.
    segments: Direction = 'none'  # Robot: send; learning machine: receive.
    versions: Direction = 'none'  # Robot: receive; learning machine: send.
    channel: str = '/replication'  # Topics begin with this; absolute, as namespaces differ.
    transfer: TransferConfig = field(default_factory=TransferConfig)
    rules: ModelFileRules = field(default_factory=ModelFileRules)  # For versions that come here.


class ReplicatorNode(Node):
    """Turns messages into those of `replication.protocol` and back."""

    def __init__(self, **node_options: Any):
        super().__init__('replicator', **node_options)
        self._config = config = declare_config(self, ReplicatorConfig)
        self._host = config.host or _machine_name()
        protocol.check_host(self._host)
        if config.segments == config.versions == 'none':
            raise ConfigError(
                'parameters of the replicator: segments and versions are both none, expected one '
                'to be sent or received. Give it a role: --replicate robot or learner.'
            )
        self._num_steps = 0  # That came here.
        self._failure: BaseException | None = None
        self._last_refusal = ''
        self._own_offers: deque[tuple[int, int]] = deque(maxlen=256)  # When they were sent.
        self._namesake_s = -math.inf  # When another host of the same name was heard.
        self._models = ModelStore(config.models)
        self._make_publishers()
        self._replicator = Replicator(
            self._host, self._senders(), self._receivers(), self._on_failure
        )
        self._subscribe()
        Diagnostics(self, self._host).add('replication', self._health)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._end_if_broken, clock=steady)
        self._replicator.start()
        self.get_logger().info(
            f'host {self._host}: segments: {config.segments} ({config.store}), versions: '
            f'{config.versions} ({config.models})'
        )

    def close(self) -> None:
        """End the thread; what is half here is gone on with at the next start."""
        self._replicator.close()

    def _make_publishers(self) -> None:
        publish = self.create_publisher
        self._offers = publish(FileOffer, self._topic('offers'), _QOS)
        self._holdings = publish(FileHoldings, self._topic('holdings'), _QOS)
        self._requests = publish(FileRequest, self._topic('requests'), _QOS)
        self._chunks: dict[str, Publisher] = {}  # By receiver: only that one gets them.
        self._segment_written = publish(SegmentWritten, 'segment_written', qos.NOTICE_QOS)
        self._model_version = publish(ModelVersion, 'model_version', qos.NOTICE_QOS)

    def _senders(self) -> dict[str, Sender]:
        config, transfer = self._config, self._config.transfer
        shelves: list[OutgoingShelf] = []
        if config.segments == 'send':
            shelves.append(OutgoingSegments(config.store, transfer.offers_ahead))
        if config.versions == 'send':
            shelves.append(OutgoingModels(config.models, transfer.newest_versions))
        bucket = TokenBucket(transfer.max_bytes_per_s)
        return {
            shelf.store: Sender(
                self._host, shelf, transfer, bucket, self._send_offer, self._send_chunk
            )
            for shelf in shelves
        }

    def _receivers(self) -> dict[str, Receiver]:
        config, transfer = self._config, self._config.transfer
        shelves: list[IncomingShelf] = []
        if config.segments == 'receive':
            shelves.append(IncomingSegments(config.store, transfer.max_segment_bytes))
        if config.versions == 'receive':
            shelves.append(IncomingModels(config.models, config.rules, transfer.kept_versions))
        return {
            shelf.store: Receiver(
                self._host,
                shelf,
                transfer,
                self._send_request,
                self._send_holdings,
                self._on_arrival,
            )
            for shelf in shelves
        }

    def _subscribe(self) -> None:
        """Listen to what concerns the directions that are switched on."""
        directions = (self._config.segments, self._config.versions)
        if 'receive' in directions:
            self._listen(FileOffer, 'offers', self._known_offer)
            self._listen(FileChunk, f'{self._host}/chunks', messages.chunk, _CHUNK_QOS)
        if 'send' in directions:
            self._listen(FileHoldings, 'holdings', self._known_holdings)
            self._listen(FileRequest, 'requests', messages.request)
            for kind, topic in _NOTICES.items():
                self.create_subscription(
                    kind, topic, lambda _: self._replicator.put(None), qos.NOTICE_QOS
                )

    def _listen(
        self, kind: type, topic: str, read: Callable[[Any], Message], profile: QoSProfile = _QOS
    ) -> None:
        def on_message(message: Any) -> None:
            try:
                self._replicator.put(read(message))
            except ReplicationError as error:
                self.get_logger().warning(str(error), throttle_duration_sec=10.0)

        self.create_subscription(kind, self._topic(topic), on_message, profile)

    def _topic(self, name: str) -> str:
        return f'{self._config.channel}/{name}'

    def _known_offer(self, message: FileOffer) -> Offer:
        """Read an offer; notice when it comes from a host that calls itself as this one does."""
        if message.origin == self._host and _sent(message) not in self._own_offers:
            self._namesake_s = time.monotonic()
        return messages.offer(message)

    def _known_holdings(self, message: FileHoldings) -> Holdings:
        """Prepare to answer a receiver that is heard for the first time.

        Raises:
            ReplicationError: its name cannot be that of a host, or there are too many.
        """
        receiver = message.receiver
        if receiver != self._host and receiver not in self._chunks:
            protocol.check_host(receiver)
            if len(self._chunks) >= _MAX_RECEIVERS:
                raise ReplicationError(
                    f'host {receiver}: is one more than the {_MAX_RECEIVERS} receivers that are '
                    f'served. Start this replicator again when others have gone.'
                )
            self._chunks[receiver] = self.create_publisher(
                FileChunk,
                self._topic(f'{receiver}/chunks'),
                _CHUNK_QOS,
            )
        return messages.holdings(message)

    # --- the replication thread ------------------------------------------------------------

    def _send_offer(self, offer: Offer) -> None:
        message = messages.offer_message(offer, self._now())
        self._own_offers.append(_sent(message))
        self._offers.publish(message)

    def _send_holdings(self, holdings: Holdings) -> None:
        self._holdings.publish(messages.holdings_message(holdings, self._now()))

    def _send_request(self, request: Request) -> None:
        self._requests.publish(messages.request_message(request, self._now()))

    def _send_chunk(self, chunk: Chunk) -> None:
        publisher = self._chunks.get(chunk.receiver)
        if publisher is not None:  # Else it asked without having said what it holds.
            publisher.publish(messages.chunk_message(chunk, self._now()))

    def _on_arrival(self, arrival: Arrival) -> None:
        """Tell those on this host who would else look for it only now and then."""
        self.get_logger().debug(f'{arrival.path} from {arrival.origin}')
        try:
            if arrival.store == 'segments':
                self._tell_segment(arrival.path)
            else:
                self._tell_version(arrival.path)
        except RobotLearningError as error:  # Somebody may have deleted it already.
            self.get_logger().warning(str(error))

    def _tell_segment(self, path: Path) -> None:
        info = segment.read_info(path)
        self._num_steps += info.num_steps
        notice = SegmentWritten(
            path=str(path.resolve()),
            contract_hash=info.contract_hash,
            first_episode=info.first_episode,
            last_episode=info.last_episode,
            num_steps=info.num_steps,
            total_steps=self._num_steps,
            bytes=path.stat().st_size,
        )
        notice.header.stamp = self._now()
        self._segment_written.publish(notice)

    def _tell_version(self, folder: Path) -> None:
        name, version = folder.parent.name, int(folder.name)
        manifest = self._models.manifest(name, version)
        provenance = manifest.get('provenance') or {}
        notice = ModelVersion(
            model=name,
            version=version,
            state=ModelVersion.PUBLISHED,
            update=int(provenance.get('update') or 0),
            environment_step=int(provenance.get('environment_step') or 0),
            sha256=manifest['sha256'],
        )
        notice.header.stamp = self._now()
        self._model_version.publish(notice)

    def _on_failure(self, error: BaseException) -> None:
        self._failure = error

    def _now(self) -> Time:
        return self.get_clock().now().to_msg()

    # --- diagnostics -----------------------------------------------------------------------

    def _end_if_broken(self) -> None:
        """End the process for a fault of ours: it is restarted."""
        if self._failure is not None:
            raise self._failure

    def _health(self) -> Health:
        progress = self._replicator.progress
        values = {'peers': ', '.join(progress.peers), **progress.values}
        values['last_refusal'] = progress.last_refusal
        if progress.last_refusal != self._last_refusal:
            self._last_refusal = progress.last_refusal
            self.get_logger().warning(progress.last_refusal)
        if time.monotonic() - self._namesake_s < _NAMESAKE_S:
            text = (
                f'another host calls itself {self._host} too, so that their sessions mix. Give '
                f'each its own name with --host.'
            )
            self.get_logger().error(text, throttle_duration_sec=30.0)
            return Health(ERROR, text, values)
        if progress.error:
            self.get_logger().error(progress.error, throttle_duration_sec=30.0)
            return Health(ERROR, progress.error, values)
        if not progress.peers:
            if 'send' not in (self._config.segments, self._config.versions):
                return Health(OK, 'nothing is offered', values)  # Who has nothing new is silent.
            return Health(WARN, f'no other host is heard{_reach()}', values)
        return Health(OK, f'with {values["peers"]}', values)


def _sent(message: FileOffer) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _reach() -> str:
    """Say why nobody else can be heard, where that is known."""
    is_local = os.environ.get(network.RANGE, 'SUBNET') in ('LOCALHOST', 'OFF')
    if is_local and not os.environ.get(network.PEERS):
        return f'; {network.RANGE} keeps this one local: start it with --network subnet or --peers'
    return ''


def _machine_name() -> str:
    """Return the machine's name as a host name, 'host' in front where that is needed."""
    name = re.sub('[^A-Za-z0-9_]', '_', socket.gethostname().partition('.')[0])[:32]
    return name if name[:1].isalpha() else f'host_{name}'[:32]


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run_node(ReplicatorNode, args)


if __name__ == '__main__':
    sys.exit(main())
