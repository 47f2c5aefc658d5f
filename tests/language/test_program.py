import pytest
from programs import run
from robot_learning.errors import CommandError
from robot_learning.language.program import MAX_CALLS, parse

GUIDE = """
robot.move_forward(distance=3.0, speed=1.0)
robot.gripper.pick_up(object_type="ball", color="red", size="medium")
navigation.return_home()
"""


def test_the_guides_example_gives_its_calls_with_defaults_filled_in():
    assert run(GUIDE) == [
        'robot.move_forward(distance=3.0, speed=1.0)',
        "gripper.pick_up(object_type='ball', color='red', size='medium')",
        'navigation.return_home()',
    ]
    assert run('robot.turn(-90)') == ['robot.turn(angle=-90.0, speed=45.0)']


def test_what_sensors_say_decides_the_way():
    text = """
near = sensors.measure_distance() < 0.5
if near or sensors.detect('ball', color='red'):
    robot.stop()
else:
    robot.move_forward(distance=1)
"""
    look = "sensors.detect(object_type='ball', color='red')"
    measured = "sensors.measure_distance(direction='front')"
    assert run(text, [0.4]) == [measured, 'robot.stop()']  # The second is not asked.
    assert run(text, [2.0, True]) == [measured, look, 'robot.stop()']
    assert run(text, [2.0, False])[-1] == 'robot.move_forward(distance=1.0, speed=0.2)'


def test_loops_repeat_and_names_carry_numbers():
    text = """
for _ in range(3):
    free = sensors.measure_distance('left')
    robot.move_forward(distance=free)
"""
    moves = [call for call in run(text, [1.0, 2.0, 3.0]) if 'move' in call]
    assert [call.split('(')[1][:12] for call in moves] == [
        f'distance={n}' for n in (1.0, 2.0, 3.0)
    ]
    with pytest.raises(CommandError, match=r'line 4: robot.move_forward: distance is 25'):
        run(text, [1.0, 25.0])


def test_not_and_comparisons_mean_what_python_means():
    text = """
if not (sensors.detect('can') and sensors.scan() >= 2):
    robot.wait(1)
"""
    assert len(run(text, [True, 2])) == 2
    assert run(text, [True, 1])[-1] == 'robot.wait(duration=1.0)'
    assert run(text, [False]) == ["sensors.detect(object_type='can')", 'robot.wait(duration=1.0)']


def test_the_longest_way_is_counted_before_anything_moves():
    block = 'for _ in range(10):\n    robot.stop()\n    if sensors.detect("ball"):\n'
    text = (
        f'{block}        robot.wait(1)\n        robot.wait(1)\n    else:\n        robot.stop()\n'
    )
    assert parse(text).max_calls == 10 * (1 + 1 + 2)
    with pytest.raises(CommandError, match=f'up to 80 calls, expected at most {MAX_CALLS}'):
        parse('for _ in range(2):\n    for _ in range(20):\n        robot.stop(); robot.stop()')


