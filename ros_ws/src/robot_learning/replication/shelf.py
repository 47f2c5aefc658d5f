"""What a store must tell its sender and its receiver: what comes next, and how it gets in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from robot_learning.replication.protocol import FileEntry, Offer, StoreName


class Bundle(NamedTuple):
    """Files that a sender can offer together."""

    folder: str
    after: str
    paths: tuple[Path, ...]


class Item(NamedTuple):
    """What becomes visible at one moment: a segment, or all files of a model version."""

    origin: str
    folder: str
    files: tuple[FileEntry, ...]  # In the order in which they are fetched.
    target: Path  # What becomes visible: a segment, or the folder of a version.
    staging: Path  # Hidden folder where finished files wait for the others.
    parts: Path  # Hidden folder of unfinished files.

    def part(self, entry: FileEntry) -> Path:
        """Return where a file lies while it arrives; another content has another place."""
        folder = self.folder.replace('/', '.')
        return self.parts / f'{folder}.{entry.name}.{entry.sha256[:16]}'


class OutgoingShelf(Protocol):
    """A store whose files are offered."""

    store: StoreName
    problem: str  # What cannot be offered, and why; '' when all is well.

    def bundles(self, positions: Collection[Mapping[str, str]]) -> Iterator[Bundle]:
        """Yield what receivers do not have yet, most wanted first.

        Args:
            positions: of each receiver, folder -> newest file that it has.
        """


class IncomingShelf(Protocol):
    """A store that others' files come into. One thread of one process writes it."""

    store: StoreName
    root: Path

    def open(self) -> None:
        """Make the folder and take possession of it, until `release` or the process's end.

        Raises:
            InUseError: another process receives into it.
            ReplicationError: it cannot be written.
        """

    def release(self) -> None:
        """Let another process receive into it."""

    def held(self) -> dict[tuple[str, str], str]:
        """Return (origin, folder) -> newest file, for the holdings that receivers announce."""

    def items(self, offer: Offer, refused: Collection[str]) -> list[Item]:
        """Return what of an offer is not here yet, in the order in which it must come.

        Args:
            offer: passed `check_offer`.
            refused: SHA-256 of files that were refused before and are passed over.

        Raises:
            ReplicationError: the offer holds what does not belong here, or contradicts it.
        """

    def place(self, item: Item) -> None:
        """Make visible what lies complete in `item.staging`.

        Raises:
            ReplicationError: it does not stand the checks of its store.
            OSError: the disk is full or gone.
        """
