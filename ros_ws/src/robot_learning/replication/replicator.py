"""Senders and receivers of one host on a thread of their own, beside whatever brings messages."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from robot_learning.replication.protocol import Chunk, Holdings, Offer, Request
from robot_learning.replication.receiver import Receiver
from robot_learning.replication.sender import Sender

Message = Offer | Holdings | Request | Chunk
_MAX_WAITING = 1024  # Messages; what does not fit is lost, and repeated by its sender.
_LOOK_S = 0.5
_AT_ONCE = 32  # Messages taken between two pieces that are sent.


class Progress(NamedTuple):
    """Where replication stands, for people."""

    peers: tuple[str, ...]
    values: Mapping[str, Any]
    error: str  # What stops it at the moment; '' when nothing does.
    last_refusal: str


class Replicator:
    """Gives messages to those whom they concern, and lets them look around twice a second.

    Files are read, hashed and written on this thread only, so that neither a slow disk nor a
    large file keeps anybody else waiting.
    """

    def __init__(
        self,
        host: str,
        senders: Mapping[str, Sender],
        receivers: Mapping[str, Receiver],
        on_failure: Callable[[BaseException], None],
        now_s: Callable[[], float] = time.monotonic,
    ):
        """Prepare.

        Args:
            host: name of this host.
            senders: by store.
            receivers: by store.
            on_failure: called when the thread ends by a fault of ours.
            now_s: steady clock.
        """
        self._host = host
        self._senders = senders
        self._receivers = receivers
        self._on_failure = on_failure
        self._now_s = now_s
        self._messages: queue.Queue[Message | None] = queue.Queue(_MAX_WAITING)
        self._num_lost = 0
        self._next_look_s = 0.0
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name='replication', daemon=True)
        self.progress = Progress((), {}, '', '')

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what is half here is gone on with at the next start."""
        self._is_ending.set()
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def put(self, message: Message | None) -> None:
        """Take a message, or None to look for new files at once. Never blocks."""
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._num_lost += 1

    def _run(self) -> None:
        try:
            wait_s: float | None = 0.0
            while not self._is_ending.is_set():
                self._take(wait_s)
                now_s = self._now_s()
                if now_s >= self._next_look_s:
                    self._look(now_s)
                waits = [sender.transmit(self._now_s()) for sender in self._senders.values()]
                wait_s = min((wait for wait in waits if wait is not None), default=None)
            for receiver in self._receivers.values():
                receiver.close()
        except BaseException as error:
            self._on_failure(error)
            raise

    def _take(self, wait_s: float | None) -> None:
        """Handle what has come; wait for it until there is something else to do."""
        until_look_s = max(0.0, self._next_look_s - self._now_s())
        timeout_s = until_look_s if wait_s is None else min(wait_s, until_look_s)
        with contextlib.suppress(queue.Empty):
            self._handle(
                self._messages.get(timeout=timeout_s) if timeout_s else self._messages.get_nowait()
            )
            for _ in range(_AT_ONCE):
                self._handle(self._messages.get_nowait())

    def _handle(self, message: Message | None) -> None:
        now_s = self._now_s()
        if message is None:
            self._next_look_s = now_s
            return
        sender, receiver = self._senders.get(message.store), self._receivers.get(message.store)
        if isinstance(message, Offer) and receiver is not None:
            receiver.on_offer(message, now_s)
        elif isinstance(message, Chunk) and receiver is not None:
            receiver.on_chunk(message, now_s)
        elif isinstance(message, Holdings) and sender is not None:
            if message.receiver != self._host:
                sender.on_holdings(message, now_s)
        elif isinstance(message, Request) and sender is not None and message.origin == self._host:
            sender.on_request(message, now_s)

    def _look(self, now_s: float) -> None:
        self._next_look_s = now_s + _LOOK_S
        for sender in self._senders.values():
            sender.look(now_s)
        for receiver in self._receivers.values():
            receiver.look(now_s)
        self.progress = self._measure(now_s)

    def _measure(self, now_s: float) -> Progress:
        peers: set[str] = set()
        values: dict[str, Any] = {'host': self._host, 'messages_lost': self._num_lost}
        errors, refusals = [], []
        for store, sender in self._senders.items():
            peers.update(sender.peers(now_s))
            values[f'{store}.sent_bytes'] = sender.rate.total
            values[f'{store}.sent_bytes_per_s'] = sender.rate.per_second(now_s)
            values[f'{store}.offered'] = sender.num_offered
            errors.append(sender.shelf.problem)
        for store, receiver in self._receivers.items():
            peers.update(receiver.peers(now_s))
            files, num_bytes = receiver.backlog()
            values[f'{store}.received_files'] = receiver.num_files
            values[f'{store}.received_bytes'] = receiver.rate.total
            values[f'{store}.received_bytes_per_s'] = receiver.rate.per_second(now_s)
            values[f'{store}.repeated_bytes'] = receiver.num_repeated
            values[f'{store}.backlog_files'] = files
            values[f'{store}.backlog_bytes'] = num_bytes
            values[f'{store}.refused'] = receiver.num_refused
            values.update(
                {f'{store}.receiving.{k}': rest for k, rest in receiver.receiving().items()}
            )
            errors.append(receiver.error)
            refusals.append(receiver.last_refusal)
        return Progress(
            tuple(sorted(peers)),
            values,
            ' '.join(filter(None, errors)),
            ' '.join(filter(None, refusals)),
        )
