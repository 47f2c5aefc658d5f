"""Messages of replicators, to and from what the replication room knows."""

from __future__ import annotations

import array

from builtin_interfaces.msg import Time
from robot_learning_interfaces.msg import FileChunk, FileHoldings, FileOffer, FileRequest

from robot_learning.errors import ReplicationError
from robot_learning.replication.protocol import Chunk, FileEntry, Holdings, Offer, Request


def offer_message(offer: Offer, stamp: Time) -> FileOffer:
    """Write an offer."""
    message = FileOffer(
        origin=offer.origin,
        store=offer.store,
        folder=offer.folder,
        after=offer.after,
        names=[entry.name for entry in offer.files],
        bytes=[entry.num_bytes for entry in offer.files],
        sha256=[entry.sha256 for entry in offer.files],
    )
    message.header.stamp = stamp
    return message


def offer(message: FileOffer) -> Offer:
    """Read an offer.

    Raises:
        ReplicationError: its lists differ in length.
    """
    lists = (message.names, message.bytes, message.sha256)
    _check_lengths(f'offer of {message.origin!r}', lists)
    files = tuple(
        FileEntry(name, int(size), sha256) for name, size, sha256 in zip(*lists, strict=True)
    )
    return Offer(message.origin, message.store, message.folder, message.after, files)


def holdings_message(holdings: Holdings, stamp: Time) -> FileHoldings:
    """Write holdings."""
    message = FileHoldings(
        receiver=holdings.receiver,
        store=holdings.store,
        origins=[origin for origin, _ in holdings.last],
        folders=[folder for _, folder in holdings.last],
        last=list(holdings.last.values()),
    )
    message.header.stamp = stamp
    return message


def holdings(message: FileHoldings) -> Holdings:
    """Read holdings.

    Raises:
        ReplicationError: its lists differ in length.
    """
    lists = (message.origins, message.folders, message.last)
    _check_lengths(f'holdings of {message.receiver!r}', lists)
    last = {(origin, folder): name for origin, folder, name in zip(*lists, strict=True)}
    return Holdings(message.receiver, message.store, last)


def request_message(request: Request, stamp: Time) -> FileRequest:
    """Write a request."""
    message = FileRequest(
        origin=request.origin,
        receiver=request.receiver,
        store=request.store,
        path=request.path,
        sha256=request.sha256,
        offset=request.offset,
        bytes=request.num_bytes,
    )
    message.header.stamp = stamp
    return message


def request(message: FileRequest) -> Request:
    """Read a request."""
    return Request(
        message.origin,
        message.receiver,
        message.store,
        message.path,
        message.sha256,
        int(message.offset),
        int(message.bytes),
    )


def chunk_message(chunk: Chunk, stamp: Time) -> FileChunk:
    """Write a chunk."""
    message = FileChunk(
        origin=chunk.origin,
        receiver=chunk.receiver,
        store=chunk.store,
        path=chunk.path,
        sha256=chunk.sha256,
        offset=chunk.offset,
        crc32=chunk.crc32,
        data=array.array('B', chunk.data),  # Anything else is copied number by number.
    )
    message.header.stamp = stamp
    return message


def chunk(message: FileChunk) -> Chunk:
    """Read a chunk."""
    return Chunk(
        message.origin,
        message.receiver,
        message.store,
        message.path,
        message.sha256,
        int(message.offset),
        int(message.crc32),
        bytes(message.data),
    )


def _check_lengths(where: str, lists: tuple[object, ...]) -> None:
    lengths = {len(values) for values in lists}  # type: ignore[arg-type]
    if len(lengths) != 1:
        raise ReplicationError(
            f'{where}: its lists have lengths {sorted(lengths)}, expected one length. It is '
            f'passed over; look at what runs on that host.'
        )
