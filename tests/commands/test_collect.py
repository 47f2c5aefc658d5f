import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.commands import collect
from robot_learning.simulation.episodes import SEED_LIMIT
from robot_learning.simulation.world import World, WorldConfig
from robot_learning.trajectory.store import TrajectoryStore


def test_whole_episodes_of_the_driver_are_stored(tmp_path, capsys):
    assert collect.main(['--driver', 'random', '--steps', '60', '--out', str(tmp_path / 's')]) == 0
    episodes = list(TrajectoryStore(tmp_path / 's').episodes())
    driven = sum(len(episode) - 1 for episode in episodes)
    assert driven >= 60
    assert f'{driven} steps of the random driver' in capsys.readouterr().out
    for episode in episodes:
        assert episode.is_complete
        assert episode.is_first.tolist() == [True] + [False] * (len(episode) - 1)
        assert (episode.model_version == -1).all()
        assert np.isfinite(episode.reward).all()


def test_the_camera_is_recorded_on_request(tmp_path):
    world = World(contracts.load('arena'), WorldConfig())
    if world.camera is None:
        pytest.skip(world.camera_status)
    world.close()
    arguments = ['--driver', 'random', '--steps', '5']
    assert collect.main([*arguments, '--out', str(tmp_path / 'blind')]) == 0
    assert collect.main([*arguments, '--camera', '--out', str(tmp_path / 'seeing')]) == 0
    blind, seeing = (
        next(TrajectoryStore(tmp_path / name).episodes()) for name in ('blind', 'seeing')
    )
    assert not blind.present.get('camera', np.zeros(1, bool)).any()
    frames = seeing.observations['camera']
    assert frames.shape == (len(seeing), 64, 64, 3) and frames.dtype == np.uint8
    assert seeing.present['camera'].all() and frames.std() > 1


def test_its_layouts_are_neither_the_loops_nor_those_of_evaluation(tmp_path):
    collect.main(['--driver', 'random', '--steps', '30', '--out', str(tmp_path / 's')])
    seeds = [episode.attributes['seed'] for episode in TrajectoryStore(tmp_path / 's').episodes()]
    assert min(seeds) >= 2 * SEED_LIMIT


def test_the_same_seed_gives_the_same_recording(tmp_path):
    for name in ('a', 'b'):
        collect.main(['--steps', '50', '--seed', '3', '--out', str(tmp_path / name)])
    a, b = (list(TrajectoryStore(tmp_path / name).episodes()) for name in ('a', 'b'))
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert np.array_equal(left.action, right.action)
        assert np.array_equal(left.observations['scan'], right.observations['scan'])


def test_a_second_collection_of_a_seed_is_refused(tmp_path, capsys):
    arguments = ['--driver', 'random', '--steps', '30', '--out', str(tmp_path / 's')]
    assert collect.main(arguments) == 0
    before = [path.read_bytes() for path in TrajectoryStore(tmp_path / 's').segments()]
    assert collect.main(arguments) == 2
    assert 'random_0000' in capsys.readouterr().err
    assert [p.read_bytes() for p in TrajectoryStore(tmp_path / 's').segments()] == before


@pytest.mark.parametrize('arguments', [['--steps', '0'], ['--seed', '-1'], ['--noise', 'nan']])
def test_impossible_settings_are_refused(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as end:
        collect.main([*arguments, '--out', str(tmp_path / 's')])
    assert end.value.code == 2
    assert arguments[0] in capsys.readouterr().err
