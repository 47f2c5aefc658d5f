import pytest
from robot_learning.commands.teleop_keys import HOLD_S, KeyDriver, KeyReader, Request, Speeds


@pytest.fixture
def driver():
    return KeyDriver(Speeds(forward=0.6, backward=0.2, turn=2.0))


def test_nothing_is_the_persons_until_a_driving_key(driver):
    for key in '+-x':
        driver.press(key, 0.0)
    assert not driver.is_driving
    driver.press('w', 0.0)
    assert driver.is_driving


def test_a_key_drives_while_it_is_held_and_then_the_robot_stands(driver):
    driver.press('w', 1.0)
    assert driver.wanted(1.0) == (pytest.approx(0.3), 0.0)  # Half of the full speed at first.
    driver.press('w', 1.0 + 0.9 * HOLD_S)  # It repeats.
    assert driver.wanted(1.0 + 1.8 * HOLD_S).linear == pytest.approx(0.3)
    assert driver.wanted(1.0 + 2.0 * HOLD_S) == (0.0, 0.0)
    assert driver.is_driving  # Standing still is a command too.


def test_backward_and_turns_have_limits_of_their_own(driver):
    for _ in range(20):
        driver.press('+', 0.0)
    driver.press('down', 0.0)
    driver.press('right', 0.0)
    assert driver.wanted(0.0) == (pytest.approx(-0.2), pytest.approx(-2.0))
    for _ in range(20):
        driver.press('-', 0.0)
    assert driver.wanted(0.0) == (pytest.approx(-0.02), pytest.approx(-0.2))


def test_a_curve_keeps_its_speed_though_only_the_turn_repeats(driver):
    driver.press('up', 0.0)
    for tenth in range(1, 20):
        driver.press('left', tenth / 10)
    assert driver.wanted(2.0) == (pytest.approx(0.3), pytest.approx(1.0))
    driver.press('up', 2.0)
    assert driver.wanted(1.9 + HOLD_S).angular == 0.0  # Straight on: the turn was let go.


def test_space_stops_at_once_and_h_hands_back(driver):
    driver.press('w', 0.0)
    driver.press(' ', 0.1)
    assert driver.wanted(0.1) == (0.0, 0.0)
    assert driver.is_driving
    driver.press('w', 0.2)
    driver.press('h', 0.3)
    assert driver.wanted(0.3) == (0.0, 0.0)
    assert not driver.is_driving


def test_the_emergency_stop_lets_go_of_the_keys(driver):
    driver.press('w', 0.0)
    assert driver.press('e', 0.1) is Request.EMERGENCY_STOP
    assert driver.wanted(0.1) == (0.0, 0.0)
    assert driver.press('R', 0.2) is Request.RELEASE
    assert driver.press('q', 0.3) is Request.QUIT
    assert driver.press('r', 0.3) is None  # A release takes the shift key.


@pytest.mark.parametrize('size', [1, 2, 3, 100])
def test_keys_are_found_however_the_bytes_arrive(size):
    data = b'w\x1b[A\x1bOD\x1b[Zs\x1b[C q'
    reader, keys = KeyReader(), []
    for start in range(0, len(data), size):
        keys += reader.keys(data[start : start + size])
    assert keys == ['w', 'up', 'left', 's', 'right', ' ', 'q']
