import pytest
from robot_learning.language import code_corpus
from robot_learning.language.code_agreement import agrees
from robot_learning.language.code_prompt import prompt

TWO = 'look for the green cube, then pick up the orange ball'
LOOK, PICK = 'sensors.look_for(object_type="cube", {})', 'gripper.pick_up(object_type="ball", {})'


@pytest.mark.parametrize(
    ('command', 'code'),
    [
        ('drive 2 metres', 'robot.move_forward(distance=2.0)'),
        ('go to x 1 y -0.7', 'robot.move_to(x=1.0, y=-0.7)'),
        ('turn left', 'robot.turn(angle=90.0)'),
        ('a square of one metre', 'for _ in range(4):\n    robot.move_forward(distance=1.0)'),
        ('can you find the tin can if you can', 'sensors.look_for(object_type="can")'),
        ('if you see a can take it', 'if sensors.detect(object_type="can"):\n    '
         'gripper.pick_up(object_type="can")'),
        ('fetch the red ball from paris', 'pass'),
    ],
)  # fmt: skip
def test_code_with_just_the_values_that_are_said_agrees(command, code):
    assert agrees(prompt(command), code)


@pytest.mark.parametrize(
    ('command', 'code'),
    [
        ('drive 2 metres then wait 3 seconds', 'robot.move_forward(distance=2.0)'),
        ('drive 2 metres', 'robot.move_forward(distance=2.0)\nrobot.wait(duration=2.0)'),
        ('drive 2 metres', 'robot.move_forward(distance=2.5)'),
        (TWO, f'{LOOK.format("color=" + chr(34) + "green" + chr(34))}\n'
         f'{PICK.format("color=" + chr(34) + "green" + chr(34))}'),
        ('pick up the cube', 'gripper.pick_up(object_type="cube", color="red")'),
    ],
)  # fmt: skip
def test_a_value_that_is_forgotten_made_up_or_written_twice_does_not(command, code):
    assert not agrees(prompt(command), code)


def test_the_commands_of_the_corpus_agree_with_their_code():
    made = list(code_corpus.examples(800, seed=3))
    assert [e for e in made if not agrees(prompt(e.input), e.output)] == []
