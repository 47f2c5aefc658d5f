"""One phase trained by several processes: each draws batches of its own, all step as one.

The first process runs the usual trainer around a `Leader` and speaks for all: it publishes, saves,
measures and reports. The others `follow` what it says. Gradients meet in `state.step`; metrics of
updates are those of the first process's batches.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from robot_learning.errors import TrainingError
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import Batch, Metrics, Phase, Rollout
from robot_learning.phases.prioritised_update import learn
from robot_learning.phases.process_group import Place, summed, told
from robot_learning.phases.state import OTHERS, without_others

_EXPERIENCE = 'experience'


class _Command(IntEnum):
    END = 0
    UPDATE = 1
    TAKE = 2  # The state of the first one.
    TELL = 3  # What only the others hold: what they draw from.


class Others:
    """The other processes as the first one sees them; there may be none."""

    def __init__(self, size: int = 1):
        self.size = size  # Processes in all.
        self.is_stop_requested = False  # One of them was told to end.
        self._is_awaited = False  # They wait for numbers and would take a command for them.

    @contextlib.contextmanager
    def doing(self, command: _Command) -> Iterator[None]:
        """Let all of them do their part of what is done within the block."""
        self._say(command)
        self._is_awaited = True
        yield
        self._is_awaited = False  # Not after an error: then they wait on.

    def dismiss(self) -> None:
        """Tell them that this was all, unless they are gone already, or wait for what failed."""
        if self.size > 1 and not self._is_awaited:
            with contextlib.suppress(TrainingError):
                self._say(_Command.END)

    def _say(self, command: _Command) -> None:
        _, requests = summed([command, 0])
        self.is_stop_requested = self.is_stop_requested or requests > 0


class Leader:
    """A phase whose every update is taken by all processes; otherwise the phase itself.

    Args:
        phase: of the first process.
        others: who follow.
    """

    def __init__(self, phase: Phase, others: Others):
        self._phase, self._others = phase, others
        self._theirs: dict[str, Tensor] = {}  # What the others held at a checkpoint.
        self._is_shared = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._phase, name)

    def update(self, batch: Batch) -> Metrics:
        """Take one gradient step, together."""
        if not self._is_shared:  # Only now is the phase prepared and resumed.
            with self._others.doing(_Command.TAKE):
                told(_packed(self._phase.state_dict() | self._theirs), 0)
            self._is_shared = True
        with self._others.doing(_Command.UPDATE):
            return self._phase.update(batch)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the phase's state and what the other processes need to go on bit by bit."""
        state = self._phase.state_dict()
        if self._is_shared:
            self._theirs = {}
            with self._others.doing(_Command.TELL):
                for rank in range(1, self._others.size):
                    theirs = load_tensors(told(b'', rank))
                    self._theirs |= {f'{_prefix(rank)}{name}': t for name, t in theirs.items()}
        return state | self._theirs

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, also of more or fewer processes."""
        self._theirs = {name: t for name, t in state.items() if name.startswith(OTHERS)}
        self._phase.load_state_dict(state)
        self._is_shared = False


def follow(
    phase: Phase,
    experience: Experience,
    place: Place,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Take every step that the first process takes, until it says that this was all.

    Args:
        phase: begins with weights of its own, which those of the first one replace.
        experience: what this process draws batches from.
        place: of this one.
        should_stop: asks the first one to end, which it does after an update.

    Raises:
        TrainingError: the first process is gone.
    """
    draw = phase.draws
    assert not isinstance(draw, Rollout), 'data are recorded'
    while True:
        command, _ = summed([0, should_stop()])
        if command == _Command.UPDATE:
            learn(phase, experience, draw)
        elif command == _Command.TAKE:
            _take(phase, experience, place, load_tensors(told(b'', 0)))
        elif command == _Command.TELL:
            mine = _packed(_own(phase, experience))
            for rank in range(1, place.size):
                told(mine, rank)
        else:
            return


def _take(phase: Phase, experience: Experience, place: Place, state: Mapping[str, Tensor]) -> None:
    """Be as the first process, but draw from sequences of one's own."""
    prefix = _prefix(place.rank)
    mine = {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
    held = mine.pop(_EXPERIENCE, None)
    if held is not None:
        experience.restore(json.loads(held.numpy().tobytes()))
    generators = _generators(phase) | mine
    theirs = without_others(state)
    unknown = set(generators) - set(theirs)
    if unknown:
        raise TrainingError(
            f'process {place.rank}: the first one lacks {sorted(unknown)}. Both run different '
            f'versions of this package or other settings; make them the same.'
        )
    phase.load_state_dict(theirs | generators)


def _own(phase: Phase, experience: Experience) -> dict[str, Tensor]:
    text = json.dumps(experience.state()).encode()
    content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return _generators(phase) | {_EXPERIENCE: content}


def _generators(phase: Phase) -> dict[str, Tensor]:
    """Return the states of generators: nothing else in a phase is kept as bytes."""
    return {name: t for name, t in phase.state_dict().items() if t.dtype == torch.uint8}


def _packed(state: Mapping[str, Tensor]) -> bytes:
    return bytes(save_tensors({name: tensor.contiguous() for name, tensor in state.items()}))


def _prefix(rank: int) -> str:
    return f'{OTHERS}{rank}.'
