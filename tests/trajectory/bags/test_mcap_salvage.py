import random
import struct
from pathlib import Path

import pytest
from bag_files import drive, write_bag
from damaged_bags import FORMS, Entry, saved_before, write_mcap
from robot_learning.trajectory.bags.mcap_salvage import McapSalvage
from robot_learning.trajectory.bags.salvage import NO_METADATA, FileReport

COUNT = 31


def salvage(content):
    """Return the messages found in the bytes of a file, and the report."""
    report = FileReport(Path('x.mcap'), len(content))
    messages = McapSalvage(memoryview(content), report, NO_METADATA).messages()
    return [Entry(m.channel.topic, m.log_ns, m.data) for m in messages], report


def chunks(content):
    """Return where the chunk records of a whole file stand."""
    found, at = [], 8
    while at + 9 < len(content) - 8:
        kind, size = struct.unpack_from('<BQ', content, at)
        if kind == 6:
            found.append((at, at + 9 + size))
        at += 9 + size
    return found


@pytest.fixture(params=FORMS)
def file(request, tmp_path):
    written = write_mcap(tmp_path / 'a.mcap', request.param)
    return request.param, (tmp_path / 'a.mcap').read_bytes(), written


def test_every_cut_keeps_all_messages_before_it_and_invents_none(file):
    form, content, written = file
    rng = random.Random(1)
    for cut in [*range(0, 300), *rng.sample(range(len(content)), 300)]:
        for tail in (b'', bytes(700)):  # A full disk, or a torn copy, leaves zeros.
            found, report = salvage(content[:cut] + tail)
            assert found == written[: len(found)], cut
            assert report.is_sound <= (len(found) == COUNT), cut
            if form in ('plain', 'unchunked'):
                last = len(content[:cut].rstrip(b'\0'))
                assert len(found) >= saved_before(content, last), cut


def test_no_flipped_byte_gives_a_wrong_message_or_goes_unnoticed(file):
    form, content, written = file
    rng = random.Random(2)
    for _ in range(400):
        broken = bytearray(content)
        at = rng.randrange(len(content))
        broken[at] ^= rng.randrange(1, 256)
        found, report = salvage(bytes(broken))
        if form == 'unchunked':  # One checksum for all: where the damage is remains unknown.
            assert set(found) <= set(written) or (report.unchecked and not report.is_sound), at
        else:
            assert set(found) <= set(written), at
        if not report.is_sound:
            assert report.unreadable or report.notes, at
        assert len(found) == COUNT or not report.is_sound, at


def test_many_flipped_bytes_and_blocks_of_zeros_do_no_more_than_cost_their_chunks(file):
    form, content, written = file
    rng = random.Random(3)
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(rng.randrange(1, 6)):
            at, size = rng.randrange(len(content)), rng.choice((1, 40, 512, 4096))
            stop = min(at + size, len(content))
            broken[at:stop] = rng.choice((bytes(stop - at), rng.randbytes(stop - at)))
        found, report = salvage(bytes(broken))
        if form != 'unchunked':
            assert set(found) <= set(written)
        assert len(set(found)) == COUNT or not report.is_sound


def test_a_damaged_chunk_costs_only_itself_and_is_described(tmp_path):
    written = write_mcap(tmp_path / 'a.mcap', 'plain')
    content = bytearray((tmp_path / 'a.mcap').read_bytes())
    start, stop = chunks(content)[1]
    content[start + 2000] ^= 1
    found, report = salvage(bytes(content))
    lost = [entry for entry in written if entry not in found]
    first = written.index(lost[0])
    assert lost == written[first : first + len(lost)] and first > 0
    assert report.lost == {'/odom': len(lost)}
    assert [(part.start, part.stop) for part in report.unreadable] == [(start, stop)]
    assert 'checksum' in report.unreadable[0].reason
    assert [tuple(hole) for hole in report.holes] == [(lost[0].log_ns, lost[-1].log_ns)]


def test_a_chunk_whose_head_is_damaged_is_described_by_the_index_behind_it(tmp_path):
    written = write_mcap(tmp_path / 'a.mcap', 'zstd')
    content = bytearray((tmp_path / 'a.mcap').read_bytes())
    start, stop = chunks(content)[2]
    content[start] = 0x77
    found, report = salvage(bytes(content))
    lost = [entry for entry in written if entry not in found]
    assert report.lost == {'/odom': len(lost)} and lost
    assert [(part.start, part.stop) for part in report.unreadable] == [(start, stop)]
    assert [tuple(hole) for hole in report.holes] == [(lost[0].log_ns, lost[-1].log_ns)]


def test_without_a_checksum_the_index_still_guards_stamps_topics_and_lengths(tmp_path):
    """So rosbags writes: its chunks have no checksum."""
    bag = write_bag(tmp_path / 'bag', drive(60))
    content = (bag / 'bag.mcap').read_bytes()
    whole, report = salvage(content)
    assert report.is_sound and report.unchecked == len(whole) == 61
    keys = {(entry.topic, entry.log_ns, len(entry.data)) for entry in whole}
    rng = random.Random(4)
    for _ in range(100):
        broken = bytearray(content)
        broken[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        found, report = salvage(bytes(broken))
        assert {(entry.topic, entry.log_ns, len(entry.data)) for entry in found} <= keys
        assert len(found) == 61 or not report.is_sound


def test_topics_of_a_lost_first_chunk_are_taken_from_the_summary(tmp_path):
    written = write_mcap(tmp_path / 'a.mcap', 'zstd')
    content = bytearray((tmp_path / 'a.mcap').read_bytes())
    start, stop = chunks(content)[0]
    content[start + 60 : stop] = bytes(stop - start - 60)
    found, _ = salvage(bytes(content))
    assert found and found == written[-len(found) :]


def test_attachments_and_foreign_metadata_are_named_as_left_out(tmp_path):
    from mcap.writer import Writer

    path = tmp_path / 'a.mcap'
    with path.open('wb') as stream:
        writer = Writer(stream)
        writer.start(profile='ros2', library='test')
        writer.add_attachment(0, 0, 'map.png', 'image/png', b'pixels')
        writer.add_metadata('site', {'floor': '3'})
        schema = writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data')
        channel = writer.register_channel('/talk', 'cdr', schema)
        writer.add_message(channel, 5, b'\0\1\0\0', 5)
        writer.finish()
    found, report = salvage(path.read_bytes())
    assert len(found) == 1 and not report.is_sound
    assert 'map.png' in report.left_out[0] and 'site' in report.left_out[1]
