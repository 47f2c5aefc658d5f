import numpy as np
import pytest
from robot_learning.errors import SimulationError
from robot_learning.simulation import GRAPHICS_BACKEND

pytest.importorskip('dm_control')
from robot_learning.simulation.dmc_trajectories import DmcTask

DRAWS = pytest.mark.skipif(GRAPHICS_BACKEND == 'disable', reason='this machine cannot draw')


def still(observation):
    return np.zeros(1)


@pytest.fixture(scope='module')
def cartpole():
    task = DmcTask('cartpole_swingup', image_size=0, action_repeat=50)
    yield task
    task.close()


@pytest.fixture(scope='module')
def drawn():
    task = DmcTask('cartpole_swingup', image_size=64, action_repeat=100)
    yield task
    task.close()


def test_an_episode_of_n_actions_has_n_and_one_steps(cartpole):
    found = cartpole.trajectory(still, seed=0)
    count = 1000 // 50 + 1  # The suite's limit is 1000 simulation steps.
    assert {len(values) for values in found.observations.values()} == {count}
    assert {len(part) for part in found[1:]} == {count}
    assert found.observations['position'].dtype == np.float32
    assert found.reward[0] == 0


def test_time_that_is_up_truncates_and_nothing_terminates(cartpole):
    found = cartpole.trajectory(still, seed=0)
    assert found.truncated.tolist() == [False] * 20 + [True]
    assert not found.terminated.any()


def test_an_episode_that_is_cut_is_truncated(cartpole):
    whole, found = (cartpole.trajectory(still, 0, count) for count in (None, 7))
    assert found.truncated.tolist() == [False] * 7 + [True]
    assert not found.terminated.any()
    np.testing.assert_array_equal(found.physics, whole.physics[:8])
    np.testing.assert_array_equal(found.reward, whole.reward[:8])


def test_rewards_and_observations_are_the_suites_own():
    """The same actions again, step by step, straight from dm_control."""
    from dm_control import suite

    rng = np.random.default_rng(0)
    task = DmcTask('cartpole_balance', image_size=0, action_repeat=100)
    found = task.trajectory(lambda observation: rng.uniform(-1, 1, 1), seed=5)
    environment = suite.load('cartpole', 'balance', task_kwargs={'random': 5})
    arrived = environment.reset()
    for t in range(len(found.action) - 1):
        np.testing.assert_array_equal(
            found.observations['velocity'][t], arrived.observation['velocity'].astype(np.float32)
        )
        total = 0.0
        for _ in range(100):
            arrived = environment.step(found.action[t])
            total += arrived.reward
        assert found.reward[t + 1] == pytest.approx(total, rel=1e-6)
    assert arrived.last()


def test_the_action_answers_the_observation_of_its_step(cartpole):
    found = cartpole.trajectory(lambda o: 0.1 * o['position'][:1], seed=1)
    expected = 0.1 * found.observations['position'][:-1, :1]
    np.testing.assert_allclose(found.action[:-1], expected, rtol=1e-6)
    assert found.action[-1] == 0


def test_actions_beyond_the_limits_are_recorded_as_executed(cartpole):
    found = cartpole.trajectory(lambda o: np.full(1, 7.0), seed=1)
    assert (found.action[:-1] == 1).all()


def test_equal_seeds_give_equal_episodes_whatever_was_driven_before(cartpole):
    first = cartpole.trajectory(still, seed=3)
    cartpole.trajectory(lambda o: np.ones(1), seed=4)
    again = cartpole.trajectory(still, seed=3)
    np.testing.assert_array_equal(first.physics, again.physics)
    assert not np.array_equal(first.physics, cartpole.trajectory(still, seed=5).physics)


@DRAWS
def test_pictures_show_the_state_of_their_step(drawn):
    found = drawn.trajectory(lambda o: np.ones(1), seed=0)
    pictures = found.observations['camera']
    assert (pictures.shape, pictures.dtype) == ((11, 64, 64, 3), np.uint8)
    for t in (0, 4, 10):
        again = drawn.picture(found.physics[t])
        distance = [np.abs(again.astype(int) - picture).mean() for picture in pictures]
        assert int(np.argmin(distance)) == t
        assert distance[t] < 0.5


def test_the_contract_describes_the_task(cartpole):
    contract = cartpole.contract
    assert contract.robot == 'dmc_cartpole_swingup'
    assert contract.control_rate_hz == pytest.approx(1 / (0.01 * 50))
    assert list(contract.observation) == ['position', 'velocity']
    assert contract.action_low.tolist() == [-1]
    assert 'camera' not in contract.observation


def test_scalars_are_vectors_of_one():
    contract = DmcTask('walker_walk', image_size=0).contract
    assert contract.observation['height'].shape == (1,)


def test_an_unknown_task_or_camera_is_named():
    with pytest.raises(SimulationError, match=r'dmc walker_fly: no such task.*walker_run'):
        DmcTask('walker_fly')
    if GRAPHICS_BACKEND != 'disable':
        with pytest.raises(SimulationError, match=r'walker_walk: has no camera 9. Choose.*0 to 1'):
            DmcTask('walker_walk', camera=9)
