"""Waiting on a thread for a moment of a node's clock, with an end in wall time."""

from __future__ import annotations

import threading

from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration


def wait_for_moment(clock: Clock, moment_ns: int, timeout_s: float) -> bool:
    """Return whether a simulated clock reached a moment before wall time was up.

    Who turns the executor moves the clock, so call it on another thread. `Clock.sleep_until`
    waits in the same way, but for ever where time stands.
    """
    is_reached = threading.Event()

    def on_jump(_: TimeJump) -> None:
        if clock.now().nanoseconds >= moment_ns:
            is_reached.set()

    every_move = JumpThreshold(
        min_forward=Duration(nanoseconds=1), min_backward=None, on_clock_change=True
    )
    with clock.create_jump_callback(every_move, post_callback=on_jump):
        return clock.now().nanoseconds >= moment_ns or is_reached.wait(timeout_s)
