"""A serving process without ROS and threads: what happens in it happens at a tick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bad_versions
import numpy as np
import policies
from policies import CONTRACT
from robot_learning.model_store import ModelStore
from robot_learning.serving.canary import CanaryConfig
from robot_learning.serving.succession import Succession
from robot_learning.version_history import VersionHistory

FEATURES = np.zeros(policies.NUM_FEATURES, np.float32)
TICKS, HOLD = 10, 100
CALM = (0.2, 0.1)
KINDS = sorted(bad_versions.BadVersions(Path(), CONTRACT, [16, 8], CALM).load_kinds)


class Node:
    """One serving process: a succession, and the ticks of its control loop."""

    def __init__(
        self,
        root: Path,
        version: int = -1,
        ticks: int = TICKS,
        store: ModelStore | None = None,
    ):
        self.store = store or ModelStore(root)
        self.said: list[tuple[str, int]] = []
        self.succession = Succession(
            self.store,
            CONTRACT,
            'navigator',
            version,
            CanaryConfig(ticks=ticks),
            HOLD,
            lambda change: self.said.append((change.state, change.version)),
            VersionHistory(root, by='/policy'),
        )
        self.succession.begin()

    @property
    def version(self) -> int | None:
        served = self.succession.acting
        return None if served is None else served.version

    def drive(self, ticks: int = TICKS, features: Any = FEATURES) -> int | None:
        """Tick; look at the store every time."""
        for _ in range(ticks):
            self.succession.num_decisions += 1
            if self.succession.canary is not None:
                self.succession.canary.observe(features)
            self.succession.end_canary()
            self.succession.follow()
        return self.version

    def withdraw(self, reason: str = 'it circles') -> None:
        acting = self.succession.acting
        assert acting is not None, 'nothing serves'
        self.succession.withdraw(acting, reason)


def publish(root: Path, u: tuple[float, ...] = CALM) -> int:
    """Publish a sound version that always wants the same."""
    tensors = policies.constant_tensors(policies.spec_for(CONTRACT), u)
    return policies.publish(root, CONTRACT, tensors)
