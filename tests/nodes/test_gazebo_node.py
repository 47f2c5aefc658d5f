"""The node that runs episodes in Gazebo, against a stand-in for Gazebo and its bridge."""

import contextlib
import itertools
import math

import pytest
from fake_gazebo import FakeGazebo
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from node_bench import overrides, turning
from rclpy.node import Node
from robot_learning.nodes import gazebo_node
from robot_learning.nodes.gazebo_node import GazeboNode
from robot_learning.nodes.qos import EPISODE_EVENT_QOS, OUTCOME_QOS
from robot_learning.simulation.episodes import episode_seed
from robot_learning_interfaces.msg import EpisodeEvent, StepOutcome
from robot_learning_interfaces.srv import ResetWorld
from rover import stamp_of, wait_until
from std_srvs.srv import SetBool, Trigger

PERIOD_NS = 200_000_000  # Of the arena's contract.


class Driver:
    """Hears everything and drives; its calls of services wait."""

    def __init__(self, context, namespace):
        self.node = node = Node('driver', context=context, namespace=namespace)
        self.heard = {}
        for kind, topic, qos in (
            (StepOutcome, 'outcome', OUTCOME_QOS),
            (EpisodeEvent, 'episode_event', EPISODE_EVENT_QOS),
            (PoseStamped, 'goal_pose', 10),
            (PoseWithCovarianceStamped, 'amcl_pose', 10),
            (Odometry, 'odom', 10),
            (Odometry, 'ground_truth/odom', 10),
        ):
            self.heard[topic] = []
            node.create_subscription(kind, topic, self.heard[topic].append, qos)
        self._commands = node.create_publisher(TwistStamped, 'cmd_vel', 10)

    def drive(self, linear, angular=0.0, stamp=None):
        command = TwistStamped()
        command.twist.linear.x, command.twist.angular.z = linear, angular
        if stamp is not None:
            command.header.stamp = stamp
        self._commands.publish(command)

    def call(self, kind, name, request):
        client = self.node.create_client(kind, f'simulator/{name}')
        assert client.wait_for_service(10.0)
        future = client.call_async(request)
        wait_until(future.done, f'answer of {name}')
        return future.result()

    def events(self, kind):
        return [event for event in list(self.heard['episode_event']) if event.event == kind]


@pytest.fixture
def system(context, monkeypatch, request):
    """Run a stand-in for Gazebo and the node that runs episodes in it."""
    name = f'/{request.node.name.split("[")[0][-40:]}'
    with contextlib.closing(FakeGazebo(name)) as gazebo:
        monkeypatch.setattr(gazebo_node, 'world_services', lambda *_: gazebo)
        monkeypatch.setattr(gazebo_node, '_RETRY_S', 0.2)
        driver = Driver(context, name)
        with turning(context, driver.node) as executor:

            def start(**parameters):
                settings = overrides({'use_sim_time': True, 'seed': 3, **parameters})
                node = GazeboNode(context=context, namespace=name, parameter_overrides=settings)
                executor.add_node(node)
                return gazebo, driver, node

            yield start


def test_an_episode_begins_where_its_seed_says_and_ends_at_a_wall(system):
    gazebo, driver, node = system()
    wait_until(lambda: driver.heard['outcome'], 'first step')
    begin, first = driver.events(EpisodeEvent.BEGIN)[0], driver.heard['outcome'][0]
    assert (begin.episode, begin.seed, begin.source) == (0, episode_seed(3, 0), 'simulator')
    assert (first.is_first, first.step, first.reward) == (True, 0, 0.0)
    assert stamp_of(first) == stamp_of(begin)
    assert gazebo.places['robot'][:2] == pytest.approx(node._world.layout.robot[:2])
    assert len(gazebo.places) == 11 and not gazebo.is_held
    goal = driver.heard['goal_pose'][0].pose.position
    assert (goal.x, goal.y) == pytest.approx(node._world.layout.goal[:2])

    answer = driver.call(
        ResetWorld, 'reset', ResetWorld.Request(seed=5, robot_pose=[2.0, 0.0, 0.0])
    )
    assert answer.success and answer.episode == 1
    assert gazebo.places['robot'][:2] == pytest.approx((2.0, 0.0), abs=0.01)
    assert driver.events(EpisodeEvent.END)[0].reason == 'operator'
    driver.heard['odom'].clear()

    def is_over():
        driver.drive(0.5)
        return [e for e in driver.events(EpisodeEvent.END) if e.reason == 'collision']

    wait_until(is_over, 'collision')
    last = [o for o in driver.heard['outcome'] if o.episode == 1]
    assert last[-1].terminated and last[-1].reward < -4
    steps = [o.step for o in last]
    assert steps == list(range(len(steps)))
    gaps = {stamp_of(b) - stamp_of(a) for a, b in itertools.pairwise(last)}
    assert all(abs(gap - PERIOD_NS) <= 20_000_000 for gap in gaps)
    path = [m.pose.pose.position.x for m in driver.heard['odom']]
    assert min(path) == pytest.approx(0.0, abs=0.02), 'odometry begins at zero'
    assert 0.2 < max(path) < 0.5
    truth = driver.heard['ground_truth/odom'][-1].pose.pose.position
    wait_until(lambda: len(driver.events(EpisodeEvent.BEGIN)) == 3, 'next episode')
    assert math.isfinite(truth.x) and driver.heard['amcl_pose']


