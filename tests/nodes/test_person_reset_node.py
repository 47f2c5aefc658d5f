"""The reset of a real robot, with a person, a recorder and a policy that are played."""

import contextlib

from node_bench import overrides, turning
from rclpy.node import Node
from robot_learning.nodes.person_reset_node import PersonResetNode
from robot_learning.nodes.qos import qos_profile
from robot_learning_interfaces.srv import EndEpisode, ResetWorld, StartEpisode
from rover import wait_until
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger


class Others:
    """Policy node and recorder as far as they are asked, and the person's terminal."""

    def __init__(self, context):
        self.node = node = Node('others', context=context, namespace='/asked')
        self.calls, self.questions = [], []
        node.create_service(SetBool, 'policy/take_over', self._on_take_over)
        node.create_service(EndEpisode, 'recorder/end_episode', self._on_end)
        node.create_service(StartEpisode, 'recorder/start_episode', self._on_start)
        node.create_subscription(
            String,
            'person_request',
            lambda message: self.questions.append(message.data),
            qos_profile('latched'),
        )

    def _on_take_over(self, request, response):
        self.calls.append('hold' if request.data else 'hand back')
        response.success = True
        return response

    def _on_end(self, request, response):
        self.calls.append('end')
        return response

    def _on_start(self, request, response):
        self.calls.append('begin')
        response.success, response.episode = True, 4
        return response

    def ask(self, kind, name, request):
        client = self.node.create_client(kind, f'person_reset/{name}')
        assert client.wait_for_service(10.0)
        return client.call_async(request)


@contextlib.contextmanager
def asked(context, **parameters):
    node = PersonResetNode(
        context=context, namespace='/asked', parameter_overrides=overrides(parameters)
    )
    others = Others(context)
    with turning(context, node, others.node):
        yield others


def test_a_person_is_asked_and_the_episode_begins_when_they_say_so(context):
    with asked(context) as others:
        request = ResetWorld.Request(robot_pose=[1.0, 2.0, 0.5])
        answer = others.ask(ResetWorld, 'reset', request)
        wait_until(lambda: others.questions, 'question')
        assert 'x 1.00 m, y 2.00 m' in others.questions[0]
        assert others.calls == ['hold', 'end'] and not answer.done()
        again = others.ask(ResetWorld, 'reset', ResetWorld.Request())
        wait_until(again.done, 'refusal')
        assert 'being asked already' in again.result().message
        ready = others.ask(Trigger, 'ready', Trigger.Request())
        wait_until(lambda: answer.done() and ready.done(), 'answers')
        assert ready.result().success
        assert answer.result().success and answer.result().episode == 4
        assert others.calls == ['hold', 'end', 'begin', 'hand back']
        wait_until(lambda: others.questions[-1] == '', 'question taken back')


def test_after_the_timeout_the_robot_stays_held(context):
    with asked(context, timeout_s=0.3) as others:
        answer = others.ask(ResetWorld, 'reset', ResetWorld.Request())
        wait_until(answer.done, 'answer')
        assert not answer.result().success and 'stays held' in answer.result().message
        assert others.calls == ['hold', 'end']


def test_without_a_recorder_the_robot_is_held_and_handed_back_all_the_same(context):
    with asked(context, records=False) as others:
        answer = others.ask(ResetWorld, 'reset', ResetWorld.Request())
        wait_until(lambda: others.questions, 'question')
        ready = others.ask(Trigger, 'ready', Trigger.Request())
        wait_until(lambda: answer.done() and ready.done(), 'answers')
        assert answer.result().success
        assert others.calls == ['hold', 'hand back']
