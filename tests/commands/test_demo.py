import json

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.commands import demo
from robot_learning.commands.collect import collect
from robot_learning.commands.demo_evaluation import ScoreBook, score_baselines, spread
from robot_learning.commands.demo_loop import free_domain_id, write_phase_config
from robot_learning.commands.recorded_run import (
    message_counts,
    recorded_episodes,
    recorded_latency_ms,
    sensor_frames,
)
from robot_learning.commands.run_directory import RunDirectory, Session
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.config import load_yaml

WANTED_KEYS = {
    'success_rate_before',
    'success_rate_after',
    'success_curve',
    'steps_per_second',
    'latency_ms',
    'dropped_messages',
    'unaccounted_messages',
    'gate_interventions',
    'train_ratio',
    'model_versions',
}


@pytest.fixture(scope='module')
def contract():
    return contracts.load('arena')


@pytest.fixture(scope='module')
def run(contract, tmp_path_factory):
    """A run that was interrupted: it drove, but no model was published."""
    run = RunDirectory(tmp_path_factory.mktemp('runs') / 'run')
    state = run.open(0, 'arena', contract.hash)
    steps = collect(contract, 'geodesic', 300, run.episodes)
    state.sessions.append(
        Session('geodesic_0000', 1, 1e9, 3.0, steps, 0.5, {'commands': steps, 'altered': 4})
    )
    run.write_state(state)
    return run


@pytest.fixture(scope='module')
def book(run, contract):
    book = ScoreBook(run, contract, num_layouts=3)
    score_baselines(book, ['random', 'geodesic'], StopRequests())
    return book


def test_versions_are_chosen_evenly_and_the_last_one_always():
    steps = {version: 100 * version for version in range(1, 101)}
    chosen = spread(steps, 5)
    assert chosen[0] == 1
    assert chosen[-1] == 100
    assert np.diff(chosen) == pytest.approx(24.75, abs=1)
    assert spread({3: 10, 4: 20}, 8) == [3, 4]
    assert 9 in spread({1: 0, 2: 500, 8: 1000, 9: 1000}, 2)


def test_scores_are_kept_and_not_measured_twice(run, contract, book):
    again = ScoreBook(run, contract, num_layouts=3)
    again.load()
    assert again.scores == book.scores
    assert again.lacking(['random', 'geodesic', 'straight']) == ['straight']
    other = ScoreBook(run, contract, num_layouts=4)
    other.load()
    assert other.scores == {}


def test_an_unfinished_run_still_gets_all_numbers_and_a_report(run, contract, book, capsys):
    demo.finish(run, run.read_state(), contract, book, ['It was interrupted.'])
    metrics = json.loads(run.metrics.read_text())
    assert set(metrics) >= WANTED_KEYS
    assert metrics['success_rate_before'] == book.rate('random')
    assert metrics['success_rate_after'] is None
    assert metrics['baselines']['geodesic'] == 1.0
    assert metrics['success_curve'][0]['rate'] == book.rate('random')
    assert set(metrics['latency_ms']) >= {'p50', 'p99', 'max'}
    assert metrics['gate_interventions'] == 4
    assert metrics['unaccounted_messages']['scan'] == 0
    assert metrics['dropped_messages']['policy_action'] == 0
    assert metrics['steps_per_second'] == pytest.approx(metrics['environment_steps'] / 3.0)
    page = run.report.read_text()
    assert 'what it learned was not measured' in page
    assert 'It was interrupted.' in page
    assert str(run.report) in capsys.readouterr().out


def test_returns_come_from_the_recorded_episodes(run):
    episodes = recorded_episodes(run.episodes)
    assert all(episode.is_complete for episode in episodes)
    assert np.diff([episode.last_step for episode in episodes]).tolist() == [
        episode.num_steps for episode in episodes[1:]
    ]
    reached = [episode.episode_return for episode in episodes if episode.success]
    assert min(reached) > 0
    assert message_counts(episodes)['scan']['received'] > 250


def test_frames_show_the_scan_and_where_the_goal_is(run, contract):
    (frame,) = sensor_frames(run.episodes, contract, 1)
    assert frame.image is None  # Recorded without a camera.
    assert frame.ranges.shape == frame.beam_angles.shape == (360,)
    assert frame.goal_distance_m > 0


def test_a_run_without_bags_has_no_latencies(tmp_path):
    assert len(recorded_latency_ms(tmp_path / 'bag')) == 0


def test_the_phase_keeps_all_versions_and_its_first_settings(tmp_path, contract):
    run = RunDirectory(tmp_path / 'run')
    run.open(0, 'arena', contract.hash)
    path = write_phase_config(run)
    settings, _ = load_yaml(path)
    assert settings['trainer']['keep_newest'] >= 10_000
    path.write_text(path.read_text().replace('train_ratio: 1.0', 'train_ratio: 0.5'))
    assert load_yaml(write_phase_config(run))[0]['trainer']['train_ratio'] == 0.5


def test_a_given_domain_is_respected(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '42')
    assert free_domain_id() == 42
    monkeypatch.delenv('ROS_DOMAIN_ID')
    assert 1 <= free_domain_id() <= 101


@pytest.mark.parametrize(
    'arguments', [['--minutes', '0'], ['--seed', '-1'], ['--demonstrations', '-5']]
)
def test_impossible_options_are_named(arguments, capsys):
    with pytest.raises(SystemExit):
        demo.main(arguments)
    assert f'found {arguments[1]}' in capsys.readouterr().err


def test_an_unknown_robot_is_named(tmp_path, capsys):
    assert demo.main(['--robot', 'walker', '--out', str(tmp_path / 'run')]) == 2
    assert "robot 'walker': no contract" in capsys.readouterr().err
