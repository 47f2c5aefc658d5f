import json

import numpy as np
import pytest
from robot_learning.commands import train
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / 'ppo.yaml').write_text(
        'phase: ppo\nconfig: {hidden: [16], num_steps: 256, batch_size: 64, num_epochs: 2}\n'
    )
    (tmp_path / 'sac.yaml').write_text(
        'phase: sac\nconfig: {hidden: [8], batch_size: 16}\ntrainer: {warmup_steps: 100}\n'
    )

    def run(*arguments, algorithm='ppo', env='CartPole-v1', steps=512, name='one'):
        options = [
            '--mode=policy',
            f'--algorithm={algorithm}',
            f'--env={env}',
            f'--num-steps={steps}',
            '--num-envs=4',
            f'--name={name}',
            f'--models={tmp_path / "models"}',
            f'--config={tmp_path / algorithm}.yaml',
            f'--json={tmp_path / "result.json"}',
        ]
        code = train.main([*options, *arguments])
        file = tmp_path / 'result.json'
        return code, json.loads(file.read_text()) if code == 0 else None, capsys.readouterr()

    run.folder = tmp_path
    return run


def test_ppo_trains_in_a_gymnasium_environment(run):
    code, result, captured = run()
    assert code == 0
    assert (result['phase'], result['environment']) == ('ppo', 'CartPole-v1')
    assert (result['environment_step'], result['update']) == (512, 2)
    assert len(result['evaluation']['returns']) == 10
    assert f'return {result["evaluation"]["return"]:.1f}' in captured.out
    manifest = ModelStore(run.folder / 'models').manifest('one', result['version'])
    assert manifest['policy']['kind'] == 'categorical_mlp'
    assert manifest['provenance']['sources'] == ['CartPole-v1']
    assert list((run.folder / 'tensorboard' / 'one-ppo').iterdir())
    page = (run.folder / 'reports' / 'one-ppo.html').read_text()
    assert 'acting in CartPole-v1, 4 side by side' in page
    assert 'in 10 episodes without exploration' in page


def test_sac_trains_in_one_too_and_wandb_gets_its_curves(run, monkeypatch):
    begun = []

    class Spy:
        def __init__(self, folder, name, config):
            begun.append((name, config['source']))

        def write(self, progress):
            begun.append(progress.state)

        def close(self):
            begun.append('closed')

    monkeypatch.setattr('robot_learning.phases.wandb_curves.WandbCurves', Spy)
    code, result, _ = run('--track=wandb', algorithm='sac', env='Pendulum-v1', steps=200)
    assert code == 0
    assert begun[0] == ('one-sac', 'Pendulum-v1')
    assert begun[-2:] == ['finished', 'closed']
    assert result['update'] == 100
    manifest = ModelStore(run.folder / 'models').manifest('one', result['version'])
    assert manifest['policy']['action_high'] == [2.0]


def test_the_same_command_goes_on_bit_by_bit(run):
    run(steps=1024, name='whole')
    run(steps=512, name='parts')
    _, result, _ = run(steps=1024, name='parts')
    assert result['update'] == 4
    store = ModelStore(run.folder / 'models')
    whole, parts = (store.load(name)[0] for name in ('whole', 'parts'))
    assert [key for key in whole if not np.array_equal(whole[key], parts[key])] == []
    folders = [
        CheckpointFolder(run.folder / 'checkpoints' / f'{n}-ppo') for n in ('whole', 'parts')
    ]
    first, second = (folder.newest().content for folder in folders)
    assert first['environments'] == second['environments']


def test_a_robots_world_gives_a_version_that_its_nodes_can_serve(run):
    from robot_learning import contract as contracts
    from robot_learning.serving.policy import build_policy

    code, result, _ = run('--num-envs=2', env='arena', steps=256)
    assert code == 0
    tensors, manifest = ModelStore(run.folder / 'models').load('one', result['version'])
    contract = contracts.load('arena')
    assert manifest['contract_hash'] == contract.hash
    policy = build_policy(tensors, manifest, 'one')
    np.testing.assert_allclose(policy.spec.action_high, contract.action_high)


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        ([], 'neither --data nor --env'),
        (['--env=CartPole-v1', '--data=x'], 'both --data and --env'),
        (['--env=CartPole-v1', '--mode=all'], '--mode all: found --env'),
        (['--data=x', '--mode=all', '--config=x.yaml'], '--mode all: found --config'),
        (['--env=NoSuchThing-v0', '--mode=policy'], 'NoSuchThing-v0: no such environment'),
        (['--env=CartPole-v1', '--mode=policy', '--algorithm=sac'], 'actions are choices'),
        (['--env=CartPole-v1', '--mode=supervised'], 'BehaviorCloning'),
    ],
)
def test_what_does_not_go_together_is_one_clear_error(tmp_path, capsys, arguments, named):
    code = train.main([*arguments, f'--models={tmp_path / "models"}', '--num-steps=8'])
    captured = capsys.readouterr()
    assert code == 2
    assert named in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_ppo_on_recorded_data_is_one_clear_error(tmp_path, capsys):
    import sys
    from pathlib import Path

    import yaml

    sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
    from point_mass import point_contract, write_store

    write_store(tmp_path / 'store', 10, seed=0)
    (tmp_path / 'point.yaml').write_text(yaml.safe_dump(point_contract().to_dict()))
    code = train.main(
        [
            '--mode=policy',
            '--algorithm=ppo',
            f'--data={tmp_path / "store"}',
            f'--robot={tmp_path / "point.yaml"}',
            f'--models={tmp_path / "models"}',
        ]
    )
    assert code == 2
    assert 'ppo: learns only from what its own newest version drives' in capsys.readouterr().err
