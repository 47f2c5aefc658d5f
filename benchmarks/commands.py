"""Spoken-style commands of several steps, from words to what became of robot and objects.

Fifty commands, each in other random layouts of the embedded world, with noise, slip and latency.
Everything but the topics is what the commander node runs: the intent model that ships, kernel,
behaviour tree, skills, camera and lidar. What counts is the ground truth at the end: is robot or
object where the command said? A command that cannot be understood or ends early has failed.

    python benchmarks/commands.py [--quick] [--layouts 2] [--only TEXT] [--verbose]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
for folder in ('ros_ws/src', 'tests/language'):
    sys.path.insert(0, str(ROOT / folder))

import yaml  # noqa: E402
from errand_world import ErrandWorld  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning.language.kernel import ALL_ABILITIES, Kernel  # noqa: E402
from robot_learning.language.planner import Situation  # noqa: E402
from robot_learning.language.runs import PlanRun  # noqa: E402
from robot_learning.proportions import wilson_interval  # noqa: E402
from robot_learning.serving import intent as intent_models  # noqa: E402

NAME = 'commands'
SEED = 20_000  # Of the first layout; skills were improved on others, from 5000 on.
MAX_STEPS = 3_000  # Ten minutes of the world's time.
SETTINGS = yaml.safe_load((ROOT / 'config' / 'commander.yaml').read_text())
PARAMETERS = SETTINGS['/**']['ros__parameters']
PLACES = {name: tuple(xy) for name, xy in yaml.safe_load(PARAMETERS['places']).items()}
PATHS = {
    name: tuple(map(tuple, points)) for name, points in yaml.safe_load(PARAMETERS['paths']).items()
}
_AT_M = 0.35  # Robot to a place.
_PUT_M = 0.6  # An object to the place where it was put down, in front of the robot.
_BEFORE_M = 0.65  # Robot to the object that it went to.
_LIFTED_M = 0.1

Check = Callable[[ErrandWorld, tuple[float, float, float]], bool]


class Case(NamedTuple):
    """A command, and what must be so at its end."""

    text: str
    holds: tuple[Check, ...]


def at(place: str) -> Check:
    """The robot is at a place."""
    return lambda world, start: math.dist(world.pose[:2], PLACES[place]) < _AT_M


def before(name: str) -> Check:
    """The robot stands before an object."""
    return lambda world, start: math.dist(world.pose[:2], position(world, name)[:2]) < _BEFORE_M


def lifted(name: str) -> Check:
    """An object is in the gripper."""
    return lambda world, start: position(world, name)[2] > _LIFTED_M + 0.065


def put(name: str, place: str) -> Check:
    """An object lies at a place."""
    return lambda world, start: (
        math.dist(position(world, name)[:2], PLACES[place]) < _PUT_M
        and position(world, name)[2] < _LIFTED_M
    )


def down(name: str) -> Check:
    """An object lies on the floor."""
    return lambda world, start: position(world, name)[2] < _LIFTED_M


def turned(degrees: float) -> Check:
    """The robot looks so many degrees farther left than at the start."""

    def check(world: ErrandWorld, start: tuple[float, float, float]) -> bool:
        off = math.remainder(world.pose[2] - start[2] - math.radians(degrees), 2 * math.pi)
        return abs(math.degrees(off)) < 6

    return check


def near(x: float, y: float) -> Check:
    """The robot is at a point of the map."""
    return lambda world, start: math.dist(world.pose[:2], (x, y)) < _AT_M


def position(world: ErrandWorld, name: str) -> tuple[float, float, float]:
    """Where an object truly is."""
    return world.world.physics.object_position(name)


CASES = (
    Case('go to the kitchen and then come back home', (at('home'),)),
    Case('drive to the office, then turn left', (at('office'),)),
    Case('please go to the bedroom and after that to the hall', (at('hall'),)),
    Case('first go to the garage, then return home', (at('home'),)),
    Case('head to the hall, wait 2 seconds, then go to the kitchen', (at('kitchen'),)),
    Case('could you go home and then drive to the garage', (at('garage'),)),
    Case('turn left 90 degrees, then turn right 45 degrees', (turned(45),)),
    Case('turn around and then turn left', (turned(-90),)),
    Case(
        'rotate right by 30 degrees, wait three seconds, then rotate right 60 degrees',
        (turned(-90),),
    ),
    Case('spin left 180 degrees and then tell me your position', (turned(180),)),
    Case('go to point 0 0 and then turn left 90 degrees', (near(0, 0),)),
    Case('move to 1.8 , 0.2 and then report your battery', (near(1.8, 0.2),)),
    Case('navigate to the position -1.8 -0.2, wait 1 second, then go home', (at('home'),)),
    Case('go to the red cube and then come back home', (at('home'),)),
    Case('go home, then go to the blue can', (before('can_blue'),)),
    Case('look for the green ball and then go to it', (before('ball_green'),)),
    Case('find the yellow cube, then drive up to it', (before('cube_yellow'),)),
    Case('go to the kitchen, then look for the red can and go to it', (before('can_red'),)),
    Case('approach the blue ball and tell me what you see', (before('ball_blue'),)),
    Case('drive to the office and then approach the green cube', (before('cube_green'),)),
    Case('pick up the red cube and then go home', (lifted('cube_red'), at('home'))),
    Case('pick up the blue can and bring it to the kitchen', (put('can_blue', 'kitchen'),)),
    Case('grab the green ball, then drive to the hall', (lifted('ball_green'), at('hall'))),
    Case('fetch the yellow can and then wait two seconds', (put('can_yellow', 'home'),)),
    Case('bring the blue cube to the office', (put('cube_blue', 'office'),)),
    Case(
        'take the red ball to the garage and come back home',
        (put('ball_red', 'garage'), at('home')),
    ),
    Case('pick up the red can and put it down', (down('can_red'),)),
    Case('grab the yellow cube and put it in the bedroom', (put('cube_yellow', 'bedroom'),)),
    Case(
        'go to the hall, then bring the green cube to the kitchen', (put('cube_green', 'kitchen'),)
    ),
    Case('bring me the blue ball and then turn around', (put('ball_blue', 'home'),)),
    Case('pick up the green cube, wait 1 second, then drop it', (down('cube_green'),)),
    Case(
        'carry the yellow can to the hall, then go to the office',
        (put('can_yellow', 'hall'), at('office')),
    ),
    Case('get me the red cube, then return to base', (put('cube_red', 'home'), at('home'))),
    Case(
        'deliver the blue can to the bedroom and then go home',
        (put('can_blue', 'bedroom'), at('home')),
    ),
    Case('lift the green ball and then tell me where you are', (lifted('ball_green'),)),
    Case('go home and follow the square path', (near(0.6, 0.0),)),
    Case('go home, then drive the circle path and then go to the hall', (at('hall'),)),
    Case('follow the corridor and after that go to the bedroom', (at('bedroom'),)),
    Case(
        'wait one second, then go to the kitchen, then wait a second, then go to the garage',
        (at('garage'),),
    ),
    Case('report your position, then go home, then turn right', (at('home'),)),
    Case('go to the bedroom, turn left 45 degrees, and report what you see', (at('bedroom'),)),
    Case('find the blue cube and pick it up', (lifted('cube_blue'),)),
    Case('look for the red ball, pick it up and bring it home', (put('ball_red', 'home'),)),
    Case('search for the yellow can and then go to it and then return home', (at('home'),)),
    Case('go to the green ball, then go to the red cube', (before('cube_red'),)),
    Case(
        'pick up the blue ball and carry it to the office, then come home',
        (put('ball_blue', 'office'), at('home')),
    ),
    Case('go to the garage, then to the kitchen, then to the hall', (at('hall'),)),
    Case(
        'please bring the red can to the hall and then go to the bedroom',
        (put('can_red', 'hall'), at('bedroom')),
    ),
    Case('turn right, then go home, then turn left 90 degrees', (at('home'),)),
    Case(
        'fetch the green cube, then go to the garage, please',
        (put('cube_green', 'home'), at('garage')),
    ),
)


def carry_out(case: Case, model: intent_models.IntentModel, seed: int) -> dict[str, Any]:
    """Have one command carried out; return what became of it."""
    world = ErrandWorld(seed, sees=True, places=PLACES, paths=PATHS)
    try:
        start = world.pose
        kernel = Kernel(Situation(ALL_ABILITIES, PLACES, PATHS))
        decision = kernel.decide(model.understand(case.text))
        result = {'text': case.text, 'seed': seed, 'plan': [step.text for step in decision.steps]}
        if not decision.steps:
            return result | {'success': False, 'why': decision.refusal or decision.question}
        run = PlanRun(decision.steps, world.performer)
        for _ in range(MAX_STEPS):
            order = run.tick(world.senses())
            world.live(order)
            if order is None:
                break
        success = not run.not_done and all(check(world, start) for check in case.holds)
        why = '; '.join(run.not_done) or ('' if success else 'it is not so')
        touched = world.world.task.summary()['steps_touching']
        return result | {
            'success': success,
            'why': why,
            'world_s': world.time_s,
            'steps_touching': touched,
        }
    finally:
        world.world.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='one layout, every fifth command')
    parser.add_argument('--layouts', type=int, default=2, help='of every command')
    parser.add_argument('--only', default='', help='commands that hold this text')
    parser.add_argument('--verbose', action='store_true', help='show every command')
    options = parser.parse_args()
    cases = CASES[::5] if options.quick else CASES
    layouts = 1 if options.quick else options.layouts
    model = intent_models.load()
    runs = []
    for number, case in enumerate(cases):
        if options.only not in case.text:
            continue
        for layout in range(layouts):
            begun_s = time.monotonic()
            run = carry_out(case, model, SEED + 100 * number + layout)
            run['wall_s'] = time.monotonic() - begun_s
            runs.append(run)
            if options.verbose or not run['success']:
                state = 'done' if run['success'] else f'FAILED: {run["why"]}'
                print(f'{case.text!r}, seed {run["seed"]}: {state}', flush=True)
    done = sum(run['success'] for run in runs)
    low, high = wilson_interval(done, len(runs))
    summary = {
        'commands': len(runs),
        'success': done / len(runs),
        'low': low,
        'high': high,
        'world_s_median': sorted(run.get('world_s', 0.0) for run in runs)[len(runs) // 2],
        'wall_s': sum(run['wall_s'] for run in runs),
    }
    table([summary])
    if not options.only:
        print(f'written to {write(NAME, {"summary": summary, "runs": runs}, options.quick)}')


if __name__ == '__main__':
    main()
