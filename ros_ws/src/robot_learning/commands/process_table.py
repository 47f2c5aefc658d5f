"""The process table config/system.yaml: which processes make up the system, with what.

Launch files and `./run up` both read it here, so that they start the same things. Imports no ROS.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from robot_learning import config, contract
from robot_learning.commands import network
from robot_learning.commands.argument_text import Scalar, absolute_name, as_yaml, from_text
from robot_learning.commands.resolved_process import CLOCK, ResolvedProcess, Restart
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError

LAUNCH_FILES = (
    'bringup',
    'simulation',
    'recording',
    'training',
    'inference',
    'commands',
    'gazebo',
    'robot',
)
# Arguments that every launch file has, as they are about each process.
_COMMON = (
    'namespace',
    'clock',
    'network',
    'peers',
    'log_level',
    'params_file',
    'use_respawn',
    'security',
    'keystore',
)

_EACH = 'each'
_REFERENCE = re.compile(r'\$\((\w+)\)')


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
    otherwise: Scalar | None = None  # In all other cases; None: there are none.


@dataclass(frozen=True, config=STRICT)
class ProcessEntry:
    """One process as the table describes it, before arguments are filled in."""

    executable: str
    description: str
    launch_files: tuple[str, ...]
    essential: bool  # The system stops when it ends for good.
    restart: Restart
    # Argument that switches it, true or not 'none', or ARGUMENT=VALUE; None: always on.
    enabled_by: str | None = None
    for_each: str | None = (
        None  # Argument with names; one process for each, $(each) stands for it.
    )
    parameter_file: str | None = None  # ROS parameter file beside the table; parameters win.
    nice: Annotated[int, Field(ge=0, le=19)] = 0  # How readily it yields the processor.
    parameters: dict[str, Scalar | Translation] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """List the arguments it depends on, each once, in order of appearance."""
        names = [self.enabled_by.partition('=')[0]] if self.enabled_by else []
        names += [self.for_each] if self.for_each else []
        for value in self.parameters.values():
            texts: list[Scalar | None] = []
            if isinstance(value, Translation):
                names.append(value.argument)
                texts += [*value.cases.values(), value.otherwise]
            else:
                texts.append(value)
            for text in texts:
                names += _REFERENCE.findall(text) if isinstance(text, str) else []
        return [name for name in dict.fromkeys(names) if name != _EACH]

    def is_enabled(self, values: Mapping[str, Scalar]) -> bool:
        """Tell whether the arguments switch it on."""
        if self.enabled_by is None:
            return True
        name, equals, value = self.enabled_by.partition('=')
        return str(values[name]) == value if equals else values[name] not in (False, 'none')


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
        used = set(_COMMON)
        for entry in self.of_launch_file(launch_file).values():
            used.update(entry.arguments())
        own = self.defaults.get(launch_file, {})
        return {
            name: replace(spec, default=own.get(name, spec.default))
            for name, spec in self.arguments.items()
            if name in used
        }


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
    shared = _shared(values)
    resolved = []
    for name, entry in entries.items():
        if name not in only if only else not entry.is_enabled(values):
            continue
        for each in _each(entry, values):
            filled = {**values, _EACH: each}
            parameters = {key: _filled(value, filled) for key, value in entry.parameters.items()}
            parameters.update((overrides or {}).get(name, {}))
            process = replace(
                shared,
                name=f'{name}_{each}' if each else name,
                executable=entry.executable,
                parameters=parameters,
                essential=entry.essential,
                restart=entry.restart if values.get('use_respawn', True) else 'never',
                parameter_file=_beside(table, entry.parameter_file),
                nice=entry.nice,
                node_name=f'{entry.executable.removesuffix("_node")}_{each}' if each else '',
            )
            resolved.append(_secured(process, values))
    return resolved


def _shared(values: Mapping[str, Scalar]) -> ResolvedProcess:
    """Return what all processes have alike.

    Raises:
        ConfigError: the user's parameter file is not there, or an argument is malformed.
    """
    users_file = Path(str(values['params_file'])) if values.get('params_file') else None
    if users_file is not None and not users_file.is_file():
        raise ConfigError(
            f'argument params_file: {users_file} is not there. Give a ROS parameter file, or '
            f'leave it empty.'
        )
    return ResolvedProcess(
        name='',
        executable='',
        parameters={},
        namespace=absolute_name(str(values['namespace'])),
        essential=False,
        restart='never',
        clock=absolute_name(str(values.get('clock', CLOCK)), 'clock') or CLOCK,
        environment=network.environment(
            str(values.get('network', 'environment')), str(values.get('peers', ''))
        ),
        users_file=users_file,
        log_level=str(values.get('log_level', '')),
    )


def _secured(process: ResolvedProcess, values: Mapping[str, Scalar]) -> ResolvedProcess:
    """Give a process its enclave, if security is asked for; see docs/real_robot.md.

    Raises:
        ConfigError: there is no keystore, or it lacks the enclave.
    """
    if not values.get('security', False):
        return process
    keystore = Path(str(values.get('keystore') or os.environ.get('ROS_SECURITY_KEYSTORE', '')))
    enclave = f'{process.namespace}/{process.name}'
    if not (keystore / 'enclaves' / enclave[1:] / 'key.pem').is_file():
        raise ConfigError(
            f'argument keystore: {keystore} has no key of the enclave {enclave}. Make it with: '
            f'ros2 security create_enclave {keystore} {enclave}'
        )
    environment = {
        **process.environment,
        'ROS_SECURITY_KEYSTORE': str(keystore),
        'ROS_SECURITY_ENABLE': 'true',
        'ROS_SECURITY_STRATEGY': 'Enforce',
    }
    return replace(process, enclave=enclave, environment=environment)


def _each(entry: ProcessEntry, values: Mapping[str, Scalar]) -> list[str]:
    if entry.for_each is None:
        return ['']
    return [name.strip() for name in str(values[entry.for_each]).split(',') if name.strip()]


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
            _check_phase(str(phase), str(path) if path else None)


def _check_phase(phase: str, path: str | None) -> None:
    from robot_learning.phases import nsca_config, recipe  # Bring in torch.

    if phase in nsca_config.NAMES:
        nsca_config.load(path or nsca_config.shipped('nsca_robot.yaml'))
    else:
        recipe.load(phase, path)


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
        chosen = value.cases.get(str(values[value.argument]), value.otherwise)
        assert chosen is not None, 'a translation covers every choice'
        return _filled(chosen, values)
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
    parsed = from_text(value) if isinstance(value, str) else value
    if isinstance(spec.default, float) and type(parsed) is int:
        parsed = float(parsed)
    if type(parsed) is not type(spec.default):
        raise ConfigError(
            f'argument {name}: found {value!r}, expected a {type(spec.default).__name__} '
            f'such as {as_yaml(spec.default)}. Correct the value.'
        )
    return parsed
