"""Files for RViz, Foxglove and SROS2 speak of topics, services and nodes that exist."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import yaml
from robot_learning import contract as contracts
from robot_learning.commands import process_table

ROOT = Path(__file__).resolve().parents[2]
NODES = ROOT / 'ros_ws' / 'src' / 'robot_learning' / 'nodes'
CONTRACT = contracts.load('turtlebot3')
SOURCE = ''.join(path.read_text(encoding='utf-8') for path in NODES.glob('*.py'))
OF_EVERY_NODE = re.compile(
    r'/rosout|/parameter_events|/diagnostics|/clock|~/(describe|get|list|set)_parameter\w*|'
    r'~/(change_state|get_state|get_available_states|get_available_transitions|'
    r'get_transition_graph|transition_event|get_type_description)'
)


def test_what_every_node_shares_is_named_so_that_a_namespace_does_not_move_it():
    text = (ROOT / 'config/sros2/policies.xml').read_text()
    assert not re.search(r'<topic>(rosout|parameter_events|diagnostics|clock)<', text)


def is_known(name: str) -> bool:
    """Tell whether a topic, service or action is in a contract or in a node's source."""
    topics = {f.topic for f in CONTRACT.observation.values()}
    topics |= {f.topic for f in CONTRACT.actions.values()} | {'camera/camera_info'}
    bare = name.removeprefix('~/').split('/', 1)[-1] if name.count('/') else name
    return name in topics or any(f"'{part}'" in SOURCE for part in (name, bare))


def test_rviz_shows_topics_that_are_published():
    layout = yaml.safe_load((ROOT / 'config/rviz/robot_learning.rviz').read_text())
    displays = layout['Visualization Manager']['Displays']
    names = {d['Topic']['Value'] for d in displays if 'Topic' in d}
    assert names >= {
        *('odom', 'scan', 'camera/image_raw', 'path', 'goal_pose'),
        *('expected_path', 'display/state'),
    }
    assert [name for name in names if not is_known(name)] == []


def test_foxglove_shows_topics_that_are_published():
    text = (ROOT / 'config/foxglove/robot_learning.json').read_text()
    layout = json.loads(text)
    panels = set(layout['configById'])
    used = set(re.findall(r'"([A-Za-z0-9]+![a-z]+)"', json.dumps(layout['layout'])))
    assert used == panels
    names = {n.strip('/') for n in re.findall(r'"(/[a-z_/]+)', text)} - {'diagnostics'}
    assert names >= {'scan', 'path', 'expected_path', 'goal_pose', 'gate_status', 'policy_action'}
    assert [name for name in names if not is_known(name)] == []


def policies() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'config/sros2/policies.xml').getroot()


def test_every_process_of_a_robot_has_an_enclave_with_its_node():
    enclaves = {enclave.get('path') for enclave in policies().iter('enclave')}
    given = {'record_bag': 'true', 'display': 'true'}
    processes = process_table.resolve(process_table.load(), 'robot', given)
    assert enclaves >= {f'/{process.name}' for process in processes}
    for enclave in policies().iter('enclave'):
        nodes = {profile.get('node') for profile in enclave.iter('profile')}
        assert enclave.get('path')[1:] in nodes
        assert nodes <= {enclave.get('path')[1:] + end for end in ('', '_services')}


def test_the_policy_allows_only_what_nodes_have_and_knows_the_schema_s_words():
    words = {'publish', 'subscribe', 'reply', 'request', 'execute', 'call'}
    for group in ('topics', 'services', 'actions'):
        for rule in policies().iter(group):
            ((word, verdict),) = rule.items()
            assert word in words and verdict == 'ALLOW' and len(rule)
            names = [name.text for name in rule]
            strange = [n for n in names if not OF_EVERY_NODE.fullmatch(n) and not is_known(n)]
            assert strange == []


def test_only_the_policy_node_may_command_the_robot():
    commands = {field.topic for field in CONTRACT.actions.values()}
    for enclave in policies().iter('enclave'):
        rules = [r for r in enclave.iter('topics') if r.get('publish')]
        published = {topic.text for rule in rules for topic in rule}
        assert bool(published & commands) == (enclave.get('path') == '/policy')


def test_the_documents_name_executables_launch_files_and_arguments_that_exist():
    table = process_table.load()
    launch_files = {path.name for path in (ROOT / 'launch').iterdir()}
    own = {'gui', 'headless', 'world', 'partition'}
    for name in ('gazebo', 'robots', 'real_robot', 'troubleshooting'):
        text = (ROOT / 'docs' / f'{name}.md').read_text()
        assert set(re.findall(r'\b[a-z]+\.launch\.py', text)) <= launch_files
        given = set(re.findall(r'\b([a-z_]+):=', text)) - {'config_file', '__ns', 'robot'}
        assert given <= set(table.arguments) | own, name
        for path in re.findall(r'`((?:config|worlds|docs)/[\w./]+)`', text):
            assert (ROOT / path).exists(), path
