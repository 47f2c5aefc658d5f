"""A model version that drives while something is collected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import ModelRefusedError
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore, parse_reference
from robot_learning.serving.version_checks import load_version

Array = np.ndarray[Any, Any]


class Driven(NamedTuple):
    """One answer."""

    action: Array  # [A] contract units.
    log_prob: float  # Nats; NaN without exploring.


class StoredDriver:
    """Answers the observations of an episode; passes the checks of serving first.

    Args:
        contract: of what is driven.
        models: model store.
        reference: `NAME` or `NAME@VERSION`; without a number the version that serves.
        explore: draw actions instead of taking the policy's mode.

    Raises:
        StoreError: there is no such version.
        ModelRefusedError: it fails a check, was refused, or was made for another contract.
    """

    def __init__(
        self, contract: RobotContract, models: Path, reference: str, explore: bool = False
    ):
        name, version = parse_reference(reference)
        store = ModelStore(models)
        if version is None:
            version = store.serving(name)
        if version is None:
            raise ModelRefusedError(
                f'{models}: has no good version of {name}. Train one, or name another --models.'
            )
        served = load_version(store, name, version, contract)
        self.name = f'{name}_{version}'
        self.version = version
        self.explore = explore
        self._policy = served.policy
        self.image_fields = tuple(served.policy.spec.image_shapes())
        self._features = FeatureBuilder(contract)
        self.fields = (*self._features.fields, *self.image_fields)
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Forget the last episode and start a new stream of chance."""
        self._policy.reset()
        self._rng = np.random.default_rng([seed, 103])

    def answer(self, observation: Mapping[str, Array]) -> Driven:
        """Decide on the next observation of the episode, fields by name."""
        size = self._policy.spec.action_size
        noise = self._rng.standard_normal(size) if self.explore else None
        images = {name: observation[name] for name in self.image_fields}
        action, log_prob = self._policy.act(self._features.build(observation), noise, images)
        return Driven(action, log_prob)
