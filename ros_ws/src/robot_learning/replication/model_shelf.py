"""Model versions on their way: a version arrives under its own name and number, or not at all.

Signatures travel as files of the version, also when they were made later. Pins and refusals do
not travel: each host decides for itself what it serves.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from robot_learning import durable_files
from robot_learning.errors import ModelRefusedError, ReplicationError, StoreError
from robot_learning.foreign_files import printable
from robot_learning.model_files import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    WEIGHTS,
    ModelFileRules,
)
from robot_learning.model_folders import is_model
from robot_learning.model_store import ModelStore
from robot_learning.replication.digests import Digests
from robot_learning.replication.ownership import RECEIVING, Ownership, forget_old_files
from robot_learning.replication.protocol import FileEntry, Offer, StoreName, refusal
from robot_learning.replication.shelf import Bundle, Item

_FOLDER = re.compile(r'([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/([0-9]{6,12})')
_MAX_SIGNATURE_BYTES = 1 << 16
_KEPT_BEST = 5  # By score, however old.
_ORDER = (WEIGHTS, SIGNATURE, MANIFEST)  # Fetched in this order: the manifest is last.


class OutgoingModels:
    """A model store whose newest versions are offered."""

    store: StoreName = 'models'

    def __init__(self, root: Path, newest: int):
        """Prepare.

        Args:
            root: of the model store; need not be there yet.
            newest: how many versions of each model are offered.
        """
        self.problem = ''
        self._models = ModelStore(root)
        self._newest = newest

    def bundles(self, positions: Collection[Mapping[str, str]]) -> Iterator[Bundle]:
        """Yield versions that nobody here refused, the newest first, while somebody listens."""
        if not positions:
            return
        try:
            for name in self._models.names():
                for version in reversed(self._models.versions(name)[-self._newest :]):
                    if self._models.refusal(name, version) is None:
                        yield self._bundle(name, version)
            self.problem = ''
        except StoreError as error:
            self.problem = str(error)

    def _bundle(self, name: str, version: int) -> Bundle:
        folder = self._models.root / name / f'{version:06d}'
        paths = tuple(path for file in _ORDER if (path := folder / file).is_file())
        return Bundle(f'{name}/{folder.name}', '', paths)


class IncomingModels:
    """A model store that receives versions of other hosts."""

    store: StoreName = 'models'

    def __init__(self, root: Path, rules: ModelFileRules, kept: int):
        """Prepare.

        Args:
            root: of the model store.
            rules: what a version must fulfil before it becomes visible.
            kept: newest versions of a model that stay when more come; 0: all.
        """
        self.root = root
        self._rules = rules
        self._models = ModelStore(root, rules)
        self._kept = kept
        self._ownership = Ownership(root)
        self._digests = Digests()

    def open(self) -> None:
        """See `IncomingShelf`."""
        self._ownership.take()
        for folder in self.root.iterdir():
            if is_model(folder):
                receiving = folder / RECEIVING
                for files in (*receiving.glob('*/.parts'), *receiving.glob('*/*/*')):
                    forget_old_files(files)

    def release(self) -> None:
        """See `IncomingShelf`."""
        self._ownership.release()

    def held(self) -> dict[tuple[str, str], str]:
        """Return nothing: all versions are offered again and again, there are only a few."""
        return {}

    def items(self, offer: Offer, refused: Collection[str]) -> list[Item]:
        """Return the version, or the signature that a version here has not got yet."""
        name, number = self._checked(offer)
        by_name = {entry.name: entry for entry in offer.files}
        wanted = [by_name[file] for file in _ORDER if file in by_name]
        folder = self.root / name / number
        if folder.is_dir():
            wanted = self._missing(offer, folder, by_name)
        elif self._is_outdated(name, int(number)):
            raise refusal(
                offer,
                f'is older than the {self._kept} versions that are kept here; its trainer began '
                f'anew, or kept_versions is less than what is offered',
            )
        if not wanted or all(entry.sha256 in refused for entry in wanted):
            return []
        receiving = self.root / name / RECEIVING / offer.origin
        staging, parts = receiving / name / number, receiving / '.parts'
        return [Item(offer.origin, offer.folder, tuple(wanted), folder, staging, parts)]

    def place(self, item: Item) -> None:
        """Let the model store check the version in its hidden place, then rename the folder."""
        if item.files[0].name == SIGNATURE:
            (item.staging / SIGNATURE).rename(item.target / SIGNATURE)
            durable_files.sync_folder(item.target)
            return
        name, number = item.folder.split('/')
        staged = {entry.name for entry in item.files}
        for stranger in [path for path in item.staging.iterdir() if path.name not in staged]:
            stranger.unlink()
        try:
            ModelStore(item.staging.parents[1], self._rules).verify(name, int(number))
        except (ModelRefusedError, StoreError) as error:
            shutil.rmtree(item.staging, ignore_errors=True)
            raise ReplicationError(str(error)) from error
        durable_files.sync_folder(item.staging)
        item.staging.rename(item.target)
        durable_files.sync_folder(item.target.parent)
        if self._kept and len(self._models.versions(name)) > self._kept + _KEPT_BEST:
            self._models.prune(name, _KEPT_BEST, self._kept)  # Nobody else does on this host.

    def _is_outdated(self, name: str, version: int) -> bool:
        """Tell whether a version would be deleted as soon as it is here."""
        newest = self._models.versions(name)[-self._kept :] if self._kept else []
        return len(newest) == self._kept > 0 and version < newest[0]

    def _checked(self, offer: Offer) -> tuple[str, str]:
        match = _FOLDER.fullmatch(offer.folder)
        if match is None or match.group(2) != f'{int(match.group(2)):06d}':
            raise refusal(offer, 'the folder is no MODEL/VERSION')
        limits = {
            WEIGHTS: self._rules.max_model_bytes,
            MANIFEST: MAX_MANIFEST_BYTES,
            SIGNATURE: _MAX_SIGNATURE_BYTES,
        }
        for entry in offer.files:
            limit = limits.get(entry.name)
            if limit is None:
                raise refusal(offer, f'{printable(entry.name, 80)!r} is no file of a version')
            if not 0 < entry.num_bytes <= limit:
                raise refusal(
                    offer, f'{entry.name} has {entry.num_bytes} bytes, expected 1 to {limit}'
                )
        absent = {WEIGHTS, MANIFEST} - {entry.name for entry in offer.files}
        if absent:
            raise refusal(offer, f'lacks {" and ".join(sorted(absent))}')
        return match.group(1), match.group(2)

    def _missing(
        self, offer: Offer, folder: Path, offered: Mapping[str, FileEntry]
    ) -> list[FileEntry]:
        """Return the signature if only that is missing.

        Raises:
            ReplicationError: the version here is another one.
        """
        here = self._digests.entry(folder / MANIFEST)
        if here is None or here.sha256 != offered[MANIFEST].sha256:
            raise refusal(
                offer,
                f'{folder} is here already with another manifest; two hosts publish under one '
                f'name, or one began anew',
            )
        has_signature = (folder / SIGNATURE).exists()
        return [] if has_signature or SIGNATURE not in offered else [offered[SIGNATURE]]
