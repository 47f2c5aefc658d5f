"""The policy node under a lifecycle manager: it moves nothing before it is active, nor after."""

import contextlib
import time

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from robot_learning_interfaces.action import RunPolicy
from rover import (
    FULL_SPEED,
    PERIOD,
    STOPPED,
    LockStep,
    Rover,
    call,
    policy_node,
    publish_constant,
    wait_until,
    write_robot,
)
from std_srvs.srv import Trigger

SILENCE_S = 0.3  # Several control periods and keep-alives.


@pytest.fixture(scope='module')
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp('managed')
    publish_constant(folder / 'models')
    return write_robot(folder), folder / 'models'


def transition(rover, number):
    request = ChangeState.Request(transition=Transition(id=number))
    assert call(rover, ChangeState, 'policy/change_state', request).success
    return call(rover, GetState, 'policy/get_state', GetState.Request()).current_state.id


def is_silent(rover):
    count = len(rover.commands)
    time.sleep(SILENCE_S)
    return len(rover.commands) == count


def test_it_moves_the_robot_while_it_is_active_and_never_else(settings):
    with (
        contextlib.closing(Rover('/managed')) as rover,
        policy_node('/managed', *settings, autostart='false'),
        rover.sensing(20),
    ):
        assert transition(rover, Transition.TRANSITION_CONFIGURE) == State.PRIMARY_STATE_INACTIVE
        rover.wait_for_policy(has_outcome=False)
        wait_until(lambda: rover.statuses and rover.statuses[-1].version == 1, 'loaded version')
        assert is_silent(rover) and not rover.commands
        run = ActionClient(rover.node, RunPolicy, 'run_policy')
        assert run.wait_for_server(10.0)
        future = run.send_goal_async(RunPolicy.Goal(version=-1))
        wait_until(future.done, 'acceptance')
        result = future.result().get_result_async()
        wait_until(result.done, 'refusal')
        assert 'inactive' in result.result().result.reason
        assert not rover.commands
        run.destroy()

        assert transition(rover, Transition.TRANSITION_ACTIVATE) == State.PRIMARY_STATE_ACTIVE
        wait_until(lambda: rover.commands and rover.commands[-1][2:] == FULL_SPEED, 'driving')

        assert transition(rover, Transition.TRANSITION_DEACTIVATE) == State.PRIMARY_STATE_INACTIVE
        wait_until(lambda: rover.commands[-1][2:] == STOPPED, 'stop')
        assert is_silent(rover)

        call(rover, Trigger, 'policy/emergency_stop', Trigger.Request())
        transition(rover, Transition.TRANSITION_CLEANUP)
        wait_until(lambda: not rover.node.count_publishers('cmd_vel'), 'end of the command topic')
        transition(rover, Transition.TRANSITION_CONFIGURE)
        transition(rover, Transition.TRANSITION_ACTIVATE)
        rover.commands.clear()
        wait_until(lambda: rover.commands, 'command')
        time.sleep(SILENCE_S)
        assert {command[2:] for command in rover.commands} == {STOPPED}, 'the press is remembered'
        call(rover, Trigger, 'policy/release_emergency_stop', Trigger.Request())
        wait_until(lambda: rover.commands[-1][2:] == FULL_SPEED, 'driving again')


def test_in_lock_step_the_world_waits_while_it_is_inactive(settings):
    with (
        contextlib.closing(Rover('/waiting')) as rover,
        policy_node('/waiting', *settings, mode='lock_step', poll_s=0.05),
    ):
        rover.wait_for_policy(has_outcome=True)
        world = LockStep(rover)
        world.begin()
        assert world.step() == FULL_SPEED
        transition(rover, Transition.TRANSITION_DEACTIVATE)
        rover.commands.clear()
        world.stamp += PERIOD
        rover.sense(world.stamp)
        rover.arrive(world.stamp)
        assert is_silent(rover)
        transition(rover, Transition.TRANSITION_ACTIVATE)
        rover.arrive(world.stamp)  # As a world does that waits for its answer.
        rover.command_for(world.stamp)
        wait_until(lambda: world.step() == FULL_SPEED, 'driving again')
