"""Hosts joined by a wire in memory: it loses, repeats and delays messages, and can be cut."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import itertools
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.replication.flow import TokenBucket
from robot_learning.replication.model_shelf import IncomingModels, OutgoingModels
from robot_learning.replication.protocol import Chunk, Holdings, Offer, Request, TransferConfig
from robot_learning.replication.receiver import Arrival, Receiver
from robot_learning.replication.segment_shelf import IncomingSegments, OutgoingSegments
from robot_learning.replication.sender import Sender

CONFIG = TransferConfig(chunk_bytes=1024, window_bytes=8192, min_free_bytes=0)
LOOK_S = 0.5


def write_segment(store: Path, session: str, number: int, num_bytes: int = 5000) -> Path:
    """Write a segment that can be read, with incompressible content, as a recorder would."""
    folder = store / session
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / '.segment'
    with h5py.File(hidden, 'w') as file:
        file.attrs.update(
            {'format': 1, 'session': session, 'number': number, 'contract_hash': 'c'}
        )
        file.attrs['contract'] = '{}'
        file.create_group('data').attrs['total'] = 7
        file['payload'] = np.random.default_rng(number).integers(0, 256, num_bytes, np.uint8)
    path = folder / f'segment_{number:06d}.hdf5'
    hidden.rename(path)
    return path


def publish(models: Path, name: str = 'navigator', num_values: int = 500) -> int:
    """Publish a version of a model with random weights."""
    store = ModelStore(models)
    rng = np.random.default_rng((store.newest(name) or 0) + 1)
    return store.publish(name, {'w': rng.normal(size=num_values).astype('f4')}, {'config': {}})


def contents(root: Path) -> dict[str, str]:
    """Return visible file -> SHA-256 below a folder."""
    files = [path for path in sorted(root.rglob('*')) if path.is_file()]
    names = {path: path.relative_to(root).parts for path in files}
    return {
        '/'.join(parts): hashlib.sha256(path.read_bytes()).hexdigest()
        for path, parts in names.items()
        if not any(part.startswith('.') for part in parts)
    }


@dataclasses.dataclass
class Wire:
    """Delivers messages in virtual time."""

    seed: int = 0
    loss: float = 0.0  # Probability that a message does not arrive.
    repeat: float = 0.0  # That it comes twice.
    delay_s: float = 0.001
    jitter_s: float = 0.0  # Messages overtake each other.
    is_cut: bool = False

    def __post_init__(self) -> None:
        self.now_s = 0.0
        self.hosts: list[Host] = []
        self.delivered: list[Any] = []
        self._rng = random.Random(self.seed)
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Any]] = []

    def send(self, message: Any) -> None:
        if self.is_cut:
            return
        times = 0 if self._rng.random() < self.loss else 1 + (self._rng.random() < self.repeat)
        for _ in range(times):
            due_s = self.now_s + self.delay_s + self._rng.random() * self.jitter_s
            heapq.heappush(self._waiting, (due_s, next(self._order), message))

    def cut(self) -> None:
        self.is_cut = True
        self._waiting.clear()

    def run(self, seconds: float) -> None:
        """Let time pass: look, deliver, send, until nothing is left to do in it."""
        end_s = self.now_s + seconds
        next_look_s = self.now_s
        while self.now_s < end_s:
            if self.now_s >= next_look_s:
                next_look_s = self.now_s + LOOK_S
                for host in self.hosts:
                    host.look(self.now_s)
            while self._waiting and self._waiting[0][0] <= self.now_s:
                message = heapq.heappop(self._waiting)[2]
                self.delivered.append(message)
                for host in self.hosts:
                    host.take(message, self.now_s)
            waits = [w for host in self.hosts if (w := host.transmit(self.now_s)) is not None]
            times = [next_look_s, *(self.now_s + max(wait, 1e-4) for wait in waits)]
            if self._waiting:
                times.append(self._waiting[0][0])
            self.now_s = max(min(times), self.now_s + 1e-6)

    def chunk_bytes(self) -> int:
        """Return how many bytes of files have been delivered."""
        return sum(len(m.data) for m in self.delivered if isinstance(m, Chunk))


class Host:
    """A host with a store and a model store of its own, which may be restarted.

    Args:
        wire: joins it with others.
        folder: of its stores.
        name: of the host.
        sends: stores it offers.
        receives: stores it fetches into.
        config: how files travel.
        rules: for versions that come here.
    """

    def __init__(
        self,
        wire: Wire,
        folder: Path,
        name: str,
        sends: tuple[str, ...] = (),
        receives: tuple[str, ...] = (),
        config: TransferConfig = CONFIG,
        rules: ModelFileRules | None = None,
    ):
        self.name = name
        self.store, self.models = folder / name / 'store', folder / name / 'models'
        self.arrivals: list[Arrival] = []
        bucket = TokenBucket(config.max_bytes_per_s)
        outgoing = {
            'segments': OutgoingSegments(self.store, config.offers_ahead),
            'models': OutgoingModels(self.models, config.newest_versions),
        }
        incoming = {
            'segments': IncomingSegments(self.store, config.max_segment_bytes),
            'models': IncomingModels(self.models, rules or ModelFileRules(), config.kept_versions),
        }
        self.senders = {
            store: Sender(name, outgoing[store], config, bucket, wire.send, wire.send)
            for store in sends
        }
        self.receivers = {
            store: Receiver(
                name, incoming[store], config, wire.send, wire.send, self.arrivals.append
            )
            for store in receives
        }
        self._incoming = incoming
        self._wire = wire
        wire.hosts.append(self)

    def die(self) -> None:
        """End as a kill -9 does: nothing is tidied up but what the kernel tidies up."""
        self._wire.hosts.remove(self)
        for shelf in self._incoming.values():
            shelf.release()

    def look(self, now_s: float) -> None:
        for part in (*self.senders.values(), *self.receivers.values()):
            part.look(now_s)

    def transmit(self, now_s: float) -> float | None:
        waits = [sender.transmit(now_s) for sender in self.senders.values()]
        return min((wait for wait in waits if wait is not None), default=None)

    def take(self, message: Any, now_s: float) -> None:
        sender = self.senders.get(message.store)
        receiver = self.receivers.get(message.store)
        if isinstance(message, Offer) and receiver:
            receiver.on_offer(message, now_s)
        elif isinstance(message, Chunk) and receiver:
            receiver.on_chunk(message, now_s)
        elif isinstance(message, Holdings) and sender and message.receiver != self.name:
            sender.on_holdings(message, now_s)
        elif isinstance(message, Request) and sender and message.origin == self.name:
            sender.on_request(message, now_s)