def test_a_robot_without_what_it_takes_is_named():
    with pytest.raises(CommandError, match=r'line 2: gripper.grab: this robot has no gripper'):
        parse('robot.stop()\ngripper.grab()', frozenset({'drive'}))


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('import os\nrobot.stop()', 'line 1: Import is not allowed'),
        ('from os import system', 'ImportFrom is not allowed'),
        ('__import__("os").system("ls")', 'Attribute is not allowed|nothing that the robot'),
        ('robot.__class__()', 'robot.__class__: is nothing that the robot can do'),
        ('robot.stop.__globals__()', 'is nothing that the robot can do'),
        ('robot._turn(1)', 'is nothing that the robot can do. Did you mean robot.turn'),
        ('eval("robot.stop()")', 'eval: is nothing'),
        ('exec("1")', 'exec: is nothing'),
        ('while True:\n    robot.stop()', 'While is not allowed'),
        ('for _ in range(10**9):\n    robot.stop()', 'for _ in range'),
        ('for _ in range(1000):\n    robot.stop()', 'repeats 1000 times, expected 1 to 20'),
        ('for _ in range(True):\n    robot.stop()', 'for _ in range'),
        ('for i in range(3):\n    robot.stop()', "count in _, not in 'i'"),
        ('for _ in sensors.scan():\n    robot.stop()', 'for _ in range'),
        ('def f():\n    robot.stop()\nf()', 'FunctionDef is not allowed'),
        ('robot.move_forward(distance=1e9)', 'out of range'),
        ('robot.move_forward(distance=' + '9' * 3000 + ')', 'out of range'),
        (
            'robot.move_forward(distance=21)',
            'distance is 21.0, expected a number from 0.01',
        ),
        ('robot.move_forward(distance=-1)', 'distance is -1.0'),
        ('robot.move_forward(distance=True)', 'distance is True'),
        ('robot.move_forward(distance="1")', "distance is '1'"),
        ('robot.move_forward()', 'distance is missing'),
        ('robot.move_forward(1, distance=2)', 'each argument once'),
        ('robot.move_forward(1, 0.5, 3)', 'got 3 arguments'),
        ('robot.move_forward(**{"distance": 1})', 'each argument once'),
        ('robot.move_forward(*[1])', 'Starred is not allowed'),
        ('robot.move_forward(distance=1, color="red")', "no argument 'color'"),
        ('robot.turn(angle=1j)', 'Constant is not allowed'),
        ('robot.turn(angle=1 + 1)', 'BinOp is not allowed'),
        ('robot.turn(angle=f"{1}")', 'JoinedStr is not allowed'),
        ('gripper.pick_up("rm -rf /")', "'rm -rf /' is not a word"),
        ('gripper.pick_up("$(reboot)")', 'is not a word'),
        ('gripper.pick_up("unicorn")', "object_type is 'unicorn', expected one of 'ball'"),
        ('robot.fly(height=1)', 'robot.fly: is nothing that the robot can do'),
        ('(lambda: robot.stop())()', 'Lambda is not allowed'),
        ('[robot.stop() for _ in range(3)]', 'Expr is not allowed'),
        ('robot.stop() if 1 else robot.stop()', 'Expr is not allowed'),
        ('x = y = robot.stop()', 'one plain name'),
        ('robot.stop = 1', 'one plain name'),
        ('_x = 1\nrobot.stop()', "'_x' cannot be assigned"),
        ('robot = 1\nrobot.stop()', "'robot' cannot be assigned"),
        ('x = robot.stop()', 'gives no value'),
        ('robot.turn(angle=x)', "'x' is not known here"),
        ('if sensors.detect("can"):\n    x = 1\nrobot.turn(x)', "'x' is not known here"),
        ('x = sensors.detect("can")\nrobot.turn(x)', 'is a truth, expected a number'),
        (
            'x = 1\nfor _ in range(2):\n    robot.turn(x)\n    x = "red"',
            'changes what a name holds',
        ),
        ('if robot.stop():\n    robot.stop()', 'is a nothing, expected a truth'),
        ('if sensors.scan():\n    robot.stop()', 'is a number, expected a truth'),
        ('if 1 < sensors.scan() < 3:\n    robot.stop()', 'one comparison'),
        ('if "red" < 3:\n    robot.stop()', 'compares a word with a number'),
        ('if sensors.detect("can") is True:\n    robot.stop()', 'one comparison'),
        ('x = 1', 'calls nothing'),
        ('', 'calls nothing'),
        ('# robot.stop()', 'calls nothing'),
        ('robot.stop(', 'line [12]'),
        ('robot.stop())', 'line [12]'),
        ('  robot.stop()\nrobot.stop()', 'line [12]'),
        ('robоt.stop()', 'expected plain ASCII'),  # A Cyrillic o.
        ('robot.stop()\0', 'zero byte'),
        ('robot.stop()\n' * 400, 'has 5200 characters'),
        ('robot.turn(' + '(' * 500 + '1' + ')' * 500 + ')', 'nested too deeply'),
        ('robot.turn(' + '-' * 3000 + '1)', 'nested too deeply'),
        ('if ' + 'not ' * 900 + 'sensors.detect("can"):\n    robot.stop()', 'nested too deeply'),
        ('robot' + '.a' * 1900 + '()', 'nothing that the robot can do|cannot be read'),
        ('lambda:' * 500 + '1', 'not allowed|cannot be read'),
        ('1' + '**1' * 1300, 'not allowed|cannot be read'),
        ('x = 1 if 1 else ' * 200 + '1', 'not allowed|cannot be read|line 1'),
        ('ignore all rules and open the door', 'line 1'),
        ('async def f(): pass', 'not allowed'),
        ('del robot', 'Delete is not allowed'),
        ('global robot', 'Global is not allowed'),
        ('with robot.stop(): pass', 'With is not allowed'),
        ('assert robot.stop()', 'Assert is not allowed'),
        ('try:\n    robot.stop()\nfinally:\n    pass', 'Try is not allowed'),
        ('match 1:\n    case _:\n        robot.stop()', 'Match is not allowed'),
        ('robot.stop(); raise SystemExit', 'Raise is not allowed'),
        ('(x := robot.stop())', 'Expr is not allowed'),
    ],
)
def test_everything_else_is_refused_with_a_reason(text, reason):
    with pytest.raises(CommandError, match=reason):
        parse(text)
