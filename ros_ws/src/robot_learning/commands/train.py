"""Trains phases: on stores, bags or HDF5 files, or acting in simulated environments."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_learning import contract as contracts
from robot_learning.commands.argument_types import number_above, whole_number
from robot_learning.commands.model_keys import ask_passphrase
from robot_learning.commands.own_loops import OWN_LOOPS, loop_for, modes
from robot_learning.commands.run_directory import write_json
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.train_kernel import MODE as KERNEL
from robot_learning.commands.train_kernel import train_kernel
from robot_learning.commands.train_metrics import shown
from robot_learning.commands.train_passes import add_arguments as add_passes_arguments
from robot_learning.commands.train_processes import Team, is_first, leave, refuse_team, team_of
from robot_learning.commands.train_report import write_report
from robot_learning.commands.train_tracking import TRACKERS, Tracking, begin
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, RobotLearningError
from robot_learning.features import FeatureBuilder
from robot_learning.model_signatures import read_signer
from robot_learning.model_store import ModelStore, parse_reference

if TYPE_CHECKING:
    from robot_learning.phases.data_parallel import Others
    from robot_learning.phases.recipe import Recipe
    from robot_learning.phases.trainer import Progress, Trainer
    from robot_learning.phases.training_session import Destination

_EXAMPLES = """examples:
  ./run train --mode supervised --data runs/latest/episodes --robot arena --name cloned
  ./run train --mode supervised --data intel.bag --robot pioneer --name driver --json fit.json
  ./run train --mode policy --algorithm sac --data runs/latest/episodes --name navigator
  ./run train --mode policy --algorithm ppo --env CartPole-v1 --num-steps 100000 --name cart
  ./run train --mode policy --algorithm sac --env dmc:cartpole_swingup --num-envs 1 --name swing
  ./run train --mode all --data runs/latest/episodes --name robot   # robot-world_model, ...
  ./run train --phase behavior_cloning --config my_phase.yaml --data demonstrations.hdf5
  ./run train --mode supervised --phase neural_policy --data synthetic   # or states.npy, a CSV
  ./run train --mode dreamer --data runs/latest/episodes --device cuda --processes 2
  ./run train --mode intent --name intent     # commands of a grammar; or --data commands.jsonl
  ./run train --mode kernel                   # intent, neural_policy, grounding and meta
  ./run train --mode code --name code         # robot-API code; or --data records.json
  ./run train --mode meta --data robots --name dynamics   # or pictures in classes, sinusoids
Either from recorded --data or in an --env. From data, whole episodes are held out, and only what
is measured on them is reported. ppo learns only from what it drives itself: --env or ./run up.
--mode all trains world_model, sac, dreamer and behavior_cloning in this order on the same data
and publishes each as NAME-PHASE. Environments are those of Gymnasium, dmc:TASK where dm_control is
installed, and the embedded world of a robot contract (arena). Ctrl-C saves and publishes; the same
command goes on from there: from data, in CartPole, Pendulum and MuJoCo's Gymnasium environments
bit by bit as if uninterrupted, in others with new episodes. To learn while a robot drives, see
./run up.

Of several --processes each draws batches of its own, as large as the settings say; they take each
step together by the mean of their gradients, and the first one measures and publishes. torchrun
starts them as well, also on several machines, each with the data:
  PYTHONPATH=ros_ws/src .venv/bin/torchrun --nproc-per-node 2 -m robot_learning.commands.train …"""

_PHASES = {'world_model': 'world_model', 'dreamer': 'dreamer', 'supervised': 'behavior_cloning'}
_ALL = ('world_model', 'sac', 'dreamer', 'behavior_cloning')


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    options.arguments = sys.argv[1:] if argv is None else argv
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    try:
        result = train(options)
        if options.json and is_first():
            write_json(options.json, result)
            print(f'written to {options.json}')
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train what the options name and return what was measured, as plain data."""
    from robot_learning.phases import cpu, recipe
    from robot_learning.phases.training_session import Destination

    if options.mode == KERNEL and options.phase is None:
        refuse_team(options, KERNEL)
        return train_kernel(options)
    own_loop = loop_for(options.mode, options.phase)
    if own_loop is not None:
        if not own_loop.takes_teams:
            refuse_team(options, own_loop.phases[0])
        return own_loop.train(options)
    phases = phase_names(options)
    if options.name is None:  # Who drives with `navigator` has no use for a world model.
        options.name = 'navigator-world_model' if phases == ['world_model'] else 'navigator'
    parse_reference(options.name)
    _check_source(options)
    cpu.settle()
    plans = [recipe.load(phase, options.config) for phase in phases]
    output = options.output or options.models.parent
    signer = None
    if options.sign_with is not None and is_first():
        signer = read_signer(options.sign_with, ask_passphrase(options.sign_with))
    destination = Destination(options.models, options.name, output, signer)
    if options.env is not None:
        from robot_learning.commands.train_environment import train_in_environments

        refuse_team(options, '--env')
        return train_in_environments(options, plans[0], destination)
    with team_of(options) as team:
        if options.mode != 'all' or options.phase is not None:
            return train_on_data(options, plans[0], destination, team)
        results = []
        for plan in plans:
            name = f'{options.name}-{plan.phase_name}'
            each = dataclasses.replace(destination, model_name=name)
            results.append(train_on_data(options, plan, each, team))
    return {'model': options.name, 'phases': results}


