import io

from rich.console import Console
from robot_learning.commands import live_display
from robot_learning.evaluation.live_numbers import LiveNumbers


def running():
    numbers = LiveNumbers()
    numbers.on_gate({'commands': 100, 'altered': 3}, False, 10.0)
    numbers.on_gate({'commands': 600, 'altered': 7}, False, 15.0)
    numbers.on_episode_end(0, True, 'goal', 14.0)
    numbers.on_episode_end(1, False, 'collision', 15.0)
    numbers.on_version('serving', 12, '', 15.0)
    numbers.on_health(
        'policy: latency', 0, '', {'decisions': '9', 'p50_ms': '0.5', 'p99_ms': '2.25'}, 15.0
    )
    return numbers


def test_a_line_names_every_number():
    text = live_display.line(running(), 15.0, 60.0)
    assert 'steps 600, steps/s 100, success 50 % of last 2, model 12' in text
    assert 'gate 7 of 600, latency p50/p99 0.50 / 2.25 ms, left 0:55' in text


def test_the_panel_shows_what_the_line_shows():
    console = Console(file=io.StringIO(), width=100)
    console.print(live_display.panel(running(), 15.0, 60.0))
    text = console.file.getvalue()
    for part in ('600', '50 % of last 2', '7 of 600', '0.50 / 2.25 ms', '0:05', '0:55'):
        assert part in text


def test_trouble_is_shown():
    numbers = running()
    numbers.on_version('refused', 13, 'weights [1] are not finite', 15.0)
    numbers.on_gate({'commands': 700}, True, 15.0, True, ['/joe (cmd_vel)'])
    console = Console(file=io.StringIO(), width=100)
    console.print(live_display.panel(numbers, 15.0, 60.0))
    text = console.file.getvalue()
    assert 'model version 13: weights [1] are not finite' in text
    assert 'emergency stop is latched' in text
    assert 'a person drives' in text
    assert 'past the action gate publish: /joe (cmd_vel)' in text


def test_before_the_first_episode_nothing_is_claimed():
    text = live_display.line(LiveNumbers(), 0.0, 60.0)
    assert 'no episode yet' in text
    assert 'model none (random)' in text
    assert 'latency p50/p99 –' in text


def test_without_a_terminal_lines_come_every_ten_seconds():
    console = Console(file=io.StringIO(), width=300)
    with live_display.LiveDisplay(60.0, console) as display:
        for second in range(25):
            display.show(running(), float(second))
    assert len(console.file.getvalue().splitlines()) == 3


def test_gate_counts_go_on_when_its_node_starts_again():
    numbers = running()
    numbers.on_gate({'commands': 5, 'altered': 1}, False, 16.0)
    numbers.on_gate({'commands': 8, 'altered': 1}, False, 17.0)
    assert numbers.gate == {'commands': 608, 'altered': 8}
    assert numbers.environment_step == 608