def test_wishes_that_cannot_be_are_refused_and_the_episode_goes_on(system):
    _gazebo, driver, _ = system()
    wait_until(lambda: driver.heard['outcome'], 'first step')
    answer = driver.call(ResetWorld, 'reset', ResetWorld.Request(goal_pose=[9.0, 9.0, 0.0]))
    assert not answer.success and 'goal_pose' in answer.message
    count = len(driver.heard['outcome'])
    wait_until(lambda: len(driver.heard['outcome']) > count, 'next step')
    assert driver.heard['outcome'][-1].episode == 0
    assert not driver.events(EpisodeEvent.END)


def test_time_can_be_held_and_lived_step_by_step(system):
    gazebo, driver, _ = system()
    wait_until(lambda: driver.heard['outcome'], 'first step')
    assert driver.call(SetBool, 'pause', SetBool.Request(data=True)).success
    before_ns = gazebo.time_ns
    assert driver.call(Trigger, 'step', Trigger.Request()).success
    assert gazebo.time_ns == before_ns + PERIOD_NS
    assert driver.call(SetBool, 'pause', SetBool.Request(data=False)).success
    wait_until(lambda: gazebo.time_ns > before_ns + PERIOD_NS, 'time')


def test_a_robot_that_nobody_commands_any_more_is_stopped(system):
    gazebo, driver, _ = system(command_timeout_s=0.2)
    wait_until(lambda: driver.heard['outcome'], 'first step')

    def is_turning():
        driver.drive(0.0, 0.7)
        return gazebo.twist == (0.0, 0.7)

    wait_until(is_turning, 'command')
    wait_until(lambda: gazebo.twist == (0.0, 0.0), 'stop')
    driver.drive(0.1)
    wait_until(lambda: gazebo.twist == (0.1, 0.0), 'command')
    driver.drive(math.nan)
    wait_until(lambda: gazebo.twist == (0.0, 0.0), 'stop for NaN')


def test_a_reset_that_fails_is_told_and_tried_again(system):
    gazebo, driver, node = system(**{'reset.attempts': 2})
    wait_until(lambda: driver.heard['outcome'], 'first step')
    gazebo.faults = ['/world/learning_arena/set_pose: no such service'] * 2
    answer = driver.call(Trigger, 'reset_world', Trigger.Request())
    assert not answer.success and 'no such service' in answer.message
    wait_until(lambda: driver.events(EpisodeEvent.BEGIN)[-1].episode == 1, 'second attempt')
    assert node._reset.num_faults == 2
    gazebo.faults = ['refused']
    assert driver.call(Trigger, 'reset_world', Trigger.Request()).success


def test_in_lock_step_the_world_lives_one_period_for_every_command(system):
    gazebo, driver, _ = system(mode='lock_step')
    outcomes = driver.heard['outcome']
    wait_until(lambda: outcomes, 'first step')
    assert gazebo.is_held and stamp_of(outcomes[0]) % PERIOD_NS == 0
    for number in range(1, 6):
        stamp = outcomes[-1].header.stamp
        driver.drive(0.0, 0.5, stamp)
        wait_until(lambda n=number: len(outcomes) > n, f'step {number}')
    stamps = [stamp_of(outcome) for outcome in outcomes[:6]]
    assert [b - a for a, b in itertools.pairwise(stamps)] == [PERIOD_NS] * 5
    assert [outcome.step for outcome in outcomes[:6]] == list(range(6))
    time_ns = gazebo.time_ns
    driver.drive(0.0, 0.5, driver.node.get_clock().now().to_msg())  # Answers nothing.
    wait_until(lambda: len(outcomes) > 6, 'repetition')  # Of the step that nobody answered.
    assert outcomes[6] == outcomes[5] and gazebo.time_ns == time_ns