def train_on_data(
    options: argparse.Namespace, plan: Recipe, destination: Destination, team: Team
) -> dict[str, Any]:
    """Train one phase on recorded data and return what was measured.

    Of several processes all but the first only take part in that, and return nothing.
    """
    from robot_learning.phases.data_parallel import Others
    from robot_learning.phases.training_session import follow_offline, learn_offline
    from robot_learning.phases.validation import split_episodes
    from robot_learning.trajectory.datasets import read_episodes

    phase = plan.phase_name
    contract = contracts.load(options.robot)
    fields = (*FeatureBuilder(contract).fields, *plan.trainer.images)
    others = Others(team.place.size)
    with destination.claimed(phase) if team.place.is_first else contextlib.nullcontext():
        episodes = [e for path in options.data for e in read_episodes(path, contract, fields)]
        split = split_episodes(episodes, options.held_out, options.seed)
        source = ', '.join(str(path) for path in options.data)
        given = contract, plan, split, source
        if not team.place.is_first:
            with StopRequests() as requests:
                follow_offline(
                    *given, options.seed, team.device, team.place, lambda: requests.is_requested
                )
            return {}
        trainer = learn_offline(*given, destination, options.seed, team.device, others)
        curves = begin(options, destination, phase, plan.phase_config)
        progress = _run(trainer, options.num_updates, phase, curves, others)
    result = {
        'model': destination.model_name,
        'phase': phase,
        **dataclasses.asdict(progress),
        'seed': options.seed,
        'robot': contract.robot,
        'contract_hash': contract.hash,
        'data': [str(path) for path in options.data],
        'training': _size(split.training),
        'held_out': _size(split.held_out),
    }
    _print(result, options.models, contract)
    imagination = None
    if phase == 'world_model' and progress.version is not None:
        from robot_learning.commands.train_imagination import imagine

        version = ModelStore(destination.models).load(destination.model_name, progress.version)
        imagination = imagine(*version, contract, split.held_out)
    result['report'] = str(
        write_report(options, destination, plan.phase_config, result, imagination)
    )
    return result


def phase_names(options: argparse.Namespace) -> list[str]:
    """Return the registered phases that --phase, or --mode and --algorithm, mean, in order.

    Raises:
        ConfigError: there is none yet.
    """
    from robot_learning.phases.phase import PHASES

    if options.phase is not None:
        names = [str(options.phase)]
    elif options.mode == 'all':
        names = list(_ALL)
    else:
        names = [str(_PHASES.get(options.mode, options.algorithm))]
    missing = [name for name in names if name not in PHASES]
    if missing and options.phase is None:
        raise ConfigError(
            f'--mode {options.mode}: no phase of this installation is {missing[0]}. Choose '
            f'another mode, or name one with --phase: {", ".join(PHASES)}.'
        )
    for name in names:
        PHASES.get(name)
    return names


def _check_source(options: argparse.Namespace) -> None:
    """Refuse what does not go together.

    Raises:
        ConfigError: names it.
    """
    if (options.data is None) == (options.env is None):
        found = 'neither --data nor --env' if options.data is None else 'both --data and --env'
        raise ConfigError(
            f'train: found {found}, expected one of them. Name recordings to learn from with '
            f'--data PATH, or an environment to act in with --env NAME.'
        )
    if options.mode == 'all' and options.phase is None:
        for given, option in ((options.env, '--env'), (options.config, '--config')):
            if given is not None:
                raise ConfigError(
                    f'--mode all: found {option}, which means one phase, expected --data with '
                    f'the settings in config/phases. Train the phases one by one.'
                )


