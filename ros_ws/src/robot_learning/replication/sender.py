"""Offers what a store has and sends what is asked for, as fast as it may."""

from __future__ import annotations

import dataclasses
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path

from robot_learning.replication.digests import Digests
from robot_learning.replication.flow import RateMeter, TokenBucket
from robot_learning.replication.protocol import (
    MAX_FOLDERS,
    Chunk,
    FileEntry,
    Holdings,
    Offer,
    Request,
    TransferConfig,
)
from robot_learning.replication.shelf import Bundle, OutgoingShelf

_MAX_PEERS = 64  # Further hosts are not served.
_REMEMBERED = 4096  # Files that may be asked for.
_MAX_RANGES = 64  # Of one receiver.
_AT_ONCE = 8  # Chunks between two looks at what has come in.


@dataclasses.dataclass
class _Peer:
    """A host that wants files."""

    heard_s: float
    positions: Mapping[str, str]  # Folder -> newest file that it has.


@dataclasses.dataclass
class _Wanted:
    """The ranges of a file that a receiver has asked for and not been sent."""

    request: Request
    path: Path
    ranges: deque[tuple[int, int]]  # Begin and end, in the order in which they are sent.

    def add(self, begin: int, end: int) -> None:
        """Note another range; a receiver that asks for something twice has lost the rest."""
        if self.ranges[-1][1] == begin:
            self.ranges[-1] = self.ranges[-1][0], end
        elif end <= self.ranges[0][0] and len(self.ranges) < _MAX_RANGES:
            self.ranges.appendleft((begin, end))
        else:
            self.ranges = deque([(begin, end)])


class Sender:
    """One store's side that gives. All methods are called from one thread.

    Attributes:
        rate: bytes of files that were sent.
        num_offered: files in the newest offers, that is, what others lack as far as one looks.
    """

    def __init__(
        self,
        host: str,
        shelf: OutgoingShelf,
        config: TransferConfig,
        bucket: TokenBucket,
        send_offer: Callable[[Offer], None],
        send_chunk: Callable[[Chunk], None],
    ):
        self.rate = RateMeter()
        self.num_offered = 0
        self.shelf = shelf
        self._host = host
        self._config = config
        self._bucket = bucket
        self._send_offer = send_offer
        self._send_chunk = send_chunk
        self._digests = Digests()
        self._peers: dict[str, _Peer] = {}
        self._offered: OrderedDict[str, tuple[Path, FileEntry]] = OrderedDict()
        self._repeat_s: dict[Bundle, float] = {}  # When an offer that was made is due again.
        self._wanted: OrderedDict[str, _Wanted] = OrderedDict()  # By receiver, whose turn first.

    def peers(self, now_s: float) -> list[str]:
        """Return the hosts that want files and were heard lately."""
        limit_s = now_s - self._config.peer_timeout_s
        return sorted(name for name, peer in self._peers.items() if peer.heard_s >= limit_s)

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for chunks."""
        return bool(self._wanted)

    def on_holdings(self, holdings: Holdings, now_s: float) -> None:
        """Note what a receiver has; offer it what comes next."""
        is_known = holdings.receiver in self._peers
        if len(holdings.last) > MAX_FOLDERS or (not is_known and len(self._peers) >= _MAX_PEERS):
            return
        positions = {
            folder: last
            for (origin, folder), last in holdings.last.items()
            if origin == self._host
        }
        if not is_known:
            self._repeat_s.clear()
        self._peers[holdings.receiver] = _Peer(now_s, positions)
        self.look(now_s)

    def on_request(self, request: Request, now_s: float) -> None:
        """Remember what to send; what was never offered, or has changed, is passed over."""
        known = self._offered.get(request.path)
        if known is None or known[1].sha256 != request.sha256:
            return
        path, entry = known
        end = min(request.offset + request.num_bytes, entry.num_bytes)
        before = self._wanted.get(request.receiver)
        if request.offset >= end:
            return
        if before and before.request.sha256 == request.sha256 and before.path == path:
            before.add(request.offset, end)
        elif before or len(self._wanted) < _MAX_PEERS:
            ranges = deque([(request.offset, end)])
            self._wanted[request.receiver] = _Wanted(request, path, ranges)

    def look(self, now_s: float) -> None:
        """Offer what is new, and again what receivers still do not have."""
        for name in set(self._peers).difference(self.peers(now_s)):
            del self._peers[name]
            self._wanted.pop(name, None)
        bundles = list(self.shelf.bundles([peer.positions for peer in self._peers.values()]))
        self.num_offered = sum(len(bundle.paths) for bundle in bundles)
        self._repeat_s = {b: s for b, s in self._repeat_s.items() if s > now_s}
        for bundle in bundles:
            if bundle not in self._repeat_s:
                self._repeat_s[bundle] = now_s + self._config.offer_s
                self._offer(bundle)

    def transmit(self, now_s: float) -> float | None:
        """Send some chunks, receivers in turn.

        Returns:
            Seconds until there is more to send; None when nobody waits.
        """
        for _ in range(_AT_ONCE):
            if not self._wanted:
                return None
            wait_s = self._bucket.wait_s(now_s)
            if wait_s > 0:
                return wait_s
            self._send_next(now_s)
        return 0.0 if self._wanted else None

    def _offer(self, bundle: Bundle) -> None:
        entries = []
        for path in bundle.paths:
            entry = self._digests.entry(path)
            if entry is not None:  # Else somebody has just deleted it.
                entries.append(entry)
                self._offered[f'{bundle.folder}/{entry.name}'] = path, entry
                self._offered.move_to_end(f'{bundle.folder}/{entry.name}')
        while len(self._offered) > _REMEMBERED:
            self._offered.popitem(last=False)
        if entries:
            store = self.shelf.store
            self._send_offer(Offer(self._host, store, bundle.folder, bundle.after, tuple(entries)))

    def _send_next(self, now_s: float) -> None:
        receiver, wanted = self._wanted.popitem(last=False)
        begin, end = wanted.ranges.popleft()
        num_bytes = min(self._config.chunk_bytes, end - begin)
        sha256 = wanted.request.sha256
        data = self._digests.read(wanted.path, sha256, begin, num_bytes)
        if data is None:  # Deleted or changed; the next offers say what there is.
            return
        self._bucket.take(num_bytes)
        self.rate.add(num_bytes, now_s)
        self._send_chunk(
            Chunk(
                self._host,
                receiver,
                self.shelf.store,
                wanted.request.path,
                sha256,
                begin,
                zlib.crc32(data),
                data,
            )
        )
        if begin + num_bytes < end:
            wanted.ranges.appendleft((begin + num_bytes, end))
        if wanted.ranges:
            self._wanted[receiver] = wanted
