"""train and evaluate --mode vision_language, on toy folders and a few rendered scenes."""

import json

import numpy as np
import pytest
import yaml
from grounding_toys import items
from PIL import Image
from robot_learning.commands import evaluate, train
from robot_learning.commands import vision_language_data as source
from robot_learning.commands.evaluate_vision_language import (
    _chance,
    _rank_of_right,
    evaluate_vision_language,
)
from robot_learning.commands.train_vision_language import load_settings
from robot_learning.errors import ConfigError, EnvironmentSetupError
from robot_learning.model_store import ModelStore
from robot_learning.models.dual_encoder import DualEncoderConfig
from robot_learning.serving import grounding
from robot_learning.simulation.rendered_scenes import RenderedScenes, SceneConfig
from robot_learning.trajectory import captioned_images

SETTINGS = {
    'phase': 'vision_language',
    'num_scenes': 12,
    'num_held_out': 6,
    'config': {
        'model': {
            'height': 32,
            'embedding': 8,
            'image': {'channels': [6, 8], 'blocks': 1, 'features': 8, 'pool': [2, 2]},
            'text': {'layers': 1, 'heads': 2, 'width': 8, 'feedforward': 16},
        },
        'passes': {'epochs': 1, 'batch_size': 4},
    },
}


@pytest.fixture
def call(tmp_path):
    """Run train, or evaluate, in a folder; return its exit code and what it wrote as JSON."""
    config = tmp_path / 'small.yaml'
    config.write_text(yaml.safe_dump(SETTINGS))

    def call(command, *arguments, config=config):
        out = tmp_path / 'out.json'
        out.unlink(missing_ok=True)
        given = ['--mode', 'vision_language', '--models', str(tmp_path / 'models')]
        if command is train:
            given += ['--config', str(config), '--name', 'eyes']
        else:
            given += ['--model', 'eyes']
        code = command.main([*given, '--json', str(out), *map(str, arguments)])
        return code, json.loads(out.read_text()) if out.exists() else None

    call.folder = tmp_path
    return call


@pytest.fixture
def toys(tmp_path):
    folder = tmp_path / 'toys'
    folder.mkdir()
    lines = []
    for number, item in enumerate(items(24)):
        Image.fromarray(item.image).save(folder / f'{number}.png')
        lines.append(json.dumps({'image': f'{number}.png', 'caption': item.captions[0]}))
    (folder / 'captions.jsonl').write_text('\n'.join(lines))
    return folder


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / 'shop'
    folder.mkdir()
    rows = ['file,split,fine']
    for number, item in enumerate(items(12)):
        Image.fromarray(item.image).save(folder / f'{number}.png')
        rows.append(f'{number}.png,{"val" if number % 3 == 0 else "train"},{number % 2}')
    (folder / 'meta.csv').write_text('\n'.join(rows))
    names = [{'fine': n, 'name': f'Kind-{n}', 'description': f'of kind {n}'} for n in range(2)]
    (folder / 'class_descriptions.jsonl').write_text('\n'.join(map(json.dumps, names)))
    return folder


def test_a_folder_is_learned_and_what_was_held_out_is_measured(call, toys):
    code, result = call(train, '--data', toys, '--held-out', 0.3)
    assert code == 0 and result['phase'] == 'vision_language' and result['version'] == 1
    assert result['training']['rows'] + result['held_out']['rows'] == 24
    assert (call.folder / 'reports' / 'eyes-vision_language.html').is_file()
    code, measured = call(evaluate, '--data', toys)
    scores = measured['vision_language']['toys']
    assert scores['measured_on'] == 'those held out while learning'
    assert scores['pictures'] == result['held_out']['rows']
    recall = scores['picture_of_caption']['recall_at_5']
    low, high = recall['interval_95']
    assert low <= recall['value'] <= high and recall['count'] == scores['captions']


def test_classes_are_named_by_their_descriptions(call, shop):
    assert call(train, '--data', shop)[0] == 0
    scores = call(evaluate, '--data', shop)[1]['vision_language']['shop']
    assert scores['pictures'] == 4 and scores['classes'] == 2 and scores['chance'] == 0.5
    assert scores['measured_on'] == 'those marked val or test'
    assert scores['by_description']['recall_at_1']['count'] == 4


def test_a_set_it_has_not_learned_from_is_measured_whole(call, toys, shop):
    assert call(train, '--data', shop)[0] == 0
    scores = call(evaluate, '--data', toys)[1]['vision_language']['toys']
    assert scores['pictures'] == 24 and 'has not learned' in scores['measured_on']


