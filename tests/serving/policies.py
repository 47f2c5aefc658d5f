"""Small policies for the tests of serving, made without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from robot_learning.contract import RobotContract
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.serving.policy import PolicySpec

Array = np.ndarray[Any, Any]


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


def manifest_for(contract: RobotContract, spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
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
    **changes: Any,
) -> int:
    """Publish a version, by default a sound one, and return its number."""
    spec = spec_for(contract)
    tensors = tensors_for(spec) if tensors is None else tensors
    return ModelStore(root).publish(name, tensors, manifest_for(contract, spec, **changes))
