"""The process table config/system.yaml: which processes make up the system, with what.

Launch files and `./run up` both read it here, so that they start the same things. Imports no ROS.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from robot_learning import config, contract, plain_yaml
from robot_learning.commands import network
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError

Scalar = bool | int | float | str
Restart = Literal['never', 'on_failure', 'always']

LAUNCH_FILES = ('bringup', 'simulation', 'recording', 'training', 'inference', 'commands')

_CLOCK = '/clock'
_REFERENCE = re.compile(r'\$\((\w+)\)')
_PLAIN_TEXT = re.compile(r'[A-Za-z_/.][\w/.-]*')
_NAMESPACE = re.compile(r'/?([A-Za-z_]\w*)(/[A-Za-z_]\w*)*')


@dataclass(frozen=True, config=STRICT)
class Argument:
    """One choice a user makes. The type of `default` is the argument's type."""

    default: Scalar
    description: str
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True, config=STRICT)
class Translation:
    """A parameter whose value follows from an argument, case by case."""

    argument: str
    cases: dict[str, Scalar]


@dataclass(frozen=True, config=STRICT)
class ProcessEntry:
    """One process as the table describes it, before arguments are filled in."""

    executable: str
    description: str
    launch_files: tuple[str, ...]
    essential: bool  # The system stops when it ends for good.
    restart: Restart
    enabled_by: str | None = None  # Argument that switches it, true or not 'none'; None: on.
    parameter_file: str | None = None  # ROS parameter file beside the table; parameters win.
    nice: Annotated[int, Field(ge=0, le=19)] = 0  # How readily it yields the processor.
    parameters: dict[str, Scalar | Translation] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """List the arguments it depends on, each once, in order of appearance."""
        names = [self.enabled_by] if self.enabled_by else []
        for value in self.parameters.values():
            if isinstance(value, Translation):
                names.append(value.argument)
            elif isinstance(value, str):
                names += _REFERENCE.findall(value)
        return list(dict.fromkeys(names))


@dataclass(frozen=True, config=STRICT)
class ProcessTable:
    """All processes of the system and the arguments that shape them."""

    arguments: dict[str, Argument]
    processes: dict[str, ProcessEntry]
    # Launch file -> argument -> its default there, where that differs.
    defaults: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)  # Where the table was read from.

    def of_launch_file(self, name: str) -> dict[str, ProcessEntry]:
        """Return the processes that launch file `name` starts, in table order."""
        return {key: entry for key, entry in self.processes.items() if name in entry.launch_files}

    def arguments_of(self, launch_file: str) -> dict[str, Argument]:
        """Return the arguments that `launch_file` declares, in table order."""
        used = {'namespace', 'clock', 'network', 'peers'}
        for entry in self.of_launch_file(launch_file).values():
            used.update(entry.arguments())
        own = self.defaults.get(launch_file, {})
        return {
            name: replace(spec, default=own.get(name, spec.default))
            for name, spec in self.arguments.items()
            if name in used
        }


@dataclass(frozen=True, config=STRICT)
class ResolvedProcess:
    """One process with its arguments filled in, ready to be started."""

    name: str
    executable: str
    parameters: dict[str, Scalar]
    namespace: str
    essential: bool
    restart: Restart
    parameter_file: Path | None = None
    nice: int = 0
    clock: str = _CLOCK  # Where simulated time comes from.
    environment: dict[str, str] = field(default_factory=dict)  # On top of what is inherited.

    @property
    def remappings(self) -> dict[str, str]:
        """Topics that go by another name."""
        return {} if self.clock == _CLOCK else {_CLOCK: self.clock}

    def ros_arguments(self) -> list[str]:
        """Write what follows the executable on its command line."""
        arguments = ['--ros-args']
        if self.namespace:
            arguments += ['-r', f'__ns:={self.namespace}']
        for name, other in self.remappings.items():
            arguments += ['-r', f'{name}:={other}']
        if self.parameter_file is not None:
            arguments += ['--params-file', str(self.parameter_file)]
        for name, value in self.parameters.items():
            arguments += ['-p', f'{name}:={as_yaml(value)}']
        return arguments


def default_path() -> Path:
    """Return config/system.yaml of the source tree or of the installed package."""
    return contract.robots_directory().parent / 'system.yaml'


