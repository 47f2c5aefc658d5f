import pytest
from robot_learning.proportions import difference_interval, wilson_interval


def test_wilson_interval_gives_the_published_example():
    # Newcombe 1998, Stat. Med. 17:857, table I: 81 of 263 gives 0.2553 to 0.3662.
    low, high = wilson_interval(81, 263)
    assert low == pytest.approx(0.2553, abs=5e-5)
    assert high == pytest.approx(0.3662, abs=5e-5)


def test_wilson_interval_stays_inside_zero_and_one():
    assert wilson_interval(0, 10).low == 0
    assert wilson_interval(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    assert wilson_interval(10, 10).high == pytest.approx(1.0)
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(
    ('first', 'second', 'low', 'high'),
    [
        # Newcombe 1998, Stat. Med. 17:873, table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_difference_interval_gives_the_published_examples(first, second, low, high):
    found = difference_interval(first, second)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_nothing_is_known_without_trials():
    assert difference_interval((0, 0), (5, 9)) == (-1, 1)
    assert difference_interval((5, 9), (0, 0)) == (-1, 1)
