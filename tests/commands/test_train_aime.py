import json
import re

import numpy as np
import pytest
import torch
import yaml
from robot_learning.commands import evaluate, train
from robot_learning.commands.train_aime import load_imitation, load_settings, num_epochs
from robot_learning.contract import robots_directory
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore
from robot_learning.models.aime.policy import load_actor
from robot_learning.phases.passes_config import PassesConfig

TINY = {
    'phase': 'aime',
    'passes': {'epochs': 2, 'batch_size': 4, 'report_updates': 1},
    'config': {
        'length': 8,
        'stride': 8,
        'open_loop_context': 3,
        'model': {
            'image_size': 32, 'depth': 4, 'hidden': 16, 'latent': 5, 'components': 3,
            'slot_size': 8, 'codes': 16, 'code_size': 8, 'context_frames': 2,
            'context_latents': 3, 'context_size': 8, 'context_heads': 2, 'context_layers': 1,
        },
    },
}  # fmt: skip
IMITATION = {
    'phase': 'action_inference',
    'passes': {'epochs': 1, 'batch_size': 4},
    'config': {'length': 8, 'stride': 8, 'hidden': 8},
}


def episode(seed, count=40):
    generator = torch.Generator().manual_seed(seed)
    return {
        'observations': torch.randint(0, 255, (count, 3, 32, 32), generator=generator).byte(),
        'actions': torch.rand(count, 2, generator=generator) * 4 - 1,
        'rewards': torch.zeros(count),
        'dones': torch.arange(count) == count - 1,
    }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('aime')
    torch.save([episode(seed) for seed in range(3)], folder / 'video.pt')
    (folder / 'tiny.yaml').write_text(yaml.safe_dump(TINY))
    (folder / 'imitation.yaml').write_text(yaml.safe_dump(IMITATION))
    return folder


def run(folder, *options, config='tiny.yaml'):
    return train.main(
        ['--mode', 'aime', '--models', str(folder / 'models'), '--config', str(folder / config),
         '--held-out', '0.3', *options]
    )  # fmt: skip


@pytest.fixture(scope='module')
def trained(folder):
    options = ('--data', str(folder / 'video.pt'), '--name', 'eyes', '--seed', '3')
    assert run(folder, *options, '--json', str(folder / 'fit.json')) == 0
    return folder


def test_a_version_is_published_with_what_was_measured(trained):
    result = json.loads((trained / 'fit.json').read_text())
    assert result['update'] == 4 and result['version'] >= 1 and result['seed'] == 3
    assert result['training'] == {'episodes': 2, 'steps': 80, 'windows': 10}
    assert result['held_out']['episodes'] == 1
    manifest = ModelStore(trained / 'models').manifest('eyes', result['version'])
    assert manifest['phase'] == manifest['policy']['kind'] == 'aime'
    assert np.allclose(manifest['policy']['action_low'], [-1, -1], atol=0.2)
    assert {'held_out/negative_elbo', 'held_out/open_loop_psnr'} <= set(manifest['metrics'])
    assert (trained / 'reports' / 'eyes-aime.html').is_file()
    assert (trained / 'reports' / 'eyes-aime-components.png').is_file()


def test_a_version_is_measured_and_drawn(trained, capsys):
    options = [
        '--mode', 'aime', '--model', 'eyes', '--models', str(trained / 'models'),
        '--data', str(trained / 'video.pt'), '--json', str(trained / 'score.json'),
        '--pictures', str(trained / 'pictures'),
    ]  # fmt: skip
    assert evaluate.main(options) == 0
    found = json.loads((trained / 'score.json').read_text())['aime']
    assert found['windows'] == 15 and found['steps_ahead'] == 5
    psnr = found['measures']['reconstruction_psnr_db']
    assert psnr['interval'][0] < psnr['mean'] < psnr['interval'][1] and psnr['count'] == 15
    assert sum(found['component_shares']) == pytest.approx(1, abs=1e-5)
    for name in ('attention', 'open_loop', 'latent_map'):
        assert (trained / 'pictures' / f'{name}.png').stat().st_size > 5000
    assert evaluate.main(options[2:6]) == 2
    assert 'an AIME model is measured on recordings' in capsys.readouterr().err


def test_a_policy_is_inferred_with_it_and_measured(trained):
    options = ('--imitate-with', 'eyes', '--data', str(trained / 'video.pt'))
    assert run(trained, *options, '--name', 'apprentice', config='imitation.yaml') == 0
    tensors, manifest = ModelStore(trained / 'models').load('apprentice')
    actor = load_actor(tensors, manifest, 'apprentice@1')
    command = actor.act(np.zeros((32, 32, 3), np.uint8))
    assert command.shape == (2,) and manifest['phase'] == 'action_inference'
    options = [
        '--mode', 'aime', '--model', 'apprentice', '--models', str(trained / 'models'),
        '--data', str(trained / 'video.pt'), '--json', str(trained / 'imitation.json'),
    ]  # fmt: skip
    assert evaluate.main(options) == 0
    measures = json.loads((trained / 'imitation.json').read_text())['aime']['measures']
    assert measures['action_error']['count'] == 15


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ([], 'found no --data'),
        (['--data', 'absent.pt'], r'absent\.pt'),
        (['--env', 'arena', '--data', 'x'], 'found --env, expected --data'),
        (['--phase', 'action_inference', '--data', 'x'], 'Name it: --imitate-with NAME'),
    ],
)
def test_wrong_options_are_named(folder, capsys, options, named):
    assert run(folder, *options) == 2
    assert re.search(named, capsys.readouterr().err)


def test_an_unknown_key_is_named_with_its_line(folder):
    (folder / 'wrong.yaml').write_text('phase: aime\nconfig:\n  model: {slotz: 3}\n')
    with pytest.raises(ConfigError, match=r'wrong\.yaml:3: .*slotz: unknown key'):
        load_settings(folder / 'wrong.yaml')
    with pytest.raises(ConfigError, match="is for phase 'aime', expected 'action_inference'"):
        load_imitation(folder / 'wrong.yaml')


def test_the_files_that_ship_are_the_guides():
    passes, config = load_settings()
    assert (passes.learning_rate, passes.batch_size, passes.gradient_norm) == (2e-4, 8, 5.0)
    rotation = config.rotation
    assert (rotation.momentum, rotation.proximity, rotation.angle_steps) == (0.9, 1.0, 3)
    assert config.losses.beta_epochs == 10 and passes.schedule == 'cosine'
    small = robots_directory().parent / 'phases' / 'aime_small.yaml'
    assert load_settings(small)[1].model.components == 15
    assert load_imitation()[1].learns_from == 'evidence'


def test_updates_that_end_earlier_make_fewer_passes():
    config = PassesConfig(epochs=10, batch_size=4, max_updates=25)
    assert num_epochs(config, 42) == 2.5
    assert num_epochs(PassesConfig(epochs=10, batch_size=4), 42) == 10
