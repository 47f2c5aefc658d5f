"""What one training step costs: the world model alone, and Dreamer with its imagination.

Sizes are DreamerV3's size1m on 16 windows of 64 steps with 6 actions, seen as a vector of 24
numbers or as a 64 x 64 picture. The naive world model does the same sums, but all of them inside
the loop over time, with distribution objects and an optimiser without fusion; it and ours take
turns, and the ratio is that of neighbouring steps, so that what else the machine does cancels.

    python benchmarks/dreamer_step.py [--quick] [--steps N] [--threads N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning.models.rssm import Carry, Observed, Rssm, State  # noqa: E402
from robot_learning.models.world_model import WorldModel, WorldModelConfig  # noqa: E402
from robot_learning.phases.dreamer import Dreamer, DreamerConfig  # noqa: E402
from robot_learning.phases.phase import Batch, PolicySpace  # noqa: E402
from robot_learning.phases.state import step  # noqa: E402
from robot_learning.phases.world_model import (  # noqa: E402
    WorldModelPhase,
    WorldModelPhaseConfig,
)
from robot_learning.phases.world_model_losses import (  # noqa: E402
    WorldModelLossConfig,
    world_model_loss,
)
from torch import Tensor  # noqa: E402
from torch.distributions import OneHotCategoricalStraightThrough  # noqa: E402
from torch.nn import functional as F  # noqa: E402

BATCH_SIZE, LENGTH, NUM_ACTIONS, NUM_FEATURES = 16, 64, 6, 24
GOALS_S = {'proprioception': 0.6, 'image': 1.6}  # Of the whole Dreamer step.
Update = Callable[[], Any]


class NaiveWorldModel(WorldModel):
    """The same model with everything inside the loop over time."""

    def observe(
        self, batch: Batch, carry: Carry | None = None, generator: torch.Generator | None = None
    ) -> Observed:
        """Equal `WorldModel.observe` but for the draws."""
        rssm, is_first = self.rssm, batch['is_first']
        carry = carry or Carry(
            rssm.initial(len(is_first)), torch.zeros(len(is_first), NUM_ACTIONS)
        )
        state, before = carry
        posteriors, priors = [], []
        for t in range(is_first.shape[1]):
            now = {name: tensor[:, t] for name, tensor in batch.items()}
            fresh = now['is_first'][:, None]
            before = torch.where(fresh, 0.0, before)
            stoch = torch.where(fresh, 0.0, state.stoch)
            deter = _next_deter(rssm, torch.where(fresh, 0.0, state.deter), stoch, before)
            priors.append(_distribution(rssm, rssm.prior_output(rssm.prior_trunk(deter))).logits)
            seen = rssm.posterior_embedding(self.encode(now))
            hidden = rssm.posterior_norm(seen + rssm.posterior_deter(deter))
            posterior = _distribution(rssm, rssm.posterior_output(F.silu(hidden)))
            state = State(deter, posterior.rsample().flatten(-2), posterior.logits)
            before = now['action']
            posteriors.append(state)
        stacked = State(*(torch.stack(part, 1) for part in zip(*posteriors, strict=True)))
        return Observed(stacked, torch.stack(priors, 1), Carry(state, before))


def _next_deter(rssm: Rssm, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
    core = rssm.recurrence
    hidden = torch.cat(
        [rssm.deter_input(deter), rssm.stoch_input(stoch), rssm.action_input(action)], -1
    )
    groups, size = core.state.weight.shape[:2]
    own = torch.einsum('bgi,gij->bgj', deter.view(-1, groups, size), core.state.weight)
    x = F.silu(core.norm(core.input(hidden) + own.flatten(1))).view(-1, groups, size)
    gates = torch.einsum('bgi,gij->bgj', x, core.gates.weight) + core.gates_bias[:, 0]
    reset, candidate, update = (gate.flatten(1) for gate in gates.chunk(3, -1))
    update = torch.sigmoid(update - 1)
    candidate = torch.tanh(torch.sigmoid(reset) * candidate)
    return update * candidate + (1 - update) * deter


def _distribution(rssm: Rssm, raw: Tensor) -> OneHotCategoricalStraightThrough:
    config = rssm.config
    probability = raw.view(-1, config.groups, config.classes).softmax(-1)
    share = config.uniform_share
    mixed = probability * (1 - share) + share / config.classes
    return OneHotCategoricalStraightThrough(probs=mixed, validate_args=False)


def space_of(case: str) -> PolicySpace:
    """Return what the robot of a case sees."""
    limits = -np.ones(NUM_ACTIONS, np.float32), np.ones(NUM_ACTIONS, np.float32)
    if case == 'image':
        return PolicySpace(0, *limits, {}, {'camera': (64, 64, 3)})
    return PolicySpace(NUM_FEATURES, *limits, {'vector/joints': slice(0, NUM_FEATURES)})


def windows(case: str) -> dict[str, Tensor]:
    """Return random windows."""
    generator = torch.Generator().manual_seed(0)
    shape = BATCH_SIZE, LENGTH
    is_first = torch.zeros(shape, dtype=torch.bool)
    is_first[:, 0] = True
    batch = {
        'observation': torch.randn(*shape, NUM_FEATURES, generator=generator),
        'action': torch.rand(*shape, NUM_ACTIONS, generator=generator) * 2 - 1,
        'reward': torch.randn(shape, generator=generator),
        'terminated': torch.zeros(shape, dtype=torch.bool),
        'truncated': torch.zeros(shape, dtype=torch.bool),
        'is_first': is_first,
    }
    if case == 'image':
        del batch['observation']
        batch['image/camera'] = torch.randint(
            0, 256, (*shape, 64, 64, 3), dtype=torch.uint8, generator=generator
        )
    return batch


def naive_update(case: str) -> Update:
    """Return the update of the naive world model."""
    space, batch = space_of(case), windows(case)
    model = NaiveWorldModel(
        space.input_size,
        NUM_ACTIONS,
        WorldModelConfig(size='size1m'),
        space.blocks,
        space.images,
        torch.Generator().manual_seed(0),
    )
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4, foreach=False)
    loss_config = WorldModelLossConfig()

    def update() -> None:
        step(optimizer, parameters, world_model_loss(model, batch, loss_config).total)

    return update


def updates(case: str) -> dict[str, Update]:
    """Return what is measured; the naive one stands first."""
    space, batch = space_of(case), windows(case)
    found = {'naive world model': naive_update(case)}
    for numeric in ('float32', 'bfloat16')[: 2 if case == 'image' else 1]:
        model = WorldModelConfig(size='size1m', numeric=numeric)
        phase = WorldModelPhase(WorldModelPhaseConfig(model=model), space, seed=0)
        found[f'world model, {numeric}'] = lambda phase=phase: phase.update(batch)
        dreamer = Dreamer(DreamerConfig(model=model), space, seed=0)
        found[f'Dreamer, {numeric}'] = lambda phase=dreamer: phase.update(batch)
    return found


def measure(case: str, num_steps: int) -> list[dict[str, Any]]:
    """Return one row per kind of update."""
    candidates = updates(case)
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    for update in candidates.values():  # First steps allocate.
        update()
    for _ in range(num_steps):
        for name, update in candidates.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            update()
            cpu[name].append(time.process_time() - began_cpu)
            wall[name].append(time.perf_counter() - began)
    return [_row(case, name, cpu, wall) for name in candidates]


def _row(
    case: str, name: str, cpu: Mapping[str, list[float]], wall: Mapping[str, list[float]]
) -> dict[str, Any]:
    naive = next(iter(cpu.values()))
    ratios = [ours / theirs for ours, theirs in zip(cpu[name], naive, strict=True)]
    is_goal = name.startswith('Dreamer')
    return {
        'seen as': case,
        'one update of': name,
        'CPU s, median': round(statistics.median(cpu[name]), 4),
        'CPU s, least': round(min(cpu[name]), 4),
        'wall s, median': round(statistics.median(wall[name]), 4),
        'of the naive one': round(statistics.median(ratios), 3),
        'goal, CPU s': GOALS_S[case] if is_goal else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='two steps of each')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--threads', type=int, default=1, help='of torch')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    num_steps = 2 if options.quick else options.steps
    rows = [row for case in GOALS_S for row in measure(case, num_steps)]
    table(rows)
    write(
        'dreamer_step',
        {'threads': options.threads, 'steps': num_steps, 'rows': rows},
        options.quick,
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
