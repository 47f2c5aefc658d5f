"""Fields of a foreign data set and fields of a contract: which is which, and whether they fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import ObservationField, RobotContract
from robot_learning.errors import ConfigError, ContractError
from robot_learning.trajectory.episode import Array, Episode

ACTION = 'action'
_PREFIXES = ('', 'observation.', 'observation.images.', 'observation.image.')
_ENTRY = re.compile(r'(?P<theirs>[^=\[\]]+)(\[(?P<start>\d+):(?P<stop>\d+)\])?=(?P<ours>[\w.-]+)')


class Mapping(NamedTuple):
    """One field of the contract and where it comes from."""

    theirs: str
    components: tuple[int, int] | None  # First and one past the last; None: all.

    def __str__(self) -> str:
        span = '' if self.components is None else f'[{self.components[0]}:{self.components[1]}]'
        return self.theirs + span

    def of(self, values: Array) -> Array:
        """Return the components that are meant, along the last axis of [T, ..., D]."""
        if self.components is None or values.ndim < 2:
            return values
        return values[..., slice(*self.components)]


def parse(entries: Sequence[str], contract: RobotContract) -> dict[str, Mapping]:
    """Return contract field -> source for entries 'theirs=ours' or 'theirs[2:5]=ours'.

    Raises:
        ConfigError: an entry has another form, or names no field of the contract.
    """
    result: dict[str, Mapping] = {}
    known = [*contract.observation, ACTION]
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ConfigError(
                f'map {entry!r}: has another form, expected theirs=ours or theirs[0:3]=ours. '
                f'Correct it.'
            )
        ours = match['ours']
        if ours not in known or ours in result:
            found = 'stands twice' if ours in result else 'is no field'
            raise ConfigError(
                f'map {entry!r}: {ours!r} {found}, expected one of {", ".join(known)}. Correct it.'
            )
        span = None if match['start'] is None else (int(match['start']), int(match['stop']))
        result[ours] = Mapping(match['theirs'], span)
    return result


class Fit:
    """Brings episodes of a data set into the form of a contract.

    Attributes:
        assumptions: what was done that the data do not say; complete after the last episode.
    """

    def __init__(self, where: str, contract: RobotContract, mapping: dict[str, Mapping]):
        self.assumptions: list[str] = []
        self._where = where
        self._contract = contract
        self._given = mapping
        self._plan: dict[str, Mapping | None] = {}
        self._form: Any = None  # Of the pieces that the plan was made for.

    def apply(self, piece: Episode) -> Episode:
        """Return the piece with the contract's fields in its shapes and dtypes.

        Raises:
            ContractError: names every field that lacks or does not fit.
        """
        if self._form != _form(piece):  # Episodes of one set may differ.
            self._plan = self._made(piece)
            self._form = _form(piece)
        observations, stamps, present = {}, {}, {}
        for name, source in self._plan.items():
            spec = self._contract.observation[name]
            if source is None:
                shape = (len(piece), *spec.shape)
                observations[name] = np.zeros(shape, spec.dtype)
                stamps[name] = np.full(len(piece), -1, np.int64)
                present[name] = np.zeros(len(piece), bool)
                continue
            values = source.of(piece.observations[source.theirs])
            observations[name] = values.astype(spec.dtype, copy=False)
            stamps[name] = piece.field_stamp_ns[source.theirs]
            present[name] = piece.present[source.theirs]
        parts: dict[str, Any] = {}
        if ACTION in self._given:
            for kind in ('action', 'commanded'):
                parts[kind] = self._given[ACTION].of(getattr(piece, kind))
        return replace(
            piece, observations=observations, field_stamp_ns=stamps, present=present, **parts
        )

    def _made(self, piece: Episode) -> dict[str, Mapping | None]:
        plan: dict[str, Mapping | None] = {}
        problems: list[str] = []
        for name, spec in self._contract.observation.items():
            source = self._given.get(name) or _guess(name, piece)
            plan[name] = source
            if source is not None:
                problems += self._misfits(name, spec, source, piece)
            elif spec.required:
                problems.append(f'{name}: expected {list(spec.shape)}, found nothing')
            else:
                self._assume(f'{name}: is not in the data, so that it is a gap.')
        problems += self._action_misfits(piece)
        if problems:
            raise ContractError(self._complaint(problems, piece))
        used = {source.theirs for source in plan.values() if source is not None}
        unused = [name for name in piece.observations if name not in used]
        if unused:
            self._assume(f'not used, as no field takes it: {", ".join(unused)}.')
        return plan

    def _assume(self, text: str) -> None:
        if text not in self.assumptions:
            self.assumptions.append(text)

    def _misfits(
        self, name: str, spec: ObservationField, source: Mapping, piece: Episode
    ) -> list[str]:
        if source.theirs not in piece.observations:
            return [f'{name}: found no {source.theirs}']
        if source.theirs not in piece.field_stamp_ns or source.theirs not in piece.present:
            return [f'{name}: found {source.theirs} without its stamps or its gap mask']
        values = source.of(piece.observations[source.theirs])
        if values.shape[1:] != tuple(spec.shape):
            return [
                f'{name}: expected {list(spec.shape)}, found {source} {list(values.shape[1:])}'
            ]
        if not np.can_cast(values.dtype, spec.dtype, 'same_kind'):
            return [f'{name}: expected {spec.dtype}, found {source} {values.dtype}']
        if values.dtype != spec.dtype:
            self._assume(f'{name}: {values.dtype} became {spec.dtype}.')
        return []

    def _action_misfits(self, piece: Episode) -> list[str]:
        source = self._given.get(ACTION)
        if source is not None and source.theirs != ACTION:
            return [f'action: found no {source.theirs}, only {ACTION}']
        action = piece.action if source is None else source.of(piece.action)
        size = self._contract.action_size
        if action.shape[1] != size:
            return [f'action: expected [{size}], found [{action.shape[1]}]']
        return []

    def _complaint(self, problems: list[str], piece: Episode) -> str:
        there = [f'{name} {list(v.shape[1:])}' for name, v in piece.observations.items()]
        there.append(f'action [{piece.action.shape[1]}]')
        return (
            f'{self._where}: does not fit contract {self._contract.robot!r}: '
            f'{"; ".join(problems)}. Episode {piece.episode} holds {", ".join(there)}. Choose '
            f'another robot, or say what is what: --map theirs=ours, --map "theirs[0:3]=ours" for '
            f'components.'
        )


def _form(piece: Episode) -> Any:
    """Return what decides how the fields of a piece are taken."""
    arrays = {name: (v.shape[1:], v.dtype) for name, v in piece.observations.items()}
    return arrays, {*piece.field_stamp_ns}, {*piece.present}, piece.action.shape[1:]


def _guess(name: str, piece: Episode) -> Mapping | None:
    for prefix in _PREFIXES:
        if prefix + name in piece.observations:
            return Mapping(prefix + name, None)
    return None
