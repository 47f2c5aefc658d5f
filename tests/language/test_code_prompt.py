import pytest
from robot_learning.errors import CommandError
from robot_learning.language.code_prompt import measured, number, prompt


@pytest.mark.parametrize(
    ('said', 'shown'),
    [
        ('drive two and a half metres', 'drive 2.5 m'),
        ('go half a metre then turn ninety degrees', 'go 0.5 m then turn 90.0 degrees'),
        ('three feet forward', '0.914 m forward'),
        ('120 cm at 0.5 m/s', '1.2 m at 0.5 m/s'),
        ('at 20 centimetres a second', 'at 0.2 m per second'),
        ('wait a minute', 'wait 60.0 s'),
        ('go to x -1.5 and y 2', 'go to x -1.5 and y 2'),
        ('turn twenty-five degrees twice', 'turn 25.0 degrees 2 times'),
        ('one hundred and twenty degrees', '120.0 degrees'),
        ('do nothing of that', 'do nothing of that'),
        ('', ''),
    ],
)
def test_measures_are_written_in_numbers_and_nothing_else_changes(said, shown):
    assert measured(said) == shown


def test_a_prompt_is_a_comment_of_one_line():
    assert prompt('Drive  forward\n 1 metre. ') == '# drive forward 1.0 m\n'


def test_numbers_are_short_and_never_minus_zero():
    assert [number(value) for value in (3, 0.91444, -0.0, 1e-9)] == ['3.0', '0.914', '0.0', '0.0']


@pytest.mark.parametrize('text', ['', '   ', '12 34', 'fahre vor für mich', 'go ' * 400])
def test_what_is_no_command_is_refused(text):
    with pytest.raises(CommandError, match='command: '):
        prompt(text)
