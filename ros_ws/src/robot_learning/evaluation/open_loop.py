"""What a world model expects to see when it only knows what the robot did, beside what it saw.

The model watches the first steps of a recorded stretch (the context) and then imagines the rest
from the recorded actions alone. Its rival, persistence, repeats the last observation it saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_learning.contract import RobotContract
from robot_learning.errors import NotEnoughDataError
from robot_learning.features import FeatureBuilder
from robot_learning.models.world_model import WorldModel
from robot_learning.trajectory.episode import Episode

Array = np.ndarray[Any, Any]

_GAP_PERIODS = 1.5  # As in the replay buffer: stamps further apart are not neighbours.
_NUM_RESAMPLES = 1000
_EXACT = 1e-9  # Errors below are rounding.


class OpenLoop(NamedTuple):
    """One stretch, seen and imagined; every array begins with time."""

    observed: dict[str, Array]  # [context + H, ...] per block and image; images in [0, 1].
    predicted: dict[str, Array]  # [H, ...], of the steps behind the context.
    reward: Array  # [H], received; NaN where unknown.
    predicted_reward: Array  # [H]
    num_context: int

    @property
    def horizon(self) -> int:
        """Steps that were imagined, H."""
        return len(self.reward)

    def persistence(self, name: str) -> Array:
        """Return what was seen last, repeated, [H, ...]."""
        return np.repeat(self.observed[name][self.num_context - 1][None], self.horizon, 0)


class OpenLoopError(NamedTuple):
    """Root mean square errors up to a horizon, over many stretches."""

    name: str  # Of the block, or `image/<field>`.
    horizon: int  # Steps behind the context that count.
    model: float
    persistence: float
    ratio: float  # Model to persistence: below 1 the model knows something. NaN: see below.
    interval: tuple[float, float]  # 95 %, of the ratio, by resampling stretches.
    # Where nothing changed persistence is exact, and no ratio says anything: it is NaN.


def stretches(
    episodes: Iterable[Episode],
    contract: RobotContract,
    images: Sequence[str],
    length: int,
) -> Iterator[dict[str, Array]]:
    """Yield arrays [length, ...] of consecutive steps that do not overlap.

    `observation` [length, D], `image/<field>`, `action` in [-1, 1], `reward`, `is_first`.
    """
    builder = FeatureBuilder(contract)
    span = contract.action_high - contract.action_low
    for episode in episodes:
        arrays = {'observation': builder.build_batch(episode.observations)}
        arrays |= {f'image/{name}': episode.observations[name] for name in images}
        action = (episode.action - contract.action_low) / span * 2 - 1
        arrays['action'] = np.clip(action, -1, 1).astype(np.float32)
        arrays['reward'] = episode.reward
        usable = np.isfinite(arrays['observation']).all(1) & np.isfinite(action).all(1)
        for name in images:
            usable &= episode.present[name]
        near = np.diff(episode.stamp_ns) <= _GAP_PERIODS * contract.control_period_ns
        start = 0
        for end in range(1, len(episode) + 1):
            if not usable[end - 1]:
                start = end
            elif end - start > 1 and not (near[end - 2] and not episode.is_first[end - 1]):
                start = end - 1
            if end - start == length:
                piece = {name: array[start:end] for name, array in arrays.items()}
                yield piece | {'is_first': np.arange(length) == 0}
                start = end


@torch.no_grad()
def open_loop(
    model: WorldModel,
    pieces: Sequence[Mapping[str, Array]],
    num_context: int,
    generator: torch.Generator,
    num_samples: int = 8,
) -> list[OpenLoop]:
    """Imagine each stretch behind its context; predictions are means over drawn futures.

    Args:
        model: on the CPU.
        pieces: as `stretches` yields them, all of one length.
        num_context: steps that the model sees, 1 or more.
        generator: of the states that are drawn.
        num_samples: futures per stretch.

    Raises:
        NotEnoughDataError: there is no stretch.
    """
    if not pieces:
        raise NotEnoughDataError(
            'open loop: no stretch of the data is long enough, or every one has gaps. Record '
            'longer, or ask for a shorter --horizon.'
        )
    batch = {
        name: torch.from_numpy(np.stack([piece[name] for piece in pieces])) for name in pieces[0]
    }
    seen = {name: tensor[:, :num_context] for name, tensor in batch.items()}
    actions = batch['action'][:, num_context - 1 : -1]  # [B, H, A]
    sums: dict[str, Tensor] = {}
    for _ in range(num_samples):
        last = model.observe(seen, generator=generator).carry.state
        features = model.features(model.rssm.imagine_actions(last, actions, generator))
        decoded = {**model.decode(features), 'reward': model.reward(features).mean()}
        for name, value in decoded.items():
            sums[name] = sums[name] + value if name in sums else value
    means = {name: (total / num_samples).numpy() for name, total in sums.items()}
    observed = _observed(model, batch)
    reward = means.pop('reward')
    return [
        OpenLoop(
            {name: array[i] for name, array in observed.items()},
            {name: array[i] for name, array in means.items()},
            batch['reward'][i, num_context:].numpy(),
            reward[i],
            num_context,
        )
        for i in range(len(pieces))
    ]


def errors(
    runs: Sequence[OpenLoop], horizons: Sequence[int] = (1, 5, 10, 25, 50), seed: int = 0
) -> list[OpenLoopError]:
    """Return the errors of every block and image at every horizon that the runs reach."""
    rng = np.random.default_rng(seed)
    resampled = rng.integers(0, len(runs), (_NUM_RESAMPLES, len(runs)))
    found = []
    for name in runs[0].predicted:
        squared = np.stack([_squared_errors(run, name) for run in runs])  # [N, 2, H]
        for horizon in sorted({min(h, runs[0].horizon) for h in horizons}):
            sums = squared[:, :, :horizon].mean(2)  # [N, 2]
            model, persistence = np.sqrt(sums.mean(0))
            draws = np.sqrt(sums[resampled].mean(1))  # [resamples, 2]
            low, high = np.quantile(_ratio(draws[:, 0], draws[:, 1]), (0.025, 0.975))
            ratio = _ratio(model, persistence)
            found.append(
                OpenLoopError(
                    name,
                    horizon,
                    float(model),
                    float(persistence),
                    float(ratio),
                    (float(low), float(high)),
                )
            )
    return found


def _ratio(model: Any, persistence: Any) -> Any:
    is_exact = persistence < _EXACT
    return np.where(is_exact, np.nan, model / np.where(is_exact, 1.0, persistence))


def _squared_errors(run: OpenLoop, name: str) -> Array:
    """Return [2, H], of the model and of persistence, each the mean over components."""
    truth = run.observed[name][run.num_context :]
    rivals = (run.predicted[name], run.persistence(name))
    return np.stack([np.square(r - truth).reshape(len(truth), -1).mean(1) for r in rivals])


def _observed(model: WorldModel, batch: Mapping[str, Tensor]) -> dict[str, Array]:
    vector = batch['observation'].numpy()
    seen = {name: vector[..., columns] for name, columns in model.blocks.items()}
    for name in model.images:
        seen[f'image/{name}'] = batch[f'image/{name}'].numpy().astype(np.float32) / 255
    return seen
