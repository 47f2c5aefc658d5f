import numpy as np
import pytest
from robot_learning.errors import MessageError
from robot_learning.trajectory.bags.bag_types import Decoder, known_types

STRING = 'std_msgs/msg/String'


def packed(text):
    message = known_types().types[STRING](text)
    return bytes(known_types().serialize_cdr(message, STRING))


def test_stray_bytes_behind_a_message_are_ignored():
    assert Decoder(STRING)(packed('walk') + b'\0\0\0').data == 'walk'


@pytest.mark.parametrize('length', [0, 2**31])
def test_a_torn_message_is_named(length):
    """What a publisher left that was killed while it handed a message over."""
    data = bytearray(packed('walk'))
    data[4:8] = np.uint32(length).tobytes()
    with pytest.raises(MessageError, match='no std_msgs/msg/String'):
        Decoder(STRING)(bytes(data))


def test_half_a_message_is_named():
    for size in range(4, len(packed('walk'))):
        with pytest.raises(MessageError, match=f'found {size} bytes'):
            Decoder(STRING)(packed('walk')[:size])
