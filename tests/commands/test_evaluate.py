import json

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.commands import evaluate
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore

CONTRACT = contracts.load('arena')


def publish(store, bias=(0.0, 0.0), name='navigator'):
    """Publish a policy that always does the same: low + (tanh(bias) + 1) / 2 * (high - low)."""
    size = FeatureBuilder(CONTRACT).size
    tensors = {
        'trunk.0.weight': np.zeros((4, size)),
        'trunk.0.bias': np.zeros(4),
        'mean.weight': np.zeros((2, 4)),
        'mean.bias': np.array(bias),
        'log_std.weight': np.zeros((2, 4)),
        'log_std.bias': np.full(2, -1.0),
        'input_mean': np.zeros(size),
        'input_std': np.ones(size),
    }
    manifest = {
        'policy': {
            'kind': 'gaussian_tanh_mlp',
            'hidden': [4],
            'activation': 'relu',
            'layer_norm': False,
            'input_size': size,
            'action_size': 2,
            'action_low': CONTRACT.action_low.tolist(),
            'action_high': CONTRACT.action_high.tolist(),
            'log_std_bounds': [-5, 2],
        },
        'contract': CONTRACT.to_dict(),
        'contract_hash': CONTRACT.hash,
    }
    return store.publish(name, {k: v.astype(np.float32) for k, v in tensors.items()}, manifest)


@pytest.fixture
def models(tmp_path):
    store = ModelStore(tmp_path / 'models')
    publish(store, bias=(3.0, 0.0))  # Full speed ahead.
    publish(store, bias=(-1.0986, 0.0))  # Forward speed 0.05 m/s: a quarter of the range.
    return store


def test_a_version_is_scored_on_given_layouts_and_written(models, tmp_path):
    layouts = tmp_path / 'layouts.json'
    # A goal straight ahead in the middle lane, then one behind the robot's back.
    ahead, behind = [{'start': [-2, 0, 0], 'goal': [0, 0]}, {'start': [0, 0, 0], 'goal': [-2, 0]}]
    layouts.write_text(json.dumps([{'seed': 10_000_003, **ahead}, {'seed': 5, **behind}]))
    path = tmp_path / 'score.json'
    arguments = ['--model', 'navigator@1', '--models', str(models.root), '--workers', '1']
    assert evaluate.main([*arguments, '--layouts', str(layouts), '--json', str(path)]) == 0
    score = json.loads(path.read_text())
    assert (score['model'], score['version'], score['robot']) == ('navigator', 1, 'arena')
    first, second = score['navigation']['drives']
    assert first['start'] == [-2, 0, 0]
    assert second['goal'] == [-2, 0]
    assert not second['success']
    for drive in (first, second):
        xs, ys = np.array(drive['path']).T
        assert (np.diff(xs) > -0.01).all()  # It only drives ahead,
        assert abs(ys).max() < 0.1 or drive['reason'] == 'collision'  # and straight.


def test_without_a_version_the_one_that_serves_is_scored(models, tmp_path):
    path = tmp_path / 'score.json'
    arguments = ['--model', 'navigator', '--models', str(models.root), '--episodes', '2']
    assert evaluate.main([*arguments, '--workers', '1', '--json', str(path), '--baselines']) == 0
    score = json.loads(path.read_text())
    assert score['version'] == 2
    assert score['navigation']['time_out_rate'] + score['navigation']['collision_rate'] == 1
    assert [b['policy'] for b in score['baselines']] == ['random', 'straight', 'geodesic']


def test_a_waypoint_course_is_driven_and_scored_goal_by_goal(models, tmp_path):
    path = tmp_path / 'score.json'
    arguments = ['--model', 'navigator@1', '--models', str(models.root), '--episodes', '2']
    course = ['--task', 'waypoint_course', '--baselines']
    assert evaluate.main([*arguments, *course, '--workers', '1', '--json', str(path)]) == 0
    score = json.loads(path.read_text())
    assert score['task'] == 'waypoint_course'
    guide = next(b for b in score['baselines'] if b['policy'] == 'geodesic')
    assert guide['success_rate'] == 1
    assert guide['path_efficiency'] > 0.7
    assert 0 < guide['cross_track_error_m'] < 0.3
    waypoints = np.array([(1.5, 1.65), (1.5, 0.0), (-1.5, 0.0), (-1.5, -1.65)])
    for drive in guide['drives']:
        assert drive['goal'] == waypoints[-1].tolist()
        gaps = np.linalg.norm(np.array(drive['path'])[:, None] - waypoints, axis=2)  # [N, 4]
        at = 0
        for index in range(4):  # It was at each of them, in this order, and at the last it ended.
            near = np.flatnonzero(gaps[at:, index] <= 0.31)
            assert near.size, f'waypoint {index} was left out'
            at += near[0]
        assert at == len(gaps) - 1
        corners = [drive['start'][:2], *waypoints.tolist()]
        straight = np.linalg.norm(np.diff(corners, axis=0), axis=1).sum()
        assert drive['shortest_m'] >= straight - 0.01
        assert drive['driven_m'] > straight - 4 * 0.3


