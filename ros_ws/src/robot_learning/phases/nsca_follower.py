"""NSCA's phases beside a robot: learned from its episodes, and again when there are more.

A round takes the newest segments, divides their episodes, and trains one phase after the other,
each on the versions before it and from the weights of its own last version. What a round consists
of is on the disk before it begins, so that one that was killed goes on with the same data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from robot_learning import durable_files
from robot_learning.contract import RobotContract
from robot_learning.errors import (
    ConfigError,
    DataError,
    ModelRefusedError,
    NotEnoughDataError,
    StoreError,
    TrainingError,
)
from robot_learning.model_folders import parse_reference
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.nsca_config import MODE, NAMES, NscaConfig
from robot_learning.phases.nsca_preparation import Data, prepare
from robot_learning.phases.nsca_versions import Earlier, load_earlier
from robot_learning.phases.passes import Origin, Passes
from robot_learning.phases.publishing import Publisher
from robot_learning.phases.trainer import Progress
from robot_learning.phases.training_session import Destination
from robot_learning.trajectory import store_files
from robot_learning.trajectory.paired_sources import open_paired
from robot_learning.trajectory.store import TrajectoryStore

_POLL_S = 1.0
_ROUND = 'round.json'
_RETRY = 0.1  # So many more steps before episodes are read again that were too few or too short.


class _Round(NamedTuple):
    """One training of all phases."""

    number: int
    segments: list[str]  # '<session>/segment_000012.hdf5'
    num_steps: int  # Of these segments.
    stored_steps: int  # Of all segments, when it began.
    seen: dict[str, int]  # Session: number of its newest segment, when it began.
    finished: list[str]  # Phases.
    begun: Mapping[str, str] = {}  # Phase: NAME@VERSION it began with; '': fresh weights.


class NscaFollower:
    """Trains phases of NSCA over a growing store.

    Args:
        phase: one of `NAMES`; 'nsca' stands for all that the senses of the settings need.
        settings: of all phases, and of when to begin.
        store: folder of the episodes.
        destination: where results go; versions are of NAME-vision and so on.
        contract: of the robot, for the versions' provenance.
        seed: of weights, order and division.
        device: where to compute.

    Attributes:
        wake: set it when there may be new segments.
        phase: that learns now, 'nsca_vision'.
        model_name: of the versions of that phase.
    """

    def __init__(
        self,
        phase: str,
        settings: NscaConfig,
        store: Path,
        destination: Destination,
        contract: RobotContract,
        seed: int,
        device: torch.device,
    ):
        if phase not in NAMES:
            raise ConfigError(
                f'phase: found {phase!r}, expected one of {", ".join(NAMES)}. Choose one of them.'
            )
        self._names = settings.phases() if phase == MODE else (phase.removeprefix(f'{MODE}_'),)
        self._asked, self._settings, self._destination = phase, settings, destination
        self._store = TrajectoryStore(store)
        self._contract, self._seed, self._device = contract, seed, device
        self._steps: dict[str, int] = {}  # Of each segment that was looked into.
        self._last: _Round | None = None
        self._unfit: tuple[int, str] | None = None  # Stored steps that did not do, and why.
        self._failure = ''  # Why the last round was given up.
        self.wake = threading.Event()
        self.phase = self.model_name = ''
        self._begin(self._names[0])

    def run(
        self, should_stop: Callable[[], bool], on_progress: Callable[[Progress], None]
    ) -> Progress:
        """Learn round after round until stopped; wait where there is too little that is new.

        A round whose loss is not finite, or in which a phase collapses, is given up; the next one
        begins when there is more to learn from.

        Args:
            should_stop: asked before every update.
            on_progress: hears where training stands.

        Raises:
            DataError: the episodes lack a sense that a phase needs.
            StoreError: something cannot be written, or an earlier phase has no version.
        """
        progress = Progress()
        while not should_stop():
            try:
                found = self._next_round(is_asked=False)
                data = self._new_data(found)
            except NotEnoughDataError as error:
                stored = sum(self._steps.values())
                detail = f'{error} {self._failure}'.strip()
                progress = Progress('waiting', detail, environment_step=stored)
                on_progress(progress)
                self.wake.wait(_POLL_S)
                self.wake.clear()
                continue
            self._failure = ''
            try:
                progress = self._learn(found, data, None, should_stop, on_progress)
            except (TrainingError, DataError) as error:
                on_progress(Progress('failed', str(error), environment_step=found.stored_steps))
                if isinstance(error, DataError):
                    raise
                self._failure = f'Round {found.number + 1} was given up: {error}'
                self._write_round(found._replace(finished=list(self._names)))
        return progress

    def learn_once(
        self,
        num_updates: int | None,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        """Learn one round from what there is, however little is new; see `run`.

        Args:
            num_updates: of each phase; None: as many as the settings say.
            should_stop: asked before every update.
            on_progress: hears where training stands.

        Raises:
            NotEnoughDataError: there is too little.
        """
        found = self._next_round(is_asked=True)
        return self._learn(found, self._data(found), num_updates, should_stop, on_progress)

    def _begin(self, name: str) -> None:
        self.phase = f'{MODE}_{name}'
        self.model_name = f'{self._destination.model_name}-{name}'

    def _next_round(self, is_asked: bool) -> _Round:
        """Return the round to go on with, or a new one.

        Raises:
            NotEnoughDataError: there is too little new.
        """
        follow, last = self._settings.follow, self._read_round()
        segments = self._look()
        seen: Mapping[str, int] = {}
        needed = follow.first_steps
        if last is not None and set(self._names) <= set(last.finished):
            seen, needed = last.seen, max(1, round(follow.growth * last.num_steps))
        elif last is not None and set(last.segments) <= set(segments):
            return last
        new = sum(count for name, count in segments.items() if _is_new(name, seen))
        if not segments or (new < needed and not is_asked):
            raise NotEnoughDataError(f'Holds {new} of {needed} new steps; waiting for more.')
        taken: list[str] = []
        num_steps = 0
        for name in reversed(segments):
            if taken and num_steps + segments[name] > follow.most_steps:
                break
            taken.append(name)
            num_steps += segments[name]
        number = 0 if last is None else last.number + 1
        seen = {Path(name).parent.name: store_files.number(Path(name)) for name in segments}
        return _Round(number, sorted(taken), num_steps, sum(segments.values()), seen, [])

    def _look(self) -> dict[str, int]:
        """Return the number of steps of every segment, by session name and number."""
        names = {str(path.relative_to(self._store.root)): path for path in self._store.segments()}
        for name, path in names.items():
            if name not in self._steps:
                try:
                    self._steps[name] = self._store.read_info(path).num_steps
                except DataError:
                    self._steps[name] = 0  # Named and left out where the data are opened.
        self._steps = {name: self._steps[name] for name in names}
        return self._steps

    def _new_data(self, found: _Round) -> Data:
        """Open the episodes of a round, unless nearly the same did not do before.

        Raises:
            NotEnoughDataError: see `_data`.
        """
        if self._unfit is not None:
            stored, reason = self._unfit
            if abs(found.stored_steps - stored) < _RETRY * stored:
                raise NotEnoughDataError(reason)
        return self._data(found)

    def _data(self, found: _Round) -> Data:
        """Open the episodes of a round and divide them.

        Raises:
            NotEnoughDataError: there are too few, or none is long enough.
        """
        try:
            return self._divided(found)
        except (NotEnoughDataError, DataError) as error:  # Too few, or all of them too short.
            self._unfit = found.stored_steps, str(error)
            raise NotEnoughDataError(str(error)) from error

    def _divided(self, found: _Round) -> Data:
        paths = [self._store.root / name for name in found.segments]
        model = self._settings.model
        paired = open_paired(
            self._store.root, model.image_size, window=model.temporal_length, segments=paths
        )
        if {'train', 'val'} <= set(paired.split_names):
            return Data(paired.split('train'), paired.split('val'))
        return Data(*paired.divide(self._settings.follow.held_out, self._seed))

    def _learn(
        self,
        found: _Round,
        data: Data,
        num_updates: int | None,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        self._write_round(found)
        progress = Progress(environment_step=found.stored_steps)
        for name in self._names:
            if name in found.finished:
                continue
            self._begin(name)
            weights = self._weights(name, found)
            found = found._replace(
                begun={**found.begun, name: weights.where if weights is not None else ''}
            )
            self._write_round(found)
            progress = self._learn_phase(
                name, found, weights, data, num_updates, should_stop, on_progress
            )
            if progress.state != 'finished':
                return progress
            found = found._replace(finished=[*found.finished, name])
            self._write_round(found)
        return progress

    def _weights(self, name: str, found: _Round) -> Earlier | None:
        """Return what a phase begins with: as noted, else the version that serves, if it fits."""
        noted = found.begun.get(name)
        if noted == '' or not self._settings.follow.continue_weights:
            return None
        choices = [parse_reference(noted)[1], None] if noted else [None]
        destination = self._destination
        store = ModelStore(destination.models)
        for number in choices:
            with contextlib.suppress(StoreError, ModelRefusedError):  # Pruned, or other sizes.
                return load_earlier(
                    store, destination.model_name, name, self._settings.model, number
                )
        return None

    def _learn_phase(
        self,
        name: str,
        found: _Round,
        weights: Earlier | None,
        data: Data,
        num_updates: int | None,
        should_stop: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> Progress:
        destination = self._destination
        store = ModelStore(destination.models, signer=destination.signer)
        prepared = prepare(
            name,
            data,
            self._settings,
            store,
            destination.model_name,
            self._seed,
            self._device,
            weights,
        )
        config = prepared.passes
        if num_updates is not None:
            config = dataclasses.replace(config, max_updates=num_updates, epochs=num_updates)
        publisher = Publisher(
            store, self.model_name, self.phase, self._seed, config.keep_best, config.keep_newest
        )
        folder = self._folder(found.number)
        passes = Passes(
            prepared.objective,
            prepared.training,
            prepared.held_out,
            config,
            publisher,
            None if folder is None else CheckpointFolder(folder / name),
            Origin(list(prepared.earlier), found.segments, self._contract, found.stored_steps),
            self._seed,
            self._device,
        )
        passes.resume()
        curves = dataclasses.replace(destination, model_name=self.model_name).curves(self.phase)

        def report(progress: Progress) -> None:
            progress.environment_step = found.stored_steps
            progress.detail = f'Round {found.number + 1}, {name}.'
            if curves is not None:
                curves.write(progress)
            on_progress(progress)

        try:
            progress = passes.run(should_stop, report)
            report(progress)
            return progress
        finally:
            if curves is not None:
                curves.close()

    def _folder(self, number: int) -> Path | None:
        """Return where the checkpoints of a round lie."""
        base = self._destination.checkpoints(self._asked)
        return None if base is None else base.folder / f'round_{number:06d}'

    def _read_round(self) -> _Round | None:
        base = self._destination.checkpoints(self._asked)
        path = None if base is None else base.folder / _ROUND
        if self._last is not None or path is None or not path.exists():
            return self._last
        try:
            return _Round(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f'{path}: cannot be read ({error}), expected what the last round was. Remove it; '
                f'the next round then begins anew.'
            ) from error

    def _write_round(self, found: _Round) -> None:
        """Note a round, and forget checkpoints of those before."""
        self._last = found
        base = self._destination.checkpoints(self._asked)
        if base is None:
            return
        try:
            base.folder.mkdir(parents=True, exist_ok=True)
            content = json.dumps(found._asdict()).encode()
            durable_files.replace(base.folder / _ROUND, content)
        except OSError as error:
            raise StoreError(
                f'{base.folder}: cannot be written ({error.strerror}). Free space or choose '
                f'another output folder.'
            ) from error
        for old in base.folder.glob('round_*'):
            if old.name != f'round_{found.number:06d}':
                shutil.rmtree(old, ignore_errors=True)


def _is_new(name: str, seen: Mapping[str, int]) -> bool:
    """Tell whether a segment came after those that were seen, older ones of which may be gone."""
    path = Path(name)
    return store_files.number(path) > seen.get(path.parent.name, -1)
