"""Writes a folder of paired files for `paired_folders`; it is there whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from robot_learning import durable_files
from robot_learning.errors import StoreError
from robot_learning.trajectory import image_files, sound_files
from robot_learning.trajectory.paired_data import PairedSample
from robot_learning.trajectory.paired_folders import MANIFEST, TABLE
from robot_learning.trajectory.sample_table import SampleRow, table_text

Array = np.ndarray[Any, Any]


class PairedWriter:
    """Collects samples under a temporary name beside `out` and renames it at the end.

    Use it in a `with` statement; an error inside removes what was written.

    Raises:
        StoreError: `out` holds something already, or the disk refuses.
    """

    def __init__(self, out: Path):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StoreError(
                f'{out}: is there already, expected nothing. Choose another --out, or remove it.'
            )
        self._out = out
        self.folder = out.parent / f'.{out.name}-{uuid.uuid4().hex[:12]}'
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._rows: list[tuple[str, SampleRow]] = []

    def __enter__(self) -> PairedWriter:
        with _explained(self._out):
            self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, split: str, class_name: str, sample: PairedSample, row: SampleRow) -> str:
        """Write the files of one sample; return its name in the table, 'train/steel_box/000'.

        The sample's label, properties and source are not used: class and row say it.
        """
        number = self._numbers[split, class_name]
        self._numbers[split, class_name] += 1
        folder = self.folder / split / class_name
        with _explained(self._out):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in _files(sample).items():
                stem, suffix = name.split('.')
                (folder / f'{stem}_{number:03d}.{suffix}').write_bytes(content)
        name = f'{split}/{class_name}/{number:03d}'
        self._rows.append((name, row))
        return name

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write table and manifest and make the folder visible.

        Args:
            manifest: plain data; `synthetic` and `notes` are read back by `paired_folders`.
        """
        with _explained(self._out):
            (self.folder / TABLE).write_text(table_text(self._rows), encoding='utf-8')
            text = json.dumps(manifest, indent=2) + '\n'
            (self.folder / MANIFEST).write_text(text, encoding='utf-8')
            os.sync()  # Thousands of small files: once for all is faster than each by itself.
            self.folder.replace(self._out)
            durable_files.sync_folder(self._out.parent)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Turn what the disk refuses into a `StoreError`."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f'{out}: cannot be written ({error.strerror}). Make room, or choose another --out.'
        ) from error


def _files(sample: PairedSample) -> dict[str, bytes]:
    """Return the content of each file of a sample by kind and suffix."""
    files = {}
    if sample.image is not None:
        files['image.png'] = image_files.encode_png(sample.image)
    if sample.frames is not None:
        strip = sample.frames.reshape(-1, *sample.frames.shape[2:])
        files['frames.png'] = image_files.encode_png(strip)
    if sample.sound is not None:
        files['audio.wav'] = sound_files.encode_wav(sample.sound)
    if sample.proprioception is not None:
        files['proprio.npy'] = _npy(sample.proprioception)
    if sample.action is not None:
        files['action.npy'] = _npy(sample.action)
    return files


def _npy(array: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()
