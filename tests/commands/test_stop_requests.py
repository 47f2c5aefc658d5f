import os
import signal

import pytest
from robot_learning.commands.stop_requests import StopRequests


def test_signals_are_counted_and_given_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequests() as stop:
        assert not stop.is_requested
        stop.check()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.count == 2
        with pytest.raises(KeyboardInterrupt):
            stop.check()
    assert signal.getsignal(signal.SIGINT) == before