def load(path: Path | str | None = None) -> ProcessTable:
    """Read a process table.

    Raises:
        ConfigError: names every wrong key, unknown argument and unknown launch file at once.
    """
    path = Path(path) if path else default_path()
    mapping, lines = config.load_yaml(path)
    mapping = {**mapping, 'folder': path.resolve().parent}
    table = config.from_mapping(ProcessTable, mapping, str(path), lines)
    problems = [
        f'{config.place(str(path), place, lines)}: {text}' for place, text in _problems(table)
    ]
    if problems:
        raise ConfigError('\n'.join(problems))
    return table


def resolve(
    table: ProcessTable,
    launch_file: str,
    given: Mapping[str, Scalar] | None = None,
    only: tuple[str, ...] = (),
    overrides: Mapping[str, Mapping[str, Scalar]] | None = None,
) -> list[ResolvedProcess]:
    """Fill the arguments in and return what has to be started, in table order.

    Args:
        table: the process table.
        launch_file: which selection of processes, 'bringup' for all.
        given: values of arguments, as text or typed; the others keep their defaults.
        only: names of processes to start; empty starts all that are enabled.
        overrides: process name -> parameter -> value, on top of the table's.

    Raises:
        ConfigError: an argument, process or value that the table does not know.
    """
    entries = table.of_launch_file(launch_file)
    for name in (*only, *(overrides or {})):
        if name not in entries:
            raise ConfigError(
                f'process {name!r}: {launch_file} has none of that name. '
                f'Choose from: {", ".join(entries)}.'
            )
    values = argument_values(table, given or {}, launch_file)
    reach = network.environment(
        str(values.get('network', 'environment')), str(values.get('peers', ''))
    )
    resolved = []
    for name, entry in entries.items():
        is_enabled = not entry.enabled_by or values[entry.enabled_by] not in (False, 'none')
        if name in only or (not only and is_enabled):
            parameters = {key: _filled(value, values) for key, value in entry.parameters.items()}
            parameters.update((overrides or {}).get(name, {}))
            resolved.append(
                ResolvedProcess(
                    name=name,
                    executable=entry.executable,
                    parameters=parameters,
                    namespace=_namespace(str(values['namespace'])),
                    essential=entry.essential,
                    restart=entry.restart,
                    parameter_file=_beside(table, entry.parameter_file),
                    nice=entry.nice,
                    clock=_namespace(str(values.get('clock', _CLOCK)), 'clock') or _CLOCK,
                    environment=reach,
                )
            )
    return resolved


def check(processes: Sequence[ResolvedProcess]) -> None:
    """Read what processes will read, so that a mistake is named once and nothing is started.

    Raises:
        ContractError: a robot's contract is not there or wrong.
        ConfigError: there is no such phase, or its settings are wrong.
    """
    for robot in dict.fromkeys(p.parameters.get('robot') for p in processes):
        if robot:
            contract.load(str(robot))
    shipped = {file.stem for file in (contract.robots_directory().parent / 'phases').iterdir()}
    for process in processes:
        phase, path = process.parameters.get('phase'), process.parameters.get('config')
        if phase and (path or phase not in shipped):
            from robot_learning.phases import recipe  # Brings in torch.

            recipe.load(str(phase), str(path) if path else None)


def argument_values(
    table: ProcessTable, given: Mapping[str, Scalar], launch_file: str = 'bringup'
) -> dict[str, Scalar]:
    """Return every argument's value: the given ones checked and typed, else the defaults."""
    unknown = [name for name in given if name not in table.arguments]
    if unknown:
        raise ConfigError(
            f'argument {unknown[0]!r}: unknown. Choose from: {", ".join(table.arguments)}.'
        )
    values: dict[str, Scalar] = {}
    for name, spec in table.arguments.items():
        if name in given:
            values[name] = _typed(name, spec, given[name])
        else:
            own = table.defaults.get(launch_file, {})
            values[name] = own[name] if name in own else default_value(spec)
    return values


def default_value(spec: Argument) -> Scalar:
    """Return the default of an argument; `$(now)` becomes the local time."""
    if spec.default == '$(now)':
        return time.strftime('%Y%m%d-%H%M%S')
    return spec.default


def default_text(spec: Argument) -> str:
    """Say for people what an argument is when nobody gives it."""
    if spec.default == '$(now)':
        return 'the time of the start'
    return as_yaml(spec.default)


