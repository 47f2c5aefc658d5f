import pytest
import yaml
from raw_bags import LATCHED, topic
from robot_learning.errors import DataError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_metadata import BagFile, BagNotes, MessageCounts
from rosbags.rosbag2.metadata import parse_qos

# Keys, their order and the kinds of their values as rosbag2 0.26 (Jazzy) writes them:
# rosbag2_storage/include/rosbag2_storage/yaml.hpp, qos.cpp.
ROSBAG2 = """
rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  duration:
    nanoseconds: 30
  starting_time:
    nanoseconds_since_epoch: 10
  message_count: 5
  topics_with_message_count:
    - topic_metadata:
        name: /scan
        type: sensor_msgs/msg/LaserScan
        serialization_format: cdr
        offered_qos_profiles:
          - history: keep_last
            depth: 1
            reliability: reliable
            durability: transient_local
            deadline:
              sec: 9223372036
              nsec: 854775807
            lifespan:
              sec: 9223372036
              nsec: 854775807
            liveliness: automatic
            liveliness_lease_duration:
              sec: 9223372036
              nsec: 854775807
            avoid_ros_namespace_conventions: false
        type_description_hash: RIHS01_64c191398013af96509d518dac71d5164f9382553fce5c1f8cca5be7924bd828
      message_count: 5
  compression_format: ""
  compression_mode: ""
  relative_file_paths:
    - bag_0.mcap
    - bag_1.mcap
  files:
    - path: bag_0.mcap
      starting_time:
        nanoseconds_since_epoch: 10
      duration:
        nanoseconds: 5
      message_count: 2
    - path: bag_1.mcap
      starting_time:
        nanoseconds_since_epoch: 20
      duration:
        nanoseconds: 20
      message_count: 3
  custom_data: ~
  ros_distro: jazzy
"""  # noqa: E501


@pytest.fixture
def scan():
    return topic('/scan', 'sensor_msgs/msg/LaserScan', qos=(LATCHED,))


def test_metadata_is_that_of_rosbag2_key_by_key(tmp_path, scan, monkeypatch):
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    files = [
        BagFile('bag_0.mcap', 10, 15, {'/scan': 2}),
        BagFile('bag_1.mcap', 20, 40, {'/scan': 3}),
    ]
    bag_metadata.write(tmp_path, bag_metadata.describe(files, [scan]))
    found = (tmp_path / 'metadata.yaml').read_text()
    expected = yaml.safe_load(ROSBAG2)
    assert yaml.safe_load(found) == expected

    def keys(content):
        if isinstance(content, dict):
            return [(key, keys(value)) for key, value in content.items()]
        return [keys(item) for item in content] if isinstance(content, list) else None

    assert keys(yaml.safe_load(found)) == keys(expected)


def test_rosbags_reads_the_quality_of_service_of_metadata_and_channel(scan):
    (entry,) = bag_metadata.describe([], [scan])['topics_with_message_count']
    (in_metadata,) = parse_qos(entry['topic_metadata']['offered_qos_profiles'])
    (in_channel,) = parse_qos(scan.channel_metadata()['offered_qos_profiles'])
    assert in_metadata == in_channel
    assert in_metadata.durability.name == 'TRANSIENT_LOCAL'


def test_notes_survive_and_those_of_others_are_ignored():
    notes = BagNotes('complete', {'/scan': MessageCounts(5, 3, 2, lost=None)}, {'/odd': 'no type'})
    data = notes.to_custom_data()
    assert all(isinstance(value, str) for value in data.values())  # A map of texts in rosbag2.
    assert BagNotes.from_custom_data({**data, 'operator': 'Kim'}) == notes
    assert BagNotes.from_custom_data(None) == BagNotes()


def test_broken_metadata_is_named(tmp_path):
    with pytest.raises(DataError, match=r'metadata\.yaml: cannot be read'):
        bag_metadata.read(tmp_path)
    (tmp_path / 'metadata.yaml').write_text('version: 9')
    with pytest.raises(DataError, match='bags recover'):
        bag_metadata.read(tmp_path)
