import json
import sys
from pathlib import Path

import pytest
import yaml
from robot_learning.commands import bags

sys.path.append(str(Path(__file__).parent.parent / 'trajectory'))
from camera_robot import camera_robot, fill
from foreign_sets import write_lerobot, write_robomimic
from recordings import assert_equal, robot
from robot_learning.trajectory.store import TrajectoryStore


@pytest.fixture
def store(tmp_path):
    return fill(tmp_path / 'recorded')


@pytest.fixture
def contract_file(tmp_path):
    path = tmp_path / 'cyclops.yaml'
    path.write_text(yaml.safe_dump(camera_robot().to_dict()))
    return str(path)


def exported(store, kind, out, *more):
    return bags.main(['export', str(store.root), '--format', kind, '--out', str(out), *more])


@pytest.mark.parametrize(
    ('kind', 'name', 'more'),
    [
        ('robomimic', 'o.hdf5', ['--normalize-actions']),
        ('lerobot', 'o', ['--images', 'png', '--fps', '10', '--task', 'go there']),
        ('npz', 'o', ['--compress']),
    ],
)
def test_export_and_import_give_the_same_store(
    store, contract_file, tmp_path, capsys, kind, name, more
):
    report = tmp_path / 'report.json'
    assert exported(store, kind, tmp_path / name, *more, '--json', str(report)) == 0
    printed = capsys.readouterr().out
    assert 'exported 30 steps in 4 episodes' in printed
    losses = json.loads(report.read_text())['losses']
    assert all(f'- {text}' in printed for text in losses)
    assert ('does not hold:' in printed) == (kind != 'npz')
    arguments = ['import', str(tmp_path / name), '--robot', contract_file]
    assert bags.main([*arguments, '--out', str(tmp_path / 'back'), '--json', str(report)]) == 0
    assert f'kept 30 steps in 4 episodes of {kind}' in capsys.readouterr().out
    assert json.loads(report.read_text())['sessions'] == ['monday', 'tuesday']
    back = TrajectoryStore(tmp_path / 'back')
    for found, expected in zip(back.episodes(), store.episodes(), strict=True):
        assert_equal(found, expected)


def test_a_bag_is_told_from_a_data_set(store, contract_file, tmp_path, capsys):
    assert exported(store, 'mcap', tmp_path / 'bag', '--episodes', '0-1') == 0
    assert 'covariances' in capsys.readouterr().out
    arguments = ['import', str(tmp_path / 'bag'), '--robot', contract_file]
    assert bags.main([*arguments, '--out', str(tmp_path / 'back')]) == 0
    assert 'actions: policy' in capsys.readouterr().out
    assert bags.main([*arguments, '--map', 'a=pose']) == 2
    assert 'is a bag, whose topics the contract names' in capsys.readouterr().err
    assert bags.main([*arguments, '--format', 'lerobot']) == 2
    assert 'info.json: cannot be read' in capsys.readouterr().err


def test_foreign_fields_are_mapped_on_the_command_line(tmp_path, capsys):
    observation = robot().to_dict()['observation']
    for name in ('wheels', 'goal'):
        observation[name]['required'] = False
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump(robot(observation=observation).to_dict()))
    lift = write_robomimic(tmp_path / 'lift.hdf5')
    out = str(tmp_path / 'store')
    arguments = ['import', str(lift), '--robot', str(path), '--out', out]
    assert bags.main(arguments) == 2
    assert '--map theirs=ours' in capsys.readouterr().err
    maps = ['--map', 'eef_pos=pose', '--map', 'joints[0:2]=velocity']
    assert bags.main([*arguments, *maps]) == 0
    printed = capsys.readouterr().out
    assert 'assumed: wheels: is not in the data, so that it is a gap.' in printed
    assert (tmp_path / 'store' / 'lift').is_dir()
    old = write_lerobot(tmp_path / 'old', pictures='none', version='v2.1')
    assert bags.main(['import', str(old), '--robot', str(path), '--out', out]) == 2
    assert 'version v2.1, expected v3' in capsys.readouterr().err
    assert bags.main([*arguments, *maps, '--namespace', 'left']) == 2
    assert 'which has no --namespace' in capsys.readouterr().err


def test_options_of_another_format_are_a_mistake(store, tmp_path, capsys):
    assert exported(store, 'npz', tmp_path / 'o', '--fps', '10', '--images', 'png') == 2
    assert 'format npz: has no --fps, --images. Leave it out' in capsys.readouterr().err
    assert exported(store, 'mcap', tmp_path / 'o', '--compress') == 2
    assert 'format mcap: has no --compress' in capsys.readouterr().err
    assert exported(store, 'npz', tmp_path / 'o', '--robot', 'husky') == 2
    assert "was recorded with another contract ('cyclops')" in capsys.readouterr().err
    assert exported(store, 'npz', tmp_path / 'o') == exported(store, 'npz', tmp_path / 'p') == 0
    assert exported(store, 'npz', tmp_path / 'o') == 2
    assert f'{tmp_path / "o"}: exists already' in capsys.readouterr().err
