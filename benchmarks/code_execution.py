"""Generated code carried out in the embedded world: does the robot end where the command said?

Two hundred commands in phrases that the code model has not learned from, each in a layout of its
own, with noise, slip and latency. The reference is the program that the command was made of: it
is carried out in the same layout, from the same seed, by the same skills. Commands whose
reference cannot be done there (an object that nobody can see, a wall in the way) are counted and
left out. Of the others the generated program succeeds when nothing of it is left undone, robot
and objects end where the reference put them, and the robot says the same. Where the reference
ends with going, grasping or putting, ground truth is held against the command itself too.

    python benchmarks/code_execution.py [--quick] [--commands 200] [--models DIR --model NAME]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
for folder in ('ros_ws/src', 'tests/language'):
    sys.path.insert(0, str(ROOT / folder))

import torch  # noqa: E402
import yaml  # noqa: E402
from errand_world import ARENA, ErrandWorld  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning.language import code_corpus, interpreter  # noqa: E402
from robot_learning.language.code_corpus import Example  # noqa: E402
from robot_learning.language.code_sayings import OUT_OF_SCOPE  # noqa: E402
from robot_learning.language.kernel import ALL_ABILITIES  # noqa: E402
from robot_learning.language.planner import Situation  # noqa: E402
from robot_learning.language.program import Program, parse  # noqa: E402
from robot_learning.language.runs import ProgramRun  # noqa: E402
from robot_learning.language.skills import Step  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.proportions import wilson_interval  # noqa: E402
from robot_learning.serving.code import PRETRAINED, CodeGenerator  # noqa: E402
from tqdm import tqdm  # noqa: E402

NAME = 'code_execution'
SEED = 40_000  # Of the first layout.
PHRASES = 3000  # Far from the seeds of training and of the other benchmarks.
MAX_STEPS = 3_000  # Ten minutes of the world's time.
MOST_M, MOST_S = 1.5, 10.0  # Longer ways leave the arena; longer waits only cost time.
CLOSE_M, CLOSE_DEG, CLOSE_OBJECT_M = 0.05, 5.0, 0.1
_AT_M, _BEFORE_M, _PUT_M, _LIFTED_M = 0.35, 0.65, 0.6, 0.1
SETTINGS = yaml.safe_load((ROOT / 'config' / 'commander.yaml').read_text())
PARAMETERS = SETTINGS['/**']['ros__parameters']
PLACES = {name: tuple(xy) for name, xy in yaml.safe_load(PARAMETERS['places']).items()}
PATHS = {
    name: tuple(map(tuple, points)) for name, points in yaml.safe_load(PARAMETERS['paths']).items()
}


class End(NamedTuple):
    """What became of a program."""

    pose: tuple[float, float, float]
    objects: dict[str, tuple[float, float, float]]
    said: list[str]
    done: list[str]
    not_done: list[str]
    world_s: float


def carry_out(program: Program, seed: int) -> End:
    """Carry a program out in a layout."""
    world = ErrandWorld(seed, sees=True, places=PLACES, paths=PATHS)
    try:
        run = ProgramRun(
            program, world.performer, Situation(ALL_ABILITIES, PLACES, PATHS, bounds=ARENA)
        )
        for _ in range(MAX_STEPS):
            order = run.tick(world.senses())
            world.live(order)
            if order is None:
                break
        else:
            run.cancel('it took too long')
        physics = world.world.physics
        objects = {name: physics.object_position(name) for name in world.world.layout.objects}
        pose = tuple(map(float, world.pose))
        return End(pose, objects, run.said, run.done, run.not_done, world.time_s)  # type: ignore[arg-type]
    finally:
        world.world.close()


def is_as(end: End, reference: End) -> bool:
    """Whether a program did what the reference did."""
    turn = math.degrees(abs(math.remainder(end.pose[2] - reference.pose[2], math.tau)))
    moved = max(math.dist(end.objects[name], at) for name, at in reference.objects.items())
    return (
        not end.not_done
        and math.dist(end.pose[:2], reference.pose[:2]) < CLOSE_M
        and turn < CLOSE_DEG
        and moved < CLOSE_OBJECT_M
        and end.said == reference.said
    )


def is_done(call: str, end: End) -> bool:
    """Whether ground truth agrees with the last call, where that can be seen."""
    return _holds(next(interpreter.steps(parse(call))), end)


def _holds(step: Step, end: End) -> bool:
    here, given = end.pose[:2], step.arguments
    match step.verb.name:
        case 'navigation.go_to_room':
            return math.dist(here, PLACES[str(given['room'])]) < _AT_M
        case 'navigation.return_home':
            return math.dist(here, PLACES['home']) < _AT_M
        case 'robot.move_to':
            return math.dist(here, (float(given['x']), float(given['y']))) < _AT_M
        case 'navigation.go_to_object':
            return any(math.dist(here, at[:2]) < _BEFORE_M for at in _like(step, end))
        case 'gripper.pick_up':
            return any(at[2] > _LIFTED_M + 0.065 for at in _like(step, end))
        case 'gripper.drop_at':
            place = PLACES[str(given['room'])]
            return any(math.dist(at[:2], place) < _PUT_M for at in end.objects.values())
    return True


def _like(step: Step, end: End) -> list[tuple[float, float, float]]:
    kind, color = step.arguments['object_type'], step.arguments.get('color')
    return [
        at
        for name, at in end.objects.items()
        if name.startswith(f'{kind}_') and (color is None or name.endswith(f'_{color}'))
    ]


def fits(example: Example) -> bool:
    """Whether a command is for this robot, this arena, and not a matter of minutes."""
    if example.category == OUT_OF_SCOPE:
        return False
    text = example.output
    for line in text.replace('(', ',').replace(')', ',').split(','):
        name, _, value = line.strip().partition('=')
        if name == 'distance' and float(value) > MOST_M:
            return False
        if name == 'duration' and float(value) > MOST_S:
            return False
        if name in ('x', 'y') and abs(float(value)) > 2.0:
            return False
    if 'gripper.drop_at' in text and 'gripper.pick_up' not in text:
        return False  # Nothing is held at the start.
    return 'range(' not in text or int(text.split('range(')[1].split(')')[0]) <= 3


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', type=Path, default=PRETRAINED, help='model store')
    parser.add_argument('--model', default='code', help='name there')
    parser.add_argument('--commands', type=int, default=200)
    parser.add_argument('--quick', action='store_true', help='ten commands')
    options = parser.parse_args()
    torch.set_num_threads(1)
    tensors, manifest = ModelStore(options.models).load(options.model)
    generator = CodeGenerator(tensors, manifest)
    config, seed = manifest['config'], manifest['provenance']['seed']
    _, unknown = code_corpus.split(config['held_out_ratio'], seed)
    wanted = 10 if options.quick else options.commands
    runs: list[dict[str, Any]] = []
    left_out: list[str] = []
    begun_s = time.monotonic()
    bar = tqdm(total=wanted, unit='command', disable=not sys.stderr.isatty())
    for number, example in enumerate(code_corpus.examples(100_000, seed + PHRASES, unknown)):
        if len(runs) == wanted:
            break
        if not fits(example):
            continue
        reference = carry_out(parse(example.output), SEED + number)
        if reference.not_done or not reference.done:
            left_out.append(f'{example.input}: {"; ".join(reference.not_done)}')
            continue
        runs.append(_measured(generator, example, reference, SEED + number))
        bar.update()
        if not runs[-1]['success']:
            print(f'{example.input!r}\n  {runs[-1]["code"]!r}: {runs[-1]["why"]}', flush=True)
    bar.close()
    done = sum(run['success'] for run in runs)
    low, high = wilson_interval(done, len(runs))
    summary = {
        'commands': len(runs),
        'success': round(done / len(runs), 4),
        'low': round(low, 4),
        'high': round(high, 4),
        'exact_match': round(sum(run['is_exact'] for run in runs) / len(runs), 4),
        'reference_impossible': len(left_out),
        'truth_disagrees': sum(not run['truth'] for run in runs),
        'wall_s': round(time.monotonic() - begun_s, 1),
    }
    table([summary])
    results = {
        'model': f'{options.model}@{manifest["version"]}',
        'summary': summary,
        'runs': runs,
        'left_out': left_out,
    }
    print(f'written to {write(NAME, results, options.quick)}')
    return 0


def _measured(
    generator: CodeGenerator, example: Example, reference: End, seed: int
) -> dict[str, Any]:
    written = generator.generate(example.input)
    result: dict[str, Any] = {
        'text': example.input,
        'category': example.category,
        'reference': example.output,
        'code': written.code,
        'is_exact': written.code == example.output,
        'seed': seed,
        'truth': is_done(reference.done[-1], reference),
    }
    if written.program is None:
        return result | {'success': False, 'why': written.verdict}
    end = reference if result['is_exact'] else carry_out(written.program, seed)
    success = result['truth'] and is_as(end, reference)
    why = '; '.join(end.not_done) or ('' if success else 'it ends elsewhere')
    return result | {'success': success, 'why': why, 'world_s': round(end.world_s, 1)}


if __name__ == '__main__':
    sys.exit(main())
