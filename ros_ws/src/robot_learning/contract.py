"""The contract of one robot: which topic carries what, and what may be commanded.

One YAML file per robot drives recorder, store, buffer, policy, gate, simulator and export.
Its hash is stored with everything they make, so that data and models know their robot.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import config
from robot_learning.config import STRICT, Lines
from robot_learning.errors import ContractError
from robot_learning.message_types import PARTS

Qos = Literal['sensor', 'reliable', 'latched']
DType = Literal['float32', 'float64', 'uint8', 'int32', 'int64', 'bool']


@dataclass(frozen=True, config=STRICT)
class ObservationField:
    """One array of the observation and the topic it comes from.

    `part` chooses what of the message is taken ('pose2d', 'twist2d', 'ranges', 'position', ...);
    `robot_learning.message_types` lists the parts of every message type.
    """

    topic: str
    type: str  # ROS type name, 'sensor_msgs/msg/LaserScan'.
    shape: tuple[PositiveInt, ...]
    part: str | None = None  # None: the type's default part.
    dtype: DType = 'float32'
    unit: str | list[str] = ''
    frame: str = ''  # Expected header.frame_id; empty: not checked.
    rate_hz: PositiveFloat | None = None  # Expected rate; None for latched or event topics.
    max_age_s: PositiveFloat | None = None  # Older readings are gaps; None: never too old.
    qos: Qos = 'sensor'
    required: bool = True  # A step without a required field is not recorded.
    names: tuple[str, ...] | None = None  # JointState: which joints, in this order.
    angle_min: float | None = None  # LaserScan, radians.
    angle_max: float | None = None  # LaserScan, radians, of the last beam.
    range_min: float | None = None
    range_max: float | None = None


@dataclass(frozen=True, config=STRICT)
class ActionField:
    """One commanded vector, the topic it goes to and its limits. Rates are per second."""

    topic: str
    type: str
    components: tuple[str, ...]  # Message fields in order, ('linear.x', 'angular.z').
    unit: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    stop: tuple[float, ...]  # The command that makes the robot safe.
    max_rate: tuple[PositiveFloat, ...] | None = None  # |command change| per second.
    max_acceleration: tuple[PositiveFloat, ...] | None = None  # |change of that| per second.
    max_age_s: PositiveFloat = 0.2  # Without a newer observation, `stop` is sent.
    frame: str = 'base_link'
    learned: bool = True  # False: driven by skills, not by policies.
    derive_from: str | None = None  # Observation field that stands for the action in bags.

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.components)


@dataclass(frozen=True, config=STRICT)
class Feature:
    """One block of the policy's input vector, computed from observation fields.

    See `robot_learning.features` for the kinds and their parameters.
    """

    kind: str
    fields: tuple[str, ...]
    size: PositiveInt | None = None
    scale: tuple[float, ...] | None = None
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class Task:
    """What the robot is asked to do: a name the simulation knows, and its parameters."""

    name: str
    time_limit_s: PositiveFloat | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class RobotContract:
    """Everything the suite needs to know about one robot."""

    robot: str
    description: str
    control_rate_hz: Annotated[float, Field(gt=0, le=1000)]
    observation: dict[str, ObservationField]
    actions: dict[str, ActionField]
    features: tuple[Feature, ...] = ()
    task: Task | None = None

    @property
    def control_period_ns(self) -> int:
        """Nanoseconds between two control steps."""
        return round(1e9 / self.control_rate_hz)

    @property
    def learned_actions(self) -> dict[str, ActionField]:
        """The action fields a policy drives, in the order they are concatenated."""
        return {name: spec for name, spec in self.actions.items() if spec.learned}

    @property
    def action_size(self) -> int:
        """Length of the policy's action vector [A]."""
        return sum(spec.size for spec in self.learned_actions.values())

    @cached_property
    def action_low(self) -> np.ndarray:
        """[A] float32, lowest allowed command."""
        return self._joined('low')

    @cached_property
    def action_high(self) -> np.ndarray:
        """[A] float32, highest allowed command."""
        return self._joined('high')

    @cached_property
    def action_stop(self) -> np.ndarray:
        """[A] float32, the safe command."""
        return self._joined('stop')

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the contract's content."""
        content = json.dumps(self.to_dict(), sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data from which `from_dict` builds an equal contract."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def _joined(self, name: str) -> np.ndarray:
        parts = [getattr(spec, name) for spec in self.learned_actions.values()]
        return np.asarray([value for part in parts for value in part], np.float32)


def from_dict(data: dict[str, Any], where: str = 'contract') -> RobotContract:
    """Build and check a contract from plain data, for example out of a segment's attributes."""
    return _checked(data, where, None)


def load(robot: str | Path, robots_dir: Path | None = None) -> RobotContract:
    """Read a contract by robot name (`config/robots/<name>.yaml`) or by path.

    A contract may say `extends: <robot>`; mappings then merge key by key, lists replace.

    Raises:
        ContractError: names every wrong key, type, unit, rate and limit at once, with lines.
    """
    path = _find(robot, robots_dir)
    try:
        data, lines = config.load_yaml(path)
        seen = [path]
        while 'extends' in data:
            base = _find(data.pop('extends'), path.parent)
            if base in seen:
                raise ContractError(f'{path}: extends itself through {base}. Break the circle.')
            seen.append(base)
            parent, _ = config.load_yaml(base)
            data = _merge(parent, data)
    except ContractError:
        raise
    except config.ConfigError as error:
        raise ContractError(str(error)) from error
    return _checked(data, str(path), lines)


def robots_directory() -> Path:
    """Find `config/robots`: the source tree's, else the installed package's share."""
    for parent in Path(__file__).resolve().parents:
        if (parent / 'config' / 'robots').is_dir():
            return parent / 'config' / 'robots'
        share = parent / 'share' / 'robot_learning' / 'config' / 'robots'
        if share.is_dir():
            return share
    raise ContractError(
        'config/robots: not found beside the package. Reinstall robot_learning or pass a path.'
    )


def _find(robot: str | Path, robots_dir: Path | None) -> Path:
    path = Path(robot)
    if path.suffix in ('.yaml', '.yml'):
        return path if path.is_absolute() or robots_dir is None else robots_dir / path
    directory = robots_dir or robots_directory()
    path = directory / f'{robot}.yaml'
    if not path.is_file():
        known = ', '.join(sorted(file.stem for file in directory.glob('*.yaml'))) or 'none'
        raise ContractError(
            f'robot {str(robot)!r}: no contract in {directory}. Choose one of: {known}, '
            f'or pass the path of a YAML file.'
        )
    return path


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _checked(data: dict[str, Any], where: str, lines: Lines | None) -> RobotContract:
    try:
        contract = config.from_mapping(RobotContract, data, where, lines)
    except config.ConfigError as error:
        raise ContractError(str(error)) from error
    problems = [
        f'{config.place(where, path, lines)}: {text}' for path, text in _problems(contract)
    ]
    if problems:
        raise ContractError('\n'.join(problems))
    return contract


def _problems(contract: RobotContract) -> list[tuple[config.KeyPath, str]]:
    """List what pydantic cannot see: fields that contradict each other."""
    problems: list[tuple[config.KeyPath, str]] = []
    for name, spec in contract.observation.items():
        problems += [(('observation', name, *path), text) for path, text in _of_field(spec)]
    for name, action in contract.actions.items():
        problems += [(('actions', name, *path), text) for path, text in _of_action(action)]
        if action.derive_from and action.derive_from not in contract.observation:
            problems.append(
                (
                    ('actions', name, 'derive_from'),
                    f'found {action.derive_from!r}, expected an observation field. '
                    f'Choose one of: {", ".join(contract.observation)}.',
                )
            )
    for index, feature in enumerate(contract.features):
        for unknown in [f for f in feature.fields if f not in contract.observation]:
            problems.append(
                (
                    ('features', index, 'fields'),
                    f'found {unknown!r}, expected an observation field. '
                    f'Choose from: {", ".join(contract.observation)}.',
                )
            )
    return problems


def _of_field(spec: ObservationField) -> list[tuple[config.KeyPath, str]]:
    problems: list[tuple[config.KeyPath, str]] = []
    if spec.type not in PARTS:
        problems.append(
            (('type',), f'found {spec.type!r}, for which there is no converter. '
             f'Choose one of: {", ".join(sorted(PARTS))}.')
        )
    elif spec.part is not None and spec.part not in PARTS[spec.type]:
        problems.append(
            (('part',), f'found {spec.part!r}, expected a part of {spec.type}: '
             f'{", ".join(PARTS[spec.type])}. Choose one of them.')
        )
    return problems


def _of_action(action: ActionField) -> list[tuple[config.KeyPath, str]]:
    problems: list[tuple[config.KeyPath, str]] = []
    for key in ('unit', 'low', 'high', 'stop', 'max_rate', 'max_acceleration'):
        values = getattr(action, key)
        if values is not None and len(values) != action.size:
            problems.append(
                ((key,), f'holds {len(values)} values for {action.size} components '
                 f'{list(action.components)}. Give one value per component.')
            )
    if not problems:
        for i, component in enumerate(action.components):
            if not action.low[i] < action.high[i]:
                problems.append(
                    (('low',), f'{component}: low {action.low[i]} is not below high '
                     f'{action.high[i]}. Correct the limits.')
                )
            elif not action.low[i] <= action.stop[i] <= action.high[i]:
                problems.append(
                    (('stop',), f'{component}: stop {action.stop[i]} lies outside '
                     f'[{action.low[i]}, {action.high[i]}]. Choose a reachable stop command.')
                )
    return problems
