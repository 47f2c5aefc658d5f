"""The part of `evaluate` that compares a version with what somebody did on recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console
from robot_learning.contract import RobotContract
from robot_learning.features import FeatureBuilder
from robot_learning.serving.policy import Policy

Array = np.ndarray[Any, Any]

# Asked about many steps at once.
_IN_ONE = ('gaussian_tanh_mlp', 'gaussian_clipped_mlp', 'gaussian_tanh_sequence')


class ServedAnswers:
    """A policy as it serves, asked step by step; it is told what was really carried out."""

    def __init__(self, policy: Policy, contract: RobotContract):
        self._policy = policy
        self._features = FeatureBuilder(contract)
        self._images = tuple(policy.spec.image_shapes())
        self.fields = (*self._features.fields, *self._images)

    def mode(self, observations: dict[str, Array], is_first: Array, action: Array) -> Array:
        """Return the actions without chance [N, A] in contract units."""
        features = self._features.build_batch(observations)
        answers = []
        for step in range(len(features)):
            if is_first[step]:
                self._policy.reset()
            images = {name: observations[name][step] for name in self._images}
            answers.append(self._policy.act(features[step], images=images).action)
            self._policy.executed(action[step])
        return np.stack(answers)

    def log_prob(self, observations: dict[str, Array], is_first: Array, action: Array) -> None:
        """Say that a policy which serves cannot tell how likely another's action was."""


def evaluate_offline(
    paths: Sequence[Path],
    tensors: Mapping[str, Array],
    manifest: dict[str, Any],
    policy: Policy,
    contract: RobotContract,
) -> dict[str, Any]:
    """Print the errors on recorded actions and return them as plain data.

    Args:
        paths: stores, HDF5 files or bags.
        tensors: of the version.
        manifest: of the version.
        policy: the version as it serves.
        contract: of the robot.

    Raises:
        NotEnoughDataError: not one step can be compared.
    """
    # Torch takes seconds to import; who only drives need not wait for it.
    from robot_learning.evaluation.offline import BatchPolicy, offline_error
    from robot_learning.evaluation.offline_policy import OfflinePolicy
    from robot_learning.trajectory.datasets import read_episodes

    answers: BatchPolicy
    if (manifest.get('policy') or {}).get('kind', _IN_ONE[0]) in _IN_ONE:
        at_once = OfflinePolicy(tensors, manifest, contract)
        answers, fields = at_once, at_once.fields
    else:
        stepwise = ServedAnswers(policy, contract)
        answers, fields = stepwise, stepwise.fields
    episodes = [e for path in paths for e in read_episodes(path, contract, fields)]
    result = offline_error(answers, fields, episodes)
    units = [unit for spec in contract.learned_actions.values() for unit in spec.unit]
    names = [c for spec in contract.learned_actions.values() for c in spec.components]
    title = f'{result.num_steps} steps of {result.num_episodes} episodes, mean absolute error'
    table = Table(box=box.SIMPLE, title=title)
    for column in ('component', 'policy', '95 %', 'mean', 'persistence'):
        table.add_column(column, justify='left' if column == 'component' else 'right')
    rows = zip(
        names,
        units,
        result.mean_absolute_error,
        result.error_interval_95,
        result.mean_error,
        result.persistence_error,
        strict=True,
    )
    for component, unit, error, (low, high), *others in rows:
        interval = f'{low:.4f}–{high:.4f}'
        rivals = (f'{other:.4f}' for other in others)
        table.add_row(f'{component} ({unit})', f'{error:.4f}', interval, *rivals)
    console().print(table)
    if result.log_likelihood is not None:
        print(f'log-likelihood {result.log_likelihood:.3f} nats per step')
    return result.to_dict() | {'data': [str(path) for path in paths]}
