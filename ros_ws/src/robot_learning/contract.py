"""The contract of one robot: which topic carries what, and what may be commanded.

One YAML file per robot drives recorder, store, buffer, policy, gate, simulator and export.
Its hash is stored with everything they make, so that data and models know their robot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import config, contract_checks
from robot_learning.config import STRICT, Lines
from robot_learning.contract_checks import Draft
from robot_learning.errors import ConfigError, ContractError

Qos = Literal['sensor', 'reliable', 'latched']
DType = Literal['float32', 'float64', 'uint8', 'int32', 'int64', 'bool']

T = TypeVar('T')
K = TypeVar('K')


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
    derive_from: str | None = None  # Field that stands for the action in bags without commands.

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
        """First 16 hex digits of the SHA-256 of what the contract promises.

        The description does not count, nor do keys left at their default, so that a later
        version of the suite, with more keys, still knows the data of this one.
        """
        content = _content(self)
        del content['description']
        text = json.dumps(content, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data from which `from_dict` builds an equal contract."""
        data: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return data

    def _joined(self, name: str) -> np.ndarray:
        parts = [getattr(spec, name) for spec in self.learned_actions.values()]
        return np.asarray([value for part in parts for value in part], np.float32)


def from_dict(data: dict[str, Any], where: str = 'contract') -> RobotContract:
    """Build and check a contract from plain data, for example out of a segment's attributes."""
    return _checked(data, where, None)


def load(robot: str | Path, robots_dir: Path | None = None) -> RobotContract:
    """Read a contract by robot name (`config/robots/<name>.yaml`) or by path.

    A contract may say `extends: <robot>`; mappings then merge key by key, lists replace, and
    `key: null` removes what the parent has.

    Raises:
        ContractError: names every wrong key, type, unit, rate and limit at once, with lines.
    """
    path = _find(robot, robots_dir)
    try:
        data, lines = _read(path, ())
    except ContractError:
        raise
    except ConfigError as error:
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


def _content(value: Any) -> Any:
    """Plain data without defaults; whole numbers as floats, so that 1 and 1.0 are one."""
    if dataclasses.is_dataclass(value):
        return {
            key.name: _content(getattr(value, key.name))
            for key in dataclasses.fields(value)
            if key.default is dataclasses.MISSING or getattr(value, key.name) != key.default
        }
    if isinstance(value, dict):
        return {key: _content(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_content(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _find(robot: str | Path, robots_dir: Path | None) -> Path:
    path = Path(robot)
    if path.suffix in ('.yaml', '.yml'):
        return path if path.is_absolute() or robots_dir is None else robots_dir / path
    shipped = robots_directory()
    directories = list(dict.fromkeys([robots_dir or shipped, shipped]))
    for directory in directories:
        if (directory / f'{robot}.yaml').is_file():
            return directory / f'{robot}.yaml'
    files = [file for directory in directories for file in directory.glob('*.yaml')]
    known = ', '.join(sorted({file.stem for file in files})) or 'none'
    raise ContractError(
        f'robot {str(robot)!r}: no contract in {" or ".join(map(str, directories))}. '
        f'Choose one of: {known}, or pass the path of a YAML file.'
    )


def _read(path: Path, children: tuple[Path, ...]) -> tuple[dict[str, Any], Lines]:
    """Read a contract merged over those it extends; every key keeps its own file and line."""
    if path.resolve() in children:
        names = ' -> '.join(child.name for child in (*children, path))
        raise ContractError(f'{path}: extends itself ({names}). Break the circle.')
    data, lines = config.load_yaml(path)
    if 'extends' not in data:
        return data, lines
    base = data.pop('extends')
    place = config.place(str(path), ('extends',), lines)
    if not isinstance(base, str):
        raise ContractError(
            f'{place}: found {base!r}, expected the name of a robot or of a YAML file. Correct it.'
        )
    try:
        base_path = _find(base, path.parent)
    except ContractError as error:
        raise ContractError(f'{place}: {error}') from error
    parent, parent_lines = _read(base_path, (*children, path.resolve()))
    replaced: set[config.KeyPath] = set()
    merged = _merge(parent, data, (), replaced)
    kept = {
        key: line
        for key, line in parent_lines.items()
        if not any(key[:depth] in replaced for depth in range(1, len(key) + 1))
    }
    return merged, {**kept, **lines}


def _merge(
    base: dict[str, Any],
    over: dict[str, Any],
    path: config.KeyPath,
    replaced: set[config.KeyPath],
) -> dict[str, Any]:
    """Merge `over` into a copy of `base`, and note the paths at which it took base's place."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value, (*path, key), replaced)
            continue
        replaced.add((*path, key))
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _checked(data: Any, where: str, lines: Lines | None) -> RobotContract:
    if not isinstance(data, dict):
        raise ContractError(
            f'{where}: found a {type(data).__name__}, expected a mapping. Pass what to_dict gives.'
        )
    contract, messages = None, []
    try:
        contract = config.from_mapping(RobotContract, data, where, lines)
        draft = Draft(
            contract.control_rate_hz,
            contract.observation,
            contract.actions,
            dict(enumerate(contract.features)),
            contract.task,
        )
    except ConfigError as error:
        messages.append(str(error))
        draft = _draft(data)
    messages += [
        f'{config.place(where, path, lines)}: {text}'
        for path, text in contract_checks.problems(draft)
    ]
    if contract is None or messages:
        raise ContractError('\n'.join(messages))
    return contract


def _draft(data: dict[str, Any]) -> Draft:
    """Keep the entries that have the right types, so that they can be checked all the same."""
    fields = _named(data.get('observation'))
    observation = _sound(ObservationField, fields)
    features = data.get('features')
    numbered = dict(enumerate(features)) if isinstance(features, (list, tuple)) else {}
    rate = data.get('control_rate_hz')
    return Draft(
        float(rate) if isinstance(rate, (int, float)) and 0 < rate <= 1000 else None,
        observation,
        _sound(ActionField, _named(data.get('actions'))),
        _sound(Feature, numbered),
        _sound(Task, {'task': data.get('task')}).get('task'),
        frozenset(fields.keys() - observation.keys()),
    )


def _named(section: Any) -> dict[str, Any]:
    entries = section.items() if isinstance(section, dict) else ()
    return {name: entry for name, entry in entries if isinstance(name, str)}


def _sound(cls: type[T], entries: dict[K, Any]) -> dict[K, T]:
    result: dict[K, T] = {}
    for key, entry in entries.items():
        with contextlib.suppress(ConfigError):
            if isinstance(entry, dict):
                result[key] = config.from_mapping(cls, entry, '')
    return result
