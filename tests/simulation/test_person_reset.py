import pytest
from robot_learning.errors import ProcessError
from robot_learning.simulation.person_reset import PersonReset


class Robot:
    """Keeps what happens to it; fails where it is told to."""

    def __init__(self):
        self.calls, self.failing = [], set()

    def _called(self, name):
        self.calls.append(name)
        if name in self.failing:
            raise ProcessError(f'{name} is not possible')

    def hold(self, is_held):
        self._called('hold' if is_held else 'hand back')

    def end_episode(self):
        self._called('end')

    def begin_episode(self):
        self._called('begin')
        return 7


class Person:
    """Sees what is asked, and says that it is done after some seconds."""

    def __init__(self, robot, ready_after_s=3.0):
        self.robot, self.asked, self.now_s, self.ready_s = robot, [], 0.0, ready_after_s
        self.reset = PersonReset(robot, self.asked.append, 10.0, lambda: self.now_s, self.wait)

    def wait(self, seconds):
        self.now_s += seconds
        if self.now_s >= self.ready_s:
            assert self.reset.ready() == ''


@pytest.fixture
def robot():
    return Robot()


def test_the_robot_is_held_until_the_person_says_that_it_is_done(robot):
    person = Person(robot)
    report = person.reset.run('Put it back.')
    assert (report.episode, report.problem) == (7, '')
    assert robot.calls == ['hold', 'end', 'begin', 'hand back']
    assert person.asked == ['Put it back.', ''] and 3.0 <= person.now_s < 3.2


def test_a_person_who_does_not_come_leaves_it_held(robot):
    person = Person(robot, ready_after_s=99.0)
    report = person.reset.run('Put it back.')
    assert report.episode == -1 and 'nobody said within 10 s' in report.problem
    assert robot.calls == ['hold', 'end'] and person.asked[-1] == ''
    assert not person.reset.is_waiting


def test_a_word_that_nobody_asked_for_counts_for_nothing(robot):
    person = Person(robot, ready_after_s=99.0)
    assert 'nobody was asked' in person.reset.ready()
    assert person.reset.run('Put it back.').problem


@pytest.mark.parametrize('call', ['hold', 'end', 'begin'])
def test_whatever_fails_it_does_not_drive(robot, call):
    robot.failing = {call}
    report = Person(robot).reset.run('Put it back.')
    assert f'{call} is not possible' in report.problem
    assert 'hand back' not in robot.calls


def test_the_end_of_the_process_ends_the_waiting(robot):
    person = Person(robot, ready_after_s=99.0)
    person.wait = lambda seconds: person.reset.give_up()
    reset = PersonReset(robot, person.asked.append, 10.0, lambda: 0.0, lambda _: reset.give_up())
    assert reset.run('Put it back.').episode == -1