def as_text(value: Scalar) -> str:
    """Write a value as a launch argument: text stays as it is."""
    return value if isinstance(value, str) else as_yaml(value)


def as_yaml(value: Scalar) -> str:
    """Write a value so that ROS reads back the same type."""
    if isinstance(value, str):
        is_plain = _PLAIN_TEXT.fullmatch(value) and isinstance(yaml.safe_load(value), str)
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return str(yaml.safe_dump(value)).split('\n', 1)[0]


def parse_override(text: str) -> tuple[str, str, Scalar]:
    """Split `process.parameter=value` into its three parts; the value is read as YAML."""
    left, equals, right = text.partition('=')
    process, dot, parameter = left.partition('.')
    if not (equals and dot and process and parameter):
        raise ConfigError(
            f'--set {text!r}: expected PROCESS.PARAMETER=VALUE. '
            f'Write for example simulator.seed=3.'
        )
    return process, parameter, _from_text(right)


def _problems(table: ProcessTable) -> list[tuple[config.KeyPath, str]]:
    problems: list[tuple[config.KeyPath, str]] = []
    known = ', '.join(table.arguments)
    if 'namespace' not in table.arguments:
        problems.append((('arguments',), "lacks 'namespace'. Add it."))
    for launch_file, own in table.defaults.items():
        if launch_file not in LAUNCH_FILES:
            text = f'is no launch file. Choose from: {", ".join(LAUNCH_FILES)}.'
            problems.append((('defaults', launch_file), text))
        for argument, value in own.items():
            spec = table.arguments.get(argument)
            if spec is None:
                text = f'is no argument. Choose from: {known}.'
            elif type(value) is not type(spec.default):
                text = f'found {value!r}, expected a {type(spec.default).__name__}. Correct it.'
            else:
                continue
            problems.append((('defaults', launch_file, argument), text))
    for name, entry in table.processes.items():
        for argument in entry.arguments():
            if argument not in table.arguments:
                text = f'refers to argument {argument!r}. Choose from: {known}.'
                problems.append((('processes', name), text))
        for launch_file in entry.launch_files:
            if launch_file not in LAUNCH_FILES:
                text = f'found {launch_file!r}. Choose from: {", ".join(LAUNCH_FILES)}.'
                problems.append((('processes', name, 'launch_files'), text))
        file = _beside(table, entry.parameter_file)
        if file is not None and not file.is_file():
            text = f'{file} is not there. Make it or remove the key.'
            problems.append((('processes', name, 'parameter_file'), text))
    return problems


def _beside(table: ProcessTable, name: str | None) -> Path | None:
    return None if name is None else table.folder / name


def _filled(value: Scalar | Translation, values: Mapping[str, Scalar]) -> Scalar:
    if isinstance(value, Translation):
        return value.cases[str(values[value.argument])]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return values[whole.group(1)]
    return _REFERENCE.sub(lambda match: str(values[match.group(1)]), value)


def _typed(name: str, spec: Argument, value: Scalar) -> Scalar:
    if spec.choices and str(value) not in spec.choices:
        raise ConfigError(
            f'argument {name}: found {value!r}, expected one of {", ".join(spec.choices)}. '
            f'Choose one of them.'
        )
    if isinstance(spec.default, str):
        return str(value)
    parsed = _from_text(value) if isinstance(value, str) else value
    if isinstance(spec.default, float) and type(parsed) is int:
        parsed = float(parsed)
    if type(parsed) is not type(spec.default):
        raise ConfigError(
            f'argument {name}: found {value!r}, expected a {type(spec.default).__name__} '
            f'such as {as_yaml(spec.default)}. Correct the value.'
        )
    return parsed


def _namespace(text: str, argument: str = 'namespace') -> str:
    if text in ('', '/'):
        return ''
    if not _NAMESPACE.fullmatch(text):
        raise ConfigError(
            f'argument {argument}: found {text!r}, expected names of letters, digits and _ '
            f'separated by /. Write for example robot1.'
        )
    return text if text.startswith('/') else f'/{text}'


def _from_text(text: str) -> Scalar:
    """Read `true`, `3`, `0.5` as what they look like; anything else is the text itself."""
    try:
        value, _ = plain_yaml.parse(text, 'argument')
    except ConfigError:
        return text
    return value if isinstance(value, bool | int | float | str) else text
