"""Fetches what others offer: in order, once, checked, and again where it stopped."""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from robot_learning.errors import ReplicationError
from robot_learning.replication.flow import RateMeter, RequestWindow
from robot_learning.replication.protocol import (
    Chunk,
    FileEntry,
    Holdings,
    Offer,
    Request,
    TransferConfig,
    check_offer,
)
from robot_learning.replication.shelf import IncomingShelf, Item
from robot_learning.replication.transfer import Transfer

_MAX_OFFERS = 256  # Of one host that are considered.
_MAX_PEERS = 64
_REMEMBERED = 4096  # Refused files.
_DISK_RETRY_S = 5.0


class Arrival(NamedTuple):
    """Something became visible in the store."""

    store: str
    origin: str
    path: Path  # A segment, or the folder of a version.


@dataclasses.dataclass
class _Origin:
    """A host that offers files."""

    window: RequestWindow
    heard_s: float
    offers: OrderedDict[str, tuple[Offer, float]]  # By folder: the newest, when it came.
    transfer: Transfer | None = None


class Receiver:
    """One store's side that takes. All methods are called from one thread.

    Attributes:
        rate: bytes that arrived and were wanted.
        num_files: files that became visible.
        num_refused: offers, chunks and files that were refused.
        num_repeated: bytes that came although they were here already.
        error: why nothing can be received at the moment; '' when all is well.
        last_refusal: the newest reason for refusing something; '' if nothing was.
    """

    def __init__(
        self,
        host: str,
        shelf: IncomingShelf,
        config: TransferConfig,
        send_request: Callable[[Request], None],
        send_holdings: Callable[[Holdings], None],
        on_arrival: Callable[[Arrival], None],
    ):
        """Take possession of the store.

        Raises:
            InUseError: another process receives into it.
            ReplicationError: it cannot be written.
        """
        self.rate = RateMeter()
        self.num_files = 0
        self.num_refused = 0
        self.num_repeated = 0
        self.error = ''
        self.last_refusal = ''
        self.shelf = shelf
        self._host = host
        self._config = config
        self._send_request = send_request
        self._send_holdings = send_holdings
        self._on_arrival = on_arrival
        self._origins: dict[str, _Origin] = {}
        self._refused: OrderedDict[str, None] = OrderedDict()  # SHA-256 of files.
        self._doubted: set[str] = set()  # What came wrong once, the last time.
        self._paused_until_s = 0.0
        self._announced_s: float | None = None
        shelf.open()

    def peers(self, now_s: float) -> list[str]:
        """Return the hosts whose offers were heard lately."""
        limit_s = now_s - self._config.peer_timeout_s
        return sorted(name for name, origin in self._origins.items() if origin.heard_s >= limit_s)

    def backlog(self) -> tuple[int, int]:
        """Return files and bytes that are offered and not here, as far as is known."""
        offers = [
            offer for origin in self._origins.values() for offer, _ in origin.offers.values()
        ]
        files = [entry for offer in offers for item in self._items(offer) for entry in item.files]
        return len(files), sum(entry.num_bytes for entry in files)

    def receiving(self) -> dict[str, int]:
        """Return what is on its way, with the bytes that have not come yet."""
        active = [o.transfer for o in self._origins.values() if o.transfer is not None]
        return {f'{t.item.origin}:{t.path}': t.num_missing for t in active}

    def on_offer(self, offer: Offer, now_s: float) -> None:
        """Note what there is to fetch."""
        if offer.origin == self._host:
            return
        try:
            check_offer(offer)
            has_news = bool(self.shelf.items(offer, self._refused))
        except ReplicationError as error:
            self._refuse(str(error))
            return
        origin = self._origins.get(offer.origin)
        if origin is None:
            if len(self._origins) >= _MAX_PEERS:
                return
            window = RequestWindow(self._config.window_bytes, self._config.delay_s)
            origin = self._origins[offer.origin] = _Origin(window, now_s, OrderedDict())
        origin.heard_s = now_s
        if has_news:  # Else it was meant for others, who stand elsewhere.
            origin.offers[offer.folder] = offer, now_s
            while len(origin.offers) > _MAX_OFFERS:
                origin.offers.popitem(last=False)
            self._proceed(origin, now_s)

    def on_chunk(self, chunk: Chunk, now_s: float) -> None:
        """Take a piece of a file."""
        origin = self._origins.get(chunk.origin)
        if origin is None or origin.transfer is None or chunk.receiver != self._host:
            return
        transfer = origin.transfer
        damaged, repeated = transfer.num_damaged, transfer.num_repeated
        try:
            num_bytes = transfer.take(chunk, now_s)
            self.rate.add(num_bytes, now_s)
            self.error = '' if num_bytes else self.error
        except ReplicationError as error:
            self._doubt(transfer.item, error)
            self._stop(origin)
        except OSError as error:
            self._pause(error, origin, now_s)
        if transfer.num_damaged > damaged:
            self._refuse(f'host {chunk.origin}: a piece of {transfer.item.folder} came damaged.')
        self.num_repeated += transfer.num_repeated - repeated
        self._proceed(origin, now_s)

    def look(self, now_s: float) -> None:
        """Go on where something was waited for; say what is here when it is time."""
        for origin in self._origins.values():
            self._expire(origin, now_s)
            if origin.transfer is not None:
                origin.transfer.remind(now_s)
            self._proceed(origin, now_s)
        due_s = (self._announced_s or 0.0) + self._config.offer_s
        if self._announced_s is None or now_s >= due_s:
            self._announce(now_s)

    def close(self) -> None:
        """Keep what has come of unfinished files, and let the store go."""
        for origin in self._origins.values():
            self._stop(origin)
        self.shelf.release()

    def _proceed(self, origin: _Origin, now_s: float) -> None:
        """Finish what is complete and begin what comes next."""
        while now_s >= self._paused_until_s:
            item = origin.transfer.item if origin.transfer else self._choose(origin)
            if item is None:
                return
            try:
                if origin.transfer is None:
                    origin.transfer = self._begin(item, origin.window, now_s)
                if not origin.transfer.is_complete:
                    return
                self._place(origin, item, now_s)
                self.error = ''
            except ReplicationError as error:
                self._doubt(item, error)
            except OSError as error:
                self._pause(error, origin, now_s)

    def _choose(self, origin: _Origin) -> Item | None:
        """Return what is wanted first: the newest session or version.

        What comes from another host at the moment need not come from here too.
        """
        coming = {o.transfer.item.target for o in self._origins.values() if o.transfer}
        for folder in sorted(origin.offers, reverse=True):
            items = self._items(origin.offers[folder][0])
            if items and items[0].target not in coming:
                return items[0]
        return None

    def _items(self, offer: Offer) -> list[Item]:
        try:
            return self.shelf.items(offer, self._refused)
        except ReplicationError as error:  # What is here has changed since it was offered.
            self._refuse(str(error))
            return []

    def _begin(self, item: Item, window: RequestWindow, now_s: float) -> Transfer:
        num_bytes = sum(entry.num_bytes - _size(item.part(entry)) for entry in item.files)
        status = os.statvfs(self.shelf.root)
        free = status.f_bavail * status.f_frsize
        if free < num_bytes + self._config.min_free_bytes:
            raise OSError(
                0,
                f'{free >> 20} MiB are free, {num_bytes >> 20} MiB are needed and '
                f'{self._config.min_free_bytes >> 20} MiB stay free',
            )

        def ask(entry: FileEntry, offset: int, num_bytes: int) -> None:
            path = f'{item.folder}/{entry.name}'
            self._send_request(
                Request(
                    item.origin,
                    self._host,
                    self.shelf.store,
                    path,
                    entry.sha256,
                    offset,
                    num_bytes,
                )
            )

        return Transfer(item, self._config, window, ask, now_s)

    def _place(self, origin: _Origin, item: Item, now_s: float) -> None:
        try:
            self.shelf.place(item)
        except ReplicationError as error:
            self._refuse(str(error), item)
        else:
            self.num_files += len(item.files)
            self._on_arrival(Arrival(self.shelf.store, item.origin, item.target))
        self._stop(origin)
        offer, _ = origin.offers.get(item.folder, (None, 0.0))
        if offer is None or not self._items(offer):
            origin.offers.pop(item.folder, None)
            self._announce(now_s)  # There may be more in this folder.

    def _announce(self, now_s: float) -> None:
        self._announced_s = now_s
        self._send_holdings(Holdings(self._host, self.shelf.store, self.shelf.held()))

    def _expire(self, origin: _Origin, now_s: float) -> None:
        """Forget what is not offered any more, for example because the host is away."""
        limit_s = now_s - self._config.peer_timeout_s
        for folder in [f for f, (_, heard_s) in origin.offers.items() if heard_s < limit_s]:
            del origin.offers[folder]
            if origin.transfer is not None and origin.transfer.item.folder == folder:
                self._stop(origin)

    def _stop(self, origin: _Origin) -> None:
        if origin.transfer is not None:
            origin.transfer.close()
            origin.transfer = None

    def _pause(self, error: OSError, origin: _Origin, now_s: float) -> None:
        """The disk refuses, or somebody else is at work: go on later with what is there."""
        self._stop(origin)
        self._paused_until_s = now_s + _DISK_RETRY_S
        is_busy = isinstance(error, BlockingIOError)
        advice = 'End that one, or wait' if is_busy else 'Free space on that disk'
        self.error = (
            f'{self.shelf.root}: cannot be written ({error.strerror or error}). {advice}; '
            f'receiving goes on by itself.'
        )

    def _doubt(self, item: Item, error: ReplicationError) -> None:
        """What came is not what was offered: a power cut may explain that once."""
        key = ' '.join(entry.sha256 for entry in item.files)
        is_known = key in self._doubted
        self._doubted = {key}
        where = f'host {item.origin}, {self.shelf.store} {item.folder}'
        self._refuse(f'{where}: {error}', item if is_known else None)

    def _refuse(self, reason: str, item: Item | None = None) -> None:
        self.num_refused += 1
        self.last_refusal = reason
        for entry in item.files if item else ():
            self._refused[entry.sha256] = None
        while len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
