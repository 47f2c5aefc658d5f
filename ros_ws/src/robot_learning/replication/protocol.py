"""What replicators tell each other, and what of it is acceptable.

A receiver says what it holds; a sender offers what comes next; the receiver asks for ranges; the
sender answers in chunks. Everything is repeated until it has had its effect, so that any message
may be lost, come twice or come from a host that has started again. Nothing here knows how
messages travel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import ReplicationError
from robot_learning.foreign_files import printable

StoreName = Literal['segments', 'models']
STORES: tuple[StoreName, ...] = ('segments', 'models')
MAX_FILES = 64  # In one offer.
MAX_FOLDERS = 10_000  # In one list of holdings.
_HOST = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,31}')  # Also part of a topic's name.
_SHA256 = re.compile(r'[0-9a-f]{64}')


@dataclass(frozen=True, config=STRICT)
class TransferConfig:
    """How much travels at once, how often things are repeated, and what is too much."""

    chunk_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 32768  # Fits one UDP datagram.
    window_bytes: Annotated[int, Field(ge=2048)] = 262144  # More overflows the usual UDP buffers.
    delay_s: PositiveFloat = 0.25  # A range that takes longer is a sign to ask for less at once.
    max_bytes_per_s: NonNegativeInt = 0  # Of files, to all receivers together; 0: no limit.
    offer_s: PositiveFloat = 2.0  # Offers and holdings are repeated this often.
    retry_s: PositiveFloat = 1.0  # Without an answer the request is repeated; later less often.
    peer_timeout_s: PositiveFloat = 10.0  # A host that says nothing for so long is away.
    offers_ahead: Annotated[int, Field(ge=1, le=MAX_FILES)] = 16  # Segments offered at once.
    newest_versions: PositiveInt = 20  # Of each model; older ones are not offered.
    # Newest ones of each model that a receiver keeps, and the best and the one in use; 0: all.
    kept_versions: NonNegativeInt = 40
    max_segment_bytes: PositiveInt = 1 << 30  # Larger ones are refused by the receiver.
    min_free_bytes: NonNegativeInt = 256 << 20  # Receiving leaves so much of the disk free.


class FileEntry(NamedTuple):
    """One file of an offer."""

    name: str
    num_bytes: int
    sha256: str


class Offer(NamedTuple):
    """Files of one folder of a store, in the order in which they become visible."""

    origin: str
    store: str
    folder: str
    after: str  # File right before the first of these; '' if they are the first.
    files: tuple[FileEntry, ...]


class Holdings(NamedTuple):
    """What a host has of others: (origin, folder) -> newest complete file."""

    receiver: str
    store: str
    last: Mapping[tuple[str, str], str]


class Request(NamedTuple):
    """A range of an offered file."""

    origin: str
    receiver: str
    store: str
    path: str
    sha256: str
    offset: int
    num_bytes: int


class Chunk(NamedTuple):
    """A piece of a file."""

    origin: str
    receiver: str
    store: str
    path: str
    sha256: str
    offset: int
    crc32: int
    data: bytes


def check_host(name: str) -> None:
    """Refuse what cannot be the name of a host.

    Raises:
        ReplicationError: says what may.
    """
    if not _HOST.fullmatch(name):
        raise ReplicationError(
            f'host {printable(name, 40)!r}: expected 1 to 32 letters, digits or "_" that begin '
            f'with a letter. Give the replicator another host name.'
        )


def check_offer(offer: Offer) -> None:
    """Refuse an offer that no replicator of ours would make; what stores allow is their own.

    Raises:
        ReplicationError: names the host and what is wrong.
    """
    check_host(offer.origin)
    if not 1 <= len(offer.files) <= MAX_FILES:
        raise refusal(offer, f'holds {len(offer.files)} files, expected 1 to {MAX_FILES}')
    names = {entry.name for entry in offer.files}
    if len(names) != len(offer.files):
        raise refusal(offer, 'names a file twice')
    for entry in offer.files:
        if not _SHA256.fullmatch(entry.sha256):
            found = printable(entry.sha256, 80)
            raise refusal(offer, f'{printable(entry.name, 80)}: {found!r} is no SHA-256')


def refusal(offer: Offer, found: str) -> ReplicationError:
    """Return the error that refuses an offer."""
    folder = printable(offer.folder, 80)
    return ReplicationError(
        f'offer of host {offer.origin}, {offer.store} {folder!r}: {found}. It is refused; '
        f'look at what runs on that host.'
    )
