import numpy as np
import pytest
from robot_learning.simulation.drivers import (
    GeodesicDriver,
    RandomDriver,
    StraightDriver,
    steer,
)
from robots import arena, make_world

NUM_LAYOUTS = 20


def success_rate(driver):
    world = make_world('goal')
    successes = 0
    for seed in range(NUM_LAYOUTS):
        world.reset(500 + seed)
        driver.begin(seed)
        while not world.ended:
            result = world.step({'base': driver.act(world)})
        successes += result.success
    return successes / NUM_LAYOUTS


@pytest.mark.parametrize(
    ('driver', 'low', 'high'),
    [
        (GeodesicDriver(arena()), 0.95, 1.0),
        (GeodesicDriver(arena(), noise=0.4), 0.9, 1.0),
        (StraightDriver(arena()), 0.05, 0.6),  # The task is worth learning.
        (RandomDriver(arena()), 0.0, 0.2),
    ],
    ids=['geodesic', 'noisy geodesic', 'straight', 'random'],
)
def test_drivers_are_the_yardsticks_they_claim_to_be(driver, low, high):
    assert low <= success_rate(driver) <= high


def test_steering_turns_first_and_drives_when_it_faces_the_target():
    assert steer(arena(), (0.0, 0.0, 0.0), (1.0, 0.0)) == pytest.approx([0.5, 0.0])
    behind = steer(arena(), (0.0, 0.0, 0.0), (-1.0, 0.1))
    assert behind == pytest.approx([0.0, 1.5])
    right = steer(arena(), (0.0, 0.0, 0.0), (1.0, -0.2))
    assert right[0] > 0.4
    assert right[1] < -0.3


def test_noise_keeps_the_limits_and_follows_its_seed():
    world = make_world('goal')
    world.reset(0)
    driver = GeodesicDriver(arena(), noise=2.0)
    runs = []
    for seed in (1, 1, 2):
        driver.begin(seed)
        runs.append(np.stack([driver.act(world) for _ in range(20)]))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    assert (runs[0] >= arena().action_low).all()
    assert (runs[0] <= arena().action_high).all()