def test_goals_of_layouts_do_not_fit_a_course(models, tmp_path, capsys):
    layouts = tmp_path / 'layouts.json'
    layouts.write_text(json.dumps([{'seed': 3, 'goal': [0, 0]}]))
    arguments = ['--model', 'navigator@1', '--models', str(models.root), '--workers', '1']
    course = ['--task', 'waypoint_course', '--layouts', str(layouts)]
    assert evaluate.main([*arguments, *course]) == 2
    assert 'a course has goals of its own' in capsys.readouterr().err


def test_recorded_actions_are_compared_offline(models, tmp_path):
    datasets = pytest.importorskip('robot_learning.trajectory.datasets')
    from robot_learning.commands.collect import collect

    collect(CONTRACT, 'random', 200, tmp_path / 'episodes')
    path = tmp_path / 'score.json'
    arguments = ['--model', 'navigator@1', '--models', str(models.root)]
    data = ['--data', str(tmp_path / 'episodes')]
    assert evaluate.main([*arguments, *data, '--json', str(path)]) == 0
    offline = json.loads(path.read_text())['offline']
    episodes = list(datasets.read_episodes(tmp_path / 'episodes', CONTRACT))
    actions = np.concatenate([episode.action[1:-1] for episode in episodes])
    assert offline['num_steps'] == len(actions)
    always = np.array([-0.1 + (np.tanh(3.0) + 1) / 2 * 0.6, 0.0])
    expected = np.abs(actions - always).mean(0)
    assert offline['mean_absolute_error'] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ('model', 'message'),
    [('navigator@7', 'version 7 is not in'), ('pilot', "'pilot'"), ('navigator@x', 'no number')],
)
def test_a_model_that_is_not_there_is_named(models, model, message, capsys):
    assert evaluate.main(['--model', model, '--models', str(models.root)]) == 2
    assert message in capsys.readouterr().err


def test_a_model_of_another_robot_is_refused(models, capsys):
    arguments = ['--model', 'navigator@1', '--models', str(models.root), '--robot', 'turtlebot3']
    assert evaluate.main(arguments) == 2
    assert 'was made for another robot contract' in capsys.readouterr().err


def test_a_version_with_memory_forgets_between_drives_and_is_compared_offline(tmp_path):
    torch = pytest.importorskip('torch')
    from robot_learning.commands.collect import main as collect
    from robot_learning.models.sequence_policy import SequencePolicy

    torch.manual_seed(0)
    network = SequencePolicy(FeatureBuilder(CONTRACT).size, 2, (8,), 'lstm', 8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)
    tensors, spec = network.published(CONTRACT.action_low, CONTRACT.action_high)
    manifest = {'policy': spec, 'contract': CONTRACT.to_dict(), 'contract_hash': CONTRACT.hash}
    arrays = {name: value.numpy() for name, value in tensors.items()}
    ModelStore(tmp_path / 'models').publish('navigator', arrays, manifest)
    layout = {'seed': 7, 'start': [-2, 0, 0], 'goal': [0, 0]}
    (tmp_path / 'layouts.json').write_text(json.dumps([layout, layout]))
    model = ['--model', 'navigator@1', '--models', str(tmp_path / 'models')]
    data = tmp_path / 'driven'
    assert collect([*model, '--steps', '30', '--out', str(data)]) == 0
    path = tmp_path / 'score.json'
    more = ['--layouts', str(tmp_path / 'layouts.json'), '--data', str(data), '--workers', '1']
    assert evaluate.main([*model, *more, '--json', str(path)]) == 0
    score = json.loads(path.read_text())
    first, second = score['navigation']['drives']
    assert first['path'] == second['path']
    # What it drove itself it predicts, as far as commands go through 32 bits.
    assert max(score['offline']['mean_absolute_error']) < 1e-4


def test_a_policy_is_told_what_the_gate_made_of_its_commands(models):
    from robot_learning.commands.simulated_navigation import (
        SimulatedNavigation,
        stored_policy_factory,
    )
    from robot_learning.evaluation.layouts import LayoutChoice

    world = SimulatedNavigation(CONTRACT)
    policy = stored_policy_factory(CONTRACT, models.root, 'navigator', 1)(world)
    heard = []
    policy._policy.executed = lambda action: heard.append(action.tolist())
    driven = []
    for _ in range(2):
        observation = world.reset(LayoutChoice(10_000_003))
        policy.reset(0)
        assert len(heard) == len(driven)  # Nothing is left from the drive before.
        for _ in range(4):
            observation = world.step(policy.act(observation) * 9).observation
            driven.append(world.executed.tolist())
        policy.act(observation)
    assert heard == driven
    limit = CONTRACT.action_high[0]
    assert max(action[0] for action in driven) <= limit
