import pytest
from robot_learning.language.kernel import ALL_ABILITIES
from robot_learning.language.motions import Command, View
from robot_learning.language.planner import Situation, Zone
from robot_learning.language.program import parse
from robot_learning.language.runs import PlanRun, ProgramRun
from robot_learning.language.senses import Order, Outcome, Senses
from robot_learning.language.skills import Step, verb

SITUATION = Situation(ALL_ABILITIES, bounds=Zone('the map', -2.0, -2.0, 2.0, 2.0))
NOWHERE = View(0.0, 0.0, 0.0, 0.0)
SENSES = Senses(NOWHERE, NOWHERE)
DRIVE = Order(Command(0.1, 0.0))


class Actor:
    """Takes two steps for every call and ends it as told."""

    def __init__(self, **outcomes):
        self.begun, self.canceled = [], 0
        self.outcomes = {name.replace('__', '.'): outcome for name, outcome in outcomes.items()}

    def begin(self, step):
        self.begun.append(step.text)
        self.step, self.left = step, 2

    def tick(self, senses):
        assert senses is SENSES
        self.left -= 1
        return DRIVE if self.left >= 0 else self.outcomes.get(self.step.verb.name, Outcome(True))

    def cancel(self):
        self.canceled += 1


def step(name, **arguments):
    wanted = verb(name)
    return Step(wanted, wanted.completed(arguments))


FORWARD, TURN = step('robot.move_forward', distance=1), step('robot.turn', angle=90)
LOOK = step('sensors.look_for', object_type='ball')


def live(run, most=50):
    orders = []
    while (order := run.tick(SENSES)) is not None:
        orders.append(order)
        assert len(orders) < most
    return orders


def test_a_plan_is_done_in_order_and_each_call_begins_once():
    actor = Actor()
    run = PlanRun([FORWARD, TURN], actor)
    assert run.tick(SENSES) == DRIVE
    assert (run.skill, run.number) == ('robot.move_forward', 0)
    orders = live(run)
    assert all(order == DRIVE for order in orders)
    assert actor.begun == [FORWARD.text, TURN.text] == run.done
    assert run.not_done == [] and run.skill == '' and run.number == 2
    assert run.tick(SENSES) is None  # Over is over.
    assert actor.begun == [FORWARD.text, TURN.text]


def test_the_first_failure_ends_a_plan_and_what_was_not_begun_says_why():
    actor = Actor(robot__move_forward=Outcome(False, 'the path is blocked'))
    run = PlanRun([TURN, FORWARD, LOOK], actor)
    live(run)
    assert run.done == [TURN.text]
    assert run.not_done == [
        f'{FORWARD.text}: the path is blocked',
        f'{LOOK.text}: not begun, the path is blocked',
    ]


def test_what_is_looked_for_and_not_found_is_not_done():
    said = 'I see no ball.'
    run = PlanRun([LOOK, TURN], Actor(sensors__look_for=Outcome(True, value=False, said=said)))
    live(run)
    assert run.said == [said]
    assert run.done == [] and run.not_done[0] == f'{LOOK.text}: {said}'


@pytest.mark.parametrize('num_ticks', [0, 1, 4])
def test_a_plan_that_is_canceled_lets_go_at_once(num_ticks):
    actor = Actor()
    run = PlanRun([FORWARD, TURN], actor)
    for _ in range(num_ticks):
        run.tick(SENSES)
    run.cancel('canceled')
    assert actor.canceled == (num_ticks > 0)
    assert len(run.done) + len(run.not_done) == 2
    assert all(text.endswith('canceled') for text in run.not_done)
    assert run.skill == ''


def test_a_program_goes_the_way_that_the_sensors_say():
    text = """
near = sensors.measure_distance()
if near < 0.5:
    robot.turn(angle=90)
else:
    robot.move_forward(distance=1)
robot.report(about="pose")
"""
    for distance, chosen in ((0.3, 'robot.turn'), (2.0, 'robot.move_forward')):
        actor = Actor(
            sensors__measure_distance=Outcome(True, value=distance),
            robot__report=Outcome(True, said='I am here.'),
        )
        run = ProgramRun(parse(text), actor, SITUATION)
        assert run.tick(SENSES) == DRIVE and run.skill == 'sensors.measure_distance'
        live(run)
        assert [called.split('(')[0] for called in run.done] == [
            'sensors.measure_distance',
            chosen,
            'robot.report',
        ]
        assert run.said == ['I am here.'] and run.not_done == [] and run.skill == ''


def test_a_call_that_fails_ends_the_program():
    run = ProgramRun(
        parse('robot.turn(angle=90)\nrobot.stop()'),
        Actor(robot__turn=Outcome(False, 'it is stuck')),
        SITUATION,
    )
    live(run)
    assert run.done == [] and run.not_done == [f'{TURN.text}: it is stuck']


def test_a_measured_value_beyond_an_arguments_range_ends_the_program_by_name():
    text = 'd = sensors.measure_distance()\nrobot.move_forward(distance=d)'
    actor = Actor(sensors__measure_distance=Outcome(True, value=float('inf')))
    run = ProgramRun(parse(text), actor, SITUATION)
    live(run)
    assert len(run.done) == 1
    assert 'line 2: robot.move_forward: distance is inf' in run.not_done[0]


def test_a_program_that_is_canceled_does_nothing_more():
    actor = Actor()
    run = ProgramRun(parse('robot.turn(angle=90)\nrobot.stop()'), actor, SITUATION)
    run.tick(SENSES)
    run.cancel('canceled')
    assert run.tick(SENSES) is None
    assert actor.begun == [TURN.text] and actor.canceled == 1
    assert run.not_done == [f'{TURN.text}: canceled']
    untouched = ProgramRun(parse('robot.stop()'), actor, SITUATION)
    untouched.cancel('canceled')
    assert untouched.tick(SENSES) is None and actor.canceled == 1


@pytest.mark.parametrize(
    ('call', 'reason'),
    [
        ('navigation.go_to_room(room="garage")', 'nobody has told me where garage is'),
        ('navigation.return_home()', 'nobody has told me where home is'),
        ('navigation.follow_path(path="circle")', 'nobody has shown me that path'),
        ('robot.move_to(x=50, y=0)', 'leads out of the map'),
    ],
)
def test_a_program_goes_nowhere_that_a_plan_would_not(call, reason):
    actor = Actor()
    run = ProgramRun(parse(f'robot.stop()\n{call}\nrobot.stop()'), actor, SITUATION)
    live(run)
    assert run.done == ['robot.stop()'] == actor.begun
    assert len(run.not_done) == 1 and reason in run.not_done[0]
    assert run.tick(SENSES) is None
