"""Where a world model expects the robot to be if it goes on as it does now."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robot_learning.contract import RobotContract
from robot_learning.errors import ModelRefusedError
from robot_learning.features import FeatureBuilder
from robot_learning.models.world_model import WorldModel

Array = np.ndarray[Any, Any]


class ExpectedPath:
    """Follows a robot step by step and imagines what comes if its newest action is repeated.

    Args:
        model: of the robot's features alone, on the CPU.
        contract: of the robot.
        horizon: steps to imagine, H.
        num_context: newest steps that the model looks at.
        num_samples: futures that the path is the mean of.
        seed: of the futures.

    Raises:
        ModelRefusedError: the model sees pictures, or no pose, or another robot's features.
    """

    def __init__(
        self,
        model: WorldModel,
        contract: RobotContract,
        horizon: int = 15,
        num_context: int = 10,
        num_samples: int = 4,
        seed: int = 0,
    ):
        spec = next((f for f in contract.features if f.kind == 'pose'), None)
        size = FeatureBuilder(contract).size
        wanted = max((columns.stop for columns in model.blocks.values()), default=0)
        block = '' if spec is None else f'pose/{spec.fields[0]}'
        if model.images or spec is None or block not in model.blocks or wanted != size:
            raise ModelRefusedError(
                f'world model: sees {", ".join([*model.blocks, *model.images])} of {wanted} '
                f'features, expected the {size} of {contract.robot}, a pose among them and no '
                f'pictures. Name another version.'
            )
        self._model, self._block = model, block
        self._scale_m = float(spec.parameters.get('scale_m', 1.0))
        self._low, self._high = contract.action_low, contract.action_high
        self._horizon, self._num_samples = horizon, num_samples
        self._steps: deque[tuple[Array, Array]] = deque(maxlen=num_context)
        self._generator = torch.Generator().manual_seed(seed)

    def begin(self) -> None:
        """Forget what was: an episode begins."""
        self._steps.clear()

    def step(self, features: Array, action: Array) -> None:
        """Take one control step: what was seen [D] and what was done then [A], contract units."""
        scaled = (action - self._low) / (self._high - self._low) * 2 - 1
        self._steps.append((features.astype(np.float32), np.clip(scaled, -1, 1)))

    @torch.no_grad()
    def path(self) -> Array | None:
        """Return x and y [H, 2] in metres in the map; None: no two steps were seen yet."""
        if len(self._steps) < 2:
            return None
        seen = self._batch()
        last = seen['action'][:, -1:]  # [1, 1, A]
        actions = last.expand(-1, self._horizon, -1)
        total = torch.zeros(self._horizon, 2)
        for _ in range(self._num_samples):
            state = self._model.observe(seen, generator=self._generator).carry.state
            imagined = self._model.rssm.imagine_actions(state, actions, self._generator)
            pose = self._model.decode(self._model.features(imagined))[self._block][0]  # [H, 4]
            total += pose[:, :2]
        return (total / self._num_samples * self._scale_m).numpy()

    def _batch(self) -> Mapping[str, torch.Tensor]:
        observation, action = (np.stack(part)[None] for part in zip(*self._steps, strict=True))
        is_first = torch.arange(len(self._steps))[None] == 0
        return {
            'observation': torch.from_numpy(observation),
            'action': torch.from_numpy(action.astype(np.float32)),
            'is_first': is_first,
        }
