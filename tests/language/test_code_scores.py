import math

import pytest
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_scores import program_of, score, table

RECORDS = [
    Example('a', 'robot.turn(angle=90.0)', 'turning'),
    Example('b', 'robot.stop()', 'safety'),
    Example('c', 'robot.wait(duration=5.0)', 'safety'),
    Example('d', 'pass', 'out_of_scope'),
    Example('e', 'pass', 'out_of_scope'),
]
CODES = ['robot.turn(angle=90)', 'robot.stop()', 'robot.fly()', 'pass', 'robot.stop()']


def test_scores_count_what_they_say():
    assert score(RECORDS, CODES) == (5, 0.4, 0.6, pytest.approx(2 / 3))


def test_no_code_is_the_right_answer_to_what_cannot_be_done():
    assert score(RECORDS[3:4], ['']) == (1, 1.0, 1.0, pytest.approx(math.nan, nan_ok=True))


def test_code_that_is_refused_is_right_for_nothing():
    refused = [Example('f', 'robot.fly()', '')]
    assert score(refused, ['robot.fly()']) == (1, 1.0, 0.0, 0.0)


def test_programs_compare_by_what_they_do():
    assert program_of('robot.turn(angle=90)') == program_of('robot.turn(90.0)') != ()
    assert program_of('import os') is None and program_of('pass') == program_of('') == ()


def test_a_table_has_a_row_per_category_with_intervals():
    rows = table(RECORDS, CODES)
    assert list(rows) == ['all', 'turning', 'safety', 'out_of_scope']
    assert rows['safety'] == {
        'commands': 2, 'exact_match': 0.5, 'exact_match_interval': [0.0945, 0.9055],
        'program_match': 0.5, 'program_match_interval': [0.0945, 0.9055],
        'executable': 0.5, 'executable_interval': [0.0945, 0.9055],
    }  # fmt: skip
    assert 'executable' not in rows['out_of_scope']