def test_scenes_of_the_world_are_learned_and_measured(call):
    try:
        RenderedScenes(SceneConfig(height=16, width=16)).close()
    except EnvironmentSetupError as error:
        pytest.skip(str(error))
    code, result = call(train)
    assert code == 0 and result['training'] == {'rows': 12, 'captions': 36, 'phrases': 144}
    assert 0 <= result['metrics']['held_out/grounding_accuracy'] <= 1
    assert len(list((call.folder / 'scenes').glob('world-*.npz'))) == 2
    tensors, manifest = ModelStore(call.folder / 'models').load('eyes', 1)
    scores = evaluate_vision_language(tensors, manifest, 'eyes@1', [], 5)
    world = scores['world']
    assert world['scenes'] == 5 and world['grounding']['phrases'] == 60
    assert set(world['grounding']['accuracy_by_sort']) == {'name', 'relation', 'extreme'}
    assert world['latency_ms']['both_p50'] > 0
    _, again = call(train)  # Finished: nothing more is rendered or learned.
    assert again['update'] == result['update']
    out = call.folder / 'more'
    _, more = call(train, '--scenes', 20, '--output', out)
    assert (more['training']['rows'], more['held_out']['rows']) == (20, 2)


def test_a_pretrained_encoder_is_trained_on_and_served(call, toys, tmp_path):
    transformers = pytest.importorskip('transformers')
    clip = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    transformers.CLIPVisionModel(clip).save_pretrained(tmp_path / 'clip')
    code, _ = call(train, '--data', toys, '--held-out', 0.3, '--pretrained', tmp_path / 'clip')
    assert code == 0
    model, _ = grounding.load(tmp_path / 'models', 'eyes')
    look = model.look(np.zeros((40, 64, 3), np.uint8))
    (found,) = model.find(look, ['a red square'])
    assert 0 <= found.confidence <= 1 and np.isfinite(found.x)
    assert np.linalg.norm(model.text_embedding('a red square')) == pytest.approx(1, abs=1e-4)
    assert call(evaluate, '--data', toys)[0] == 0


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'config': {'modle': {}}}, 'modle'),
        ({'config': {'model': {'height': 30}}}, 'height'),
        ({'num_scenes': 0}, 'num_scenes'),
        ({'phase': 'intent'}, "is for phase 'intent'"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, change, said):
    path = tmp_path / 'wrong.yaml'
    path.write_text(yaml.safe_dump({**SETTINGS, **change}))
    with pytest.raises(ConfigError, match=said):
        load_settings(path)


def test_the_settings_that_ship_are_sound():
    assert load_settings().phase.model.height == 72


@pytest.mark.parametrize(
    ('data', 'said'),
    [
        ('absent', 'is no folder, expected one with captions.jsonl'),
        ('toys', 'cannot be read as a picture'),
    ],
)
def test_data_that_cannot_be_read_are_one_line(call, toys, capsys, data, said):
    (toys / '3.png').write_bytes(b'nothing')
    code, _ = call(train, '--data', call.folder / data)
    error = capsys.readouterr().err
    assert code == 2 and said in error and 'Traceback' not in error


def test_an_environment_is_refused(call, capsys):
    assert call(train, '--env', 'arena')[0] == 2
    assert 'expected --data' in capsys.readouterr().err


def test_two_folders_of_one_name_are_refused(call, toys, capsys):
    assert call(train, '--data', toys, '--data', toys)[0] == 2
    assert 'expected each once' in capsys.readouterr().err


def test_a_cell_shows_an_object_that_covers_enough_of_it():
    size = source.Sized(16, 16, 4)
    mask = np.zeros((16, 16), bool)
    mask[0:4, 0:6] = True
    assert source.cells_of(mask, size).nonzero()[0].tolist() == [0, 1]
    mask[:] = False
    mask[9, 9] = True  # However little, one cell shows it.
    assert source.cells_of(mask, size).nonzero()[0].tolist() == [10]


def test_pictures_of_the_world_keep_their_aspect():
    assert source.size_of(DualEncoderConfig(height=72), 4) == source.Sized(72, 96, 4)
    assert source.size_of(DualEncoderConfig(height=72, width=72), 4).num_cells == 324


def test_what_was_learned_from_is_left_out(toys):
    images = captioned_images.read(toys)
    name = source.source_name(images, 0.3, 7)
    rows, _ = source.unseen(images, [name])
    assert rows == images.split(0.3, 7)[1]
    assert len(source.unseen(images, ['another, sha256 0, held out 0.3 with seed 7'])[0]) == 24


def test_ranks_and_chance_are_those_of_paper_and_pencil():
    similarity = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.9]])
    own = np.array([[True, False, False], [False, True, False]])
    assert _rank_of_right(similarity, own).tolist() == [0, 2]
    assert _chance(own, 1) == pytest.approx(1 / 3)
    assert _chance(np.array([[True, True, False, False]]), 2) == pytest.approx(1 - 1 / 6)
