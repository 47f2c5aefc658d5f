"""Small policies for the tests of serving, made without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.serving.policy import PolicySpec

Array = np.ndarray[Any, Any]

# A robot that stays as it is when those in config/robots are improved.
ROBOT: dict[str, Any] = {
    'robot': 'rover',
    'description': 'Differential drive for tests',
    'control_rate_hz': 5.0,
    'observation': {
        'scan': {
            'topic': 'scan',
            'type': 'sensor_msgs/msg/LaserScan',
            'shape': [36],
            'unit': 'm',
            'frame': 'base_scan',
            'rate_hz': 10.0,
            'max_age_s': 0.25,
            'angle_min': 0.0,
            'angle_max': 6.1,
            'range_min': 0.12,
            'range_max': 3.5,
        },
        'velocity': {
            'topic': 'odom',
            'type': 'nav_msgs/msg/Odometry',
            'part': 'twist2d',
            'shape': [2],
            'unit': ['m/s', 'rad/s'],
            'frame': 'odom',
            'rate_hz': 30.0,
            'max_age_s': 0.2,
        },
        'pose': {
            'topic': 'amcl_pose',
            'type': 'geometry_msgs/msg/PoseWithCovarianceStamped',
            'part': 'pose2d',
            'shape': [3],
            'unit': ['m', 'm', 'rad'],
            'frame': 'map',
            'rate_hz': 5.0,
            'max_age_s': 0.5,
            'qos': 'reliable',
        },
        'goal': {
            'topic': 'goal_pose',
            'type': 'geometry_msgs/msg/PoseStamped',
            'part': 'pose2d',
            'shape': [3],
            'unit': ['m', 'm', 'rad'],
            'frame': 'map',
            'qos': 'latched',
        },
    },
    'actions': {
        'base': {
            'topic': 'cmd_vel',
            'type': 'geometry_msgs/msg/TwistStamped',
            'components': ['linear.x', 'angular.z'],
            'unit': ['m/s', 'rad/s'],
            'low': [-0.1, -1.5],
            'high': [0.5, 1.5],
            'stop': [0.0, 0.0],
            'max_rate': [2.5, 15.0],
            'max_age_s': 0.2,
        },
    },
    'features': [
        {'kind': 'clearance', 'fields': ['scan'], 'size': 6},
        {'kind': 'goal_polar', 'fields': ['pose', 'goal']},
        {'kind': 'pose', 'fields': ['pose']},
        {'kind': 'vector', 'fields': ['velocity'], 'scale': [0.5, 1.5]},
    ],
}
CONTRACT = contracts.from_dict(ROBOT)
NUM_FEATURES = FeatureBuilder(CONTRACT).size


def spec_for(contract: RobotContract, **changes: Any) -> dict[str, Any]:
    """Return a manifest's policy block that fits the contract."""
    return {
        'kind': 'gaussian_tanh_mlp',
        'input_size': FeatureBuilder(contract).size,
        'action_size': contract.action_size,
        'hidden': [16, 8],
        'activation': 'relu',
        'layer_norm': False,
        'action_low': contract.action_low.tolist(),
        'action_high': contract.action_high.tolist(),
        'log_std_bounds': [-5, 2],
        **changes,
    }


def tensors_for(spec: dict[str, Any], seed: int = 0) -> dict[str, Array]:
    """Return random weights of the right shapes."""
    rng = np.random.default_rng(seed)
    shapes = PolicySpec(**spec).tensor_shapes()
    tensors = {
        name: rng.normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    tensors['input_std'] = np.abs(tensors['input_std']) + np.float32(0.5)
    return tensors


def constant_tensors(spec: dict[str, Any], u: tuple[float, ...]) -> dict[str, Array]:
    """Return weights whose mode is tanh(u), scaled to the limits, whatever is observed."""
    tensors = {name: np.zeros_like(value) for name, value in tensors_for(spec).items()}
    tensors['input_std'] += 1
    tensors['mean.bias'] += np.asarray(u, np.float32)
    return tensors


def manifest_for(
    contract: RobotContract, spec: dict[str, Any], /, **changes: Any
) -> dict[str, Any]:
    """Return what a trainer says about a version."""
    return {
        'policy': spec,
        'contract': contract.to_dict(),
        'contract_hash': contract.hash,
        'provenance': {'update': 120, 'environment_step': 60},
        **changes,
    }


def publish(
    root: Path,
    contract: RobotContract,
    tensors: dict[str, Array] | None = None,
    name: str = 'navigator',
    /,
    **changes: Any,
) -> int:
    """Publish a version, by default a sound one, and return its number."""
    spec = spec_for(contract)
    tensors = tensors_for(spec) if tensors is None else tensors
    return ModelStore(root).publish(name, tensors, manifest_for(contract, spec, **changes))
