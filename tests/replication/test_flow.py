import pytest
from robot_learning.replication.flow import RateMeter, RequestWindow, TokenBucket


def link_delays(bytes_per_s, num_bytes=2_000_000):
    """Fetch over a link with a queue; return the time each range took, and the total time."""
    window = RequestWindow(512_000, delay_s=0.25)
    now_s = asked = length = 0
    free_s, delays, under_way = 0.0, [], []
    while length < num_bytes:
        while asked - length <= window.num_bytes // 2:
            end = max(asked + 1, length + window.num_bytes)
            begin_s = max(now_s, free_s)
            free_s = begin_s + (end - asked) / bytes_per_s
            under_way.append((free_s + 0.002, end, now_s))
            window.on_request(end, now_s)
            asked = end
        now_s, length, since_s = under_way.pop(0)
        delays.append(now_s - since_s)
        window.on_arrival(length, now_s)
    return delays, now_s


def test_a_fast_link_is_filled():
    delays, total_s = link_delays(50e6)
    assert total_s < 2 * 2e6 / 50e6  # It begins carefully.
    assert max(delays) < 0.05


@pytest.mark.parametrize('bytes_per_s', [50e3, 500e3])
def test_a_slow_link_keeps_its_queue_short_and_is_still_used(bytes_per_s):
    delays, total_s = link_delays(bytes_per_s)
    assert total_s < 1.15 * 2e6 / bytes_per_s
    smallest_s = 64_000 / bytes_per_s  # Two chunks are always under way.
    assert max(delays) <= max(2 * smallest_s, 0.6)


def test_a_bucket_lets_its_rate_through_over_any_second():
    bucket, now_s, sent = TokenBucket(100_000), 0.0, []
    while now_s < 10:
        wait_s = bucket.wait_s(now_s)
        if wait_s:
            now_s += wait_s
        else:
            bucket.take(32_768)
            sent.append(now_s)
    assert sum(32_768 for _ in sent) == pytest.approx(1_000_000, rel=0.06)
    for start_s in sent:
        within = [s for s in sent if start_s <= s < start_s + 1]
        assert len(within) * 32_768 <= 100_000 + 2 * 32_768


def test_no_limit_never_waits():
    bucket = TokenBucket(0)
    for _ in range(100):
        bucket.take(1 << 20)
        assert bucket.wait_s(0.0) == 0


def test_a_rate_is_that_of_the_last_seconds():
    meter = RateMeter()
    for tenth in range(100):
        meter.add(1000, tenth / 10)
    assert meter.total == 100_000
    assert meter.per_second(10.0) == pytest.approx(10_000, rel=0.05)
    assert meter.per_second(20.0) == 0
