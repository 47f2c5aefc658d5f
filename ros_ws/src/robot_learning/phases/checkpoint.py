"""Trainer checkpoints: `<folder>/000000012345/{state.safetensors, trainer.json}`, no pickle."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from robot_learning import durable_files
from robot_learning.errors import InUseError, StoreError

_LOG = logging.getLogger(__name__)
STATE, TRAINER = 'state.safetensors', 'trainer.json'
_UNFINISHED = '.writing-'  # And the writer's process id.


class Checkpoint(NamedTuple):
    """All that a trainer needs to go on."""

    tensors: dict[str, Tensor]
    content: dict[str, Any]  # Counters, generators, data positions, as plain data.


class CheckpointFolder:
    """Writes checkpoints named by their update and reads the newest sound one.

    One trainer at a time, see `claimed`; what one that was killed left unfinished goes with the
    next save.
    """

    def __init__(self, folder: Path | str, keep: int = 2):
        self.folder = Path(folder)
        self._keep = keep

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other trainers out; the kernel lets them in when this process ends, however.

        On file systems without locks it does nothing.

        Raises:
            InUseError: another trainer is at work here.
            StoreError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            descriptor = os.open(self.folder, flags)  # A folder needs no lock file.
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            with contextlib.suppress(OSError):
                _lock(descriptor, self.folder)
            yield
        finally:
            os.close(descriptor)

    def save(self, update: int, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> Path:
        """Write one checkpoint, visible complete or not at all, and drop the oldest.

        Raises:
            StoreError: the folder cannot be written.
        """
        data = save_tensors({key: tensor.contiguous() for key, tensor in tensors.items()})
        digest = {'state_sha256': hashlib.sha256(data).hexdigest()}
        temporary = self.folder / f'{_UNFINISHED}{os.getpid()}-{uuid.uuid4().hex}'
        target = self.folder / f'{update:012d}'
        try:
            temporary.mkdir(parents=True)
            durable_files.write(temporary / STATE, data)
            text = json.dumps({**content, **digest})
            durable_files.write(temporary / TRAINER, text.encode())
            durable_files.sync_folder(temporary)
            if target.exists():  # Written before a restart; this one holds the same updates.
                shutil.rmtree(target)
            temporary.rename(target)
            durable_files.sync_folder(self.folder)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in self._complete()[: -self._keep]:
            shutil.rmtree(old, ignore_errors=True)
        self._remove_unfinished()
        return target

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that reads soundly, None if there is none.

        Damaged ones are named in the log and passed over.
        """
        for folder in reversed(self._complete()):
            try:
                return _read(folder)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                _LOG.warning(
                    '%s: is damaged (%s). Going on from the checkpoint before it.', folder, error
                )
        return None

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f'{self.folder}: a checkpoint cannot be written ({error.strerror}). '
            f'Free space or choose another output folder.'
        )

    def _remove_unfinished(self) -> None:
        for entry in self.folder.glob(f'{_UNFINISHED}*'):
            pid = entry.name.removeprefix(_UNFINISHED).split('-')[0]
            if not (pid.isdigit() and _is_running(int(pid))):
                shutil.rmtree(entry, ignore_errors=True)

    def _complete(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(entry for entry in self.folder.iterdir() if entry.name.isdigit())


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUseError(
            f'{folder}: another trainer is at work here, expected one. End it, or choose '
            f'another output folder or model name.'
        ) from error


def _read(folder: Path) -> Checkpoint:
    content = json.loads((folder / TRAINER).read_bytes())
    data = (folder / STATE).read_bytes()
    if hashlib.sha256(data).hexdigest() != content['state_sha256']:
        raise ValueError(f'{STATE} differs from its SHA-256')
    return Checkpoint(load_tensors(data), content)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Somebody else's.
        return True
    return True
