import pytest
from empty_room import EmptyRoom, Noisy, Straight, choices
from robot_learning.errors import ConfigError
from robot_learning.evaluation.evaluation_pool import EvaluationPool
from robot_learning.evaluation.navigation import evaluate_navigation


class Broken(Straight):
    def act(self, observation):
        raise ValueError('no idea where to go')


class Impossible(EmptyRoom):
    def __init__(self):
        raise ConfigError('room: has no floor. Lay one.')


def test_a_world_that_cannot_be_made_is_named():
    with (
        EvaluationPool(Impossible, num_workers=1) as pool,
        pytest.raises(ConfigError, match='room: has no floor'),
    ):
        pool.evaluate('straight', Straight, choices(2))


def test_workers_give_what_one_process_gives_in_the_same_order():
    seen = []
    with EvaluationPool(EmptyRoom, num_workers=2) as pool:
        noisy = pool.evaluate('noisy', Noisy, choices(7), seen.append)
        straight = pool.evaluate('straight', Straight, choices(3))
        with pytest.raises(ValueError, match='no idea where to go'):
            pool.evaluate('broken', Broken, choices(3))
    assert (
        noisy.to_dict() == evaluate_navigation('noisy', EmptyRoom(), Noisy, choices(7)).to_dict()
    )
    assert straight.success_rate == 1
    assert sorted(drive.layout.seed for drive in seen) == list(range(7))
