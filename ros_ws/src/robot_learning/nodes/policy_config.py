"""What the policy node can be told."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.model_files import ModelFileRules
from robot_learning.nodes.managed_node import ManagedConfig
from robot_learning.nodes.teleop_input import TeleopConfig
from robot_learning.serving.policy_server import ServingConfig


@dataclass(frozen=True, config=STRICT)
class PolicyNodeConfig(ServingConfig, ModelFileRules, ManagedConfig):
    """What the policy node drives, with what, and when it decides."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    models: Path = Path('runs/models')  # Directory of the model store.
    # lock_step: answers every `outcome` message; free_running: decides at the control rate.
    mode: Literal['lock_step', 'free_running'] = 'free_running'
    drive_at_start: bool = True  # False: only drives when run_policy is called.
    # free_running: arrival decides as soon as all fields are new, timer at fixed moments.
    decide_on: Literal['arrival', 'timer'] = 'arrival'
    keep_alive_s: Annotated[float, Field(gt=0, le=1)] = 0.05  # free_running: repeats commands.
    step_wait_s: Annotated[float, Field(ge=0, le=1)] = 0.02  # lock_step: for late sensor messages.
    status_rate_hz: PositiveFloat = 2.0  # Of gate_status.
    teleop: TeleopConfig = field(default_factory=TeleopConfig)
    # Stop while another node publishes on a command topic. Off: the other one's commands would
    # still arrive, and a node that was killed stays in the graph for some 20 s.
    stop_on_other_publishers: bool = False
    # Where a pressed emergency stop is remembered; unset: $ROS_HOME or ~/.ros.
    state_directory: Path | None = None
