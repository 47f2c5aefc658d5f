import pytest
from robot_learning.errors import CommandError
from robot_learning.language.commands import clauses, is_asking_for_help, is_stop, prepared


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('go to the red cube, then come back home', ['go to the red cube', 'come back home']),
        ('first turn left and then drive 1.5 metres', ['turn left', 'drive 1.5 metres']),
        ('pick up the ball and bring it home', ['pick up the ball', 'bring it home']),
        ('pick up the red and yellow ball', ['pick up the red and yellow ball']),
        ('drive forward. turn right. stop!', ['drive forward', 'turn right', 'stop']),
        ('turn left, drive 2 m, and stop', ['turn left', 'drive 2 m', 'stop']),
        ('find a can; after that, wait 5 seconds', ['find a can', 'wait 5 seconds']),
        ('go to the kitchen and finally report', ['go to the kitchen', 'report']),
        ('and then', []),
    ],
)
def test_commands_that_follow_each_other_are_split(text, expected):
    assert clauses(prepared(text)) == expected


def test_what_people_type_is_made_plain():
    assert prepared('  Don’t  go\nTHERE…  ') == "don't go there..."
    assert prepared('turn 90° left') == 'turn 90° left'


@pytest.mark.parametrize(
    'text',
    [
        *('stop', 'STOP!!!', 'stop stop stop', 'please stop', 'Stop it now, please', 'halt'),
        *(
            'hey robot, freeze',
            "don't move",
            'don’t move!',
            'whoa',
            'emergency stop',
            'cancel that',
        ),
        *('  stop  ', 'ok stop right now', 'stop moving at once', 'abort'),
    ],
)
def test_stop_and_its_kin_are_known_at_once(text):
    assert is_stop(text)


@pytest.mark.parametrize(
    'text',
    [
        *('stop at the kitchen', 'go to the bus stop', 'drive until I say stop', 'nonstop'),
        *('stopwatch', 'please', 'now', '', 'do not stop', 'bring it'),
    ],
)
def test_stopping_somewhere_is_another_thing(text):
    assert not is_stop(text)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'is empty'),
        (' \n ', 'is empty'),
        ('?!?', 'is empty'),
        ('x' * 501, 'has 501 characters'),
        ('noise ' * 2000, 'has 12000 characters'),
        ('gо home', 'plain English letters'),  # A Cyrillic o.
        ('geh nach Hause, schön', 'plain English letters'),
        ('行け', 'plain English letters'),
        ('go\x00home', 'control characters'),
        ('go\x1b[2Jhome', 'control characters'),
    ],
)
def test_what_is_no_command_is_refused_with_a_reason(text, reason):
    with pytest.raises(CommandError, match=reason):
        prepared(text)


def test_more_than_anybody_would_say_at_once_is_refused():
    with pytest.raises(CommandError, match='has 30 parts, expected at most 20'):
        clauses(' then '.join(['turn left'] * 30))


@pytest.mark.parametrize(
    ('noise', 'num_clauses'),
    [
        ('stop ' * 99 + 'x', 1),
        ('please ' * 71 + '!', 1),
        ('go, and then' * 41, 1),
        ('and ' * 125, 1),
    ],
)
def test_long_noise_is_no_stop_and_hangs_nobody(noise, num_clauses):
    """Patterns that go back and forth would take for ever here."""
    assert not is_stop(noise)
    assert len(clauses(prepared(noise))) == num_clauses


@pytest.mark.parametrize(
    'text', ['What can you do?', 'help', 'robot, help me please', 'tell me what you can do now']
)
def test_who_asks_for_help_asks_for_nothing_else(text):
    assert is_asking_for_help(text)


@pytest.mark.parametrize(
    'text', ['help me find the ball', 'what can you see', 'what do you see?', 'x' * 9999, '', '?']
)
def test_other_words_are_no_cry_for_help(text):
    assert not is_asking_for_help(text)
