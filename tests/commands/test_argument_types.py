import argparse

import pytest
from robot_learning.commands.argument_types import number_above, whole_number


def test_numbers_within_the_limits_are_read():
    assert whole_number(1)('7') == 7
    assert whole_number(0, 9)('9') == 9
    assert number_above(0)('0.5') == 0.5
    assert number_above(0, 1)('1e-3') == 0.001


@pytest.mark.parametrize(
    ('read', 'text', 'message'),
    [
        (whole_number(1), 'x', "found 'x', expected a whole number from 1 up"),
        (whole_number(1), '0', 'found 0, expected a whole number from 1 up'),
        (whole_number(0, 9), '10', 'found 10, expected a whole number from 0 to 9'),
        (whole_number(0), '1.5', "found '1.5', expected a whole number"),
        (number_above(0), 'inf', 'found inf, expected a number above 0'),
        (number_above(0), 'nan', 'found nan, expected a number above 0'),
        (number_above(0, 1), '1', 'found 1, expected a number above 0 and below 1'),
        (number_above(0), 'x', "found 'x', expected a number above 0"),
    ],
)
def test_others_are_named_with_what_was_expected(read, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)
