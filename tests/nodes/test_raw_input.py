import rclpy
from rclpy.node import Node
from robot_learning.nodes.raw_input import RawInput

_NO_TYPE_SUPPORT = """
class _Metaclass(type):
    _TYPE_SUPPORT = None

    @classmethod
    def __import_type_support__(cls):
        pass  # As generated code does where the library of its package is not there.


class Odd(metaclass=_Metaclass):
    @classmethod
    def get_fields_and_field_types(cls):
        return {'data': 'int32'}
"""


def test_a_type_that_cannot_be_received_costs_its_own_topic_only(tmp_path, monkeypatch):
    package = tmp_path / 'half_built_msgs' / 'msg'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(_NO_TYPE_SUPPORT)
    (package.parent / '__init__.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    topics = {'/odd': 'half_built_msgs/msg/Odd', '/talk': 'std_msgs/msg/String'}
    skipped = {}
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = Node('owner', context=context)
        found = RawInput(
            node, topics, lambda name: False, lambda _: None, lambda _: None, skipped.__setitem__
        )
        found.start()
        assert list(found.topics) == ['/talk'] and found.failure is None
        found.stop()
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert list(skipped) == ['/odd']
    assert skipped['/odd'].startswith('half_built_msgs/msg/Odd cannot be received')
    assert skipped['/odd'].endswith('Build its package again.')