def _run(
    trainer: Trainer, num_updates: int, phase: str, curves: Tracking, others: Others
) -> Progress:
    from tqdm import tqdm

    with (
        StopRequests() as requests,
        tqdm(total=num_updates, desc=phase, unit='update', disable=not sys.stderr.isatty()) as bar,
    ):
        first: list[int] = []

        def on_progress(progress: Progress) -> None:
            first.append(progress.update)
            bar.update(progress.update - first[0] - bar.n)
            bar.set_postfix(shown(phase, progress.metrics))
            curves.write(progress)

        def should_stop() -> bool:
            return requests.is_requested or others.is_stop_requested

        try:
            return trainer.run(num_updates, should_stop, on_progress)
        finally:
            others.dismiss()
            curves.close()


def _size(episodes: Any) -> dict[str, int]:
    return {'episodes': len(episodes), 'steps': sum(len(episode) for episode in episodes)}


def _print(result: dict[str, Any], models: Path, contract: RobotContract) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f'{result["phase"]}, {result["update"]} updates')
    table.add_column('on held-out episodes')
    table.add_column('value', justify='right')
    for name, value in result['metrics'].items():
        if name.startswith('held_out/'):
            table.add_row(_label(name.removeprefix('held_out/'), contract), f'{value:.5g}')
    Console().print(table)
    print(
        f'{result["training"]["episodes"]} episodes to learn from, '
        f'{result["held_out"]["episodes"]} held out. '
        f'Version {result["version"]} of {result["model"]} is in {models}.'
    )


def _label(name: str, contract: RobotContract) -> str:
    """Write `action_1_rmse` with the component's name and unit."""
    actions = [
        f'{component} error, root mean square ({unit})'
        for spec in contract.learned_actions.values()
        for component, unit in zip(spec.components, spec.unit, strict=True)
    ]
    labels = {f'action_{index}_rmse': text for index, text in enumerate(actions)}
    return labels.get(name, name.replace('_', ' '))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run train',
        description='Train phases on recorded data or in simulated environments.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = ('all', 'world_model', 'policy', 'dreamer', 'supervised', *modes(), KERNEL)
    parser.add_argument('--mode', choices=choices, default='supervised', help='what to train')
    parser.add_argument('--phase', help='a phase by name, whatever --mode says')
    parser.add_argument(
        '--algorithm', choices=('ppo', 'sac'), default='sac', help='of --mode policy'
    )
    parser.add_argument(
        '--data',
        type=Path,
        action='append',
        metavar='PATH',
        help='learn from a store, HDF5 file or bag; may be repeated',
    )
    parser.add_argument(
        '--env', metavar='NAME', help='learn in it: CartPole-v1, dmc:cartpole_swingup, arena, ...'
    )
    parser.add_argument(
        '--num-envs', type=whole_number(1), default=8, metavar='N', help='side by side, of --env'
    )
    parser.add_argument(
        '--num-steps', type=whole_number(1), default=100_000, metavar='N', help='of --env, in all'
    )
    parser.add_argument('--robot', default='arena', help='contract: name or YAML file')
    parser.add_argument(
        '--name', help='model name in the model store (navigator, or navigator-world_model)'
    )
    parser.add_argument('--config', type=Path, metavar='FILE', help='settings of the phase')
    parser.add_argument('--seed', type=whole_number(0), default=0)
    parser.add_argument(
        '--num-updates', type=whole_number(1), default=5000, metavar='N', help='of --data'
    )
    parser.add_argument(
        '--device', default='cpu', metavar='NAME', help='cpu, cuda, cuda:1 or auto (cpu)'
    )
    parser.add_argument(
        '--processes',
        type=whole_number(1),
        default=1,
        metavar='N',
        help='that learn from --data together, with --device cuda one per GPU (1)',
    )
    parser.add_argument(
        '--held-out',
        type=number_above(0, below=1),
        default=0.1,
        metavar='SHARE',
        help='of the steps (0.1)',
    )
    parser.add_argument(
        '--models', type=Path, default=Path('runs/models'), metavar='DIR', help='model store'
    )
    parser.add_argument(
        '--output',
        type=Path,
        metavar='DIR',
        help='checkpoints, curves and reports (beside the models)',
    )
    parser.add_argument(
        '--sign-with', type=Path, metavar='FILE', help='private key that signs the versions'
    )
    parser.add_argument(
        '--track',
        choices=TRACKERS,
        default='tensorboard',
        help='where curves go; with wandb (Weights & Biases) to TensorBoard too',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the result there')
    add_passes_arguments(parser)
    for own_loop in OWN_LOOPS:
        if own_loop.add_arguments is not None:
            own_loop.add_arguments(parser)
    return parser


if __name__ == '__main__':
    exit_code = main()
    if not is_first():
        leave(exit_code)
    sys.exit(exit_code)
