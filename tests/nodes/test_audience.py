from robot_learning.nodes.audience import Audience


def test_it_is_settled_when_nobody_new_came_for_the_given_time():
    listeners = [0]
    audience = Audience(lambda: listeners[0], settle_s=1.0)
    assert not audience.is_settled(10.0)
    assert not audience.is_settled(10.9)
    listeners[0] = 2
    assert not audience.is_settled(11.1)
    assert not audience.is_settled(12.0)
    assert audience.is_settled(12.1)


def test_without_a_time_to_wait_it_is_settled_at_once():
    assert Audience(lambda: 0, settle_s=0.0).is_settled(5.0)
