"""The --env half of train: a phase that learns while it acts in simulated environments."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.train_metrics import shown
from robot_learning.commands.train_report import write_report
from robot_learning.commands.train_tracking import Tracking, begin

if TYPE_CHECKING:
    from robot_learning.phases.interaction import Interaction
    from robot_learning.phases.recipe import Recipe
    from robot_learning.phases.trainer import Progress
    from robot_learning.phases.training_session import Destination

_EVALUATION_EPISODES = 10
_EVALUATION_SEED = 1_000_000  # Beyond those of learning.


def train_in_environments(
    options: argparse.Namespace, plan: Recipe, destination: Destination
) -> dict[str, Any]:
    """Act and learn for `--num-steps` in all; return what came of it, as plain data."""
    from robot_learning.model_store import ModelStore
    from robot_learning.phases.acting import actor_for
    from robot_learning.phases.devices import device_named
    from robot_learning.phases.interaction import EnvironmentSource, Interaction, evaluate
    from robot_learning.phases.phase import PolicySpace
    from robot_learning.phases.publishing import Publisher
    from robot_learning.simulation import gym_environments
    from robot_learning.simulation.vector import VectorEnvironment

    name: str = options.env
    device = device_named(options.device)
    contract = gym_environments.contract_of(name)
    environments = VectorEnvironment(lambda: gym_environments.make(name), options.num_envs)
    try:
        space = PolicySpace(
            environments.observation_size,
            environments.action_low,
            environments.action_high,
            is_discrete=environments.is_discrete,
        )
        publisher = Publisher(
            ModelStore(destination.models, signer=destination.signer),
            options.name,
            plan.phase_name,
            options.seed,
            plan.trainer.keep_best,
            plan.trainer.keep_newest,
        )
        phase: Any = plan.phase_class(plan.phase_config, space, options.seed, device=device)
        source = EnvironmentSource(name, contract)
        interaction = Interaction(
            phase,
            space,
            environments,
            source,
            publisher,
            plan.trainer,
            options.seed,
            destination.checkpoints(plan.phase_name),
        )
        with destination.claimed(plan.phase_name):
            interaction.resume()
            curves = begin(options, destination, plan.phase_name, plan.phase_config)
            progress = _run(interaction, options.num_steps, plan.phase_name, curves)
        returns = evaluate(environments, actor_for(phase), _EVALUATION_EPISODES, _EVALUATION_SEED)
    finally:
        environments.close()
    mean = sum(returns) / len(returns)
    result = {
        'model': options.name,
        'phase': plan.phase_name,
        **dataclasses.asdict(progress),
        'seed': options.seed,
        'environment': name,
        'num_envs': options.num_envs,
        'robot': None if contract is None else contract.robot,
        'contract_hash': None if contract is None else contract.hash,
        'evaluation': {'return': mean, 'returns': returns},
    }
    print(
        f'{name}: return {mean:.1f} without exploration, mean of {len(returns)} episodes, after '
        f'{progress.environment_step} steps and {progress.wall_s:.0f} s.'
    )
    if progress.version is None:
        print('There was nothing to learn from yet, so no version was published: take more steps.')
    else:
        print(f'Version {progress.version} of {options.name} is in {options.models}.')
    result['report'] = str(write_report(options, destination, plan.phase_config, result))
    return result


def _run(interaction: Interaction, num_steps: int, phase: str, curves: Tracking) -> Progress:
    from tqdm import tqdm

    with (
        StopRequests() as requests,
        tqdm(total=num_steps, desc=phase, unit='step', disable=not sys.stderr.isatty()) as bar,
    ):

        def on_progress(progress: Progress) -> None:
            bar.update(progress.environment_step - bar.n)
            bar.set_postfix(shown(phase, progress.metrics))
            curves.write(progress)

        try:
            return interaction.run(num_steps, lambda: requests.is_requested, on_progress)
        finally:
            curves.close()
