"""One process of the system, ready to be started, and how it is written on a command line."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from robot_learning.commands.argument_text import Scalar, as_yaml
from robot_learning.config import STRICT

Restart = Literal['never', 'on_failure', 'always']

CLOCK = '/clock'


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
    clock: str = CLOCK  # Where simulated time comes from.
    environment: dict[str, str] = field(default_factory=dict)  # On top of what is inherited.
    node_name: str = ''  # Of its node; empty: the executable's own.
    users_file: Path | None = None  # ROS parameter file of the user, which wins over all.
    log_level: str = ''  # debug, info, warn, error; empty: as ROS has it.
    enclave: str = ''  # Of SROS2; empty: no security.

    @property
    def remappings(self) -> dict[str, str]:
        """Topics that go by another name."""
        return {} if self.clock == CLOCK else {CLOCK: self.clock}

    def logging_and_security(self) -> list[str]:
        """Write the arguments that are neither names nor parameters."""
        arguments = ['--log-level', self.log_level] if self.log_level else []
        return [*arguments, '--enclave', self.enclave] if self.enclave else arguments

    def ros_arguments(self) -> list[str]:
        """Write what follows the executable on its command line."""
        arguments = ['--ros-args']
        if self.namespace:
            arguments += ['-r', f'__ns:={self.namespace}']
        if self.node_name:
            arguments += ['-r', f'__node:={self.node_name}']
        for name, other in self.remappings.items():
            arguments += ['-r', f'{name}:={other}']
        if self.parameter_file is not None:
            arguments += ['--params-file', str(self.parameter_file)]
        for name, value in self.parameters.items():
            arguments += ['-p', f'{name}:={as_yaml(value)}']
        if self.users_file is not None:
            arguments += ['--params-file', str(self.users_file)]
        return [*arguments, *self.logging_and_security()]
