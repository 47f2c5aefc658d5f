import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from point_mass import PERIOD_NS, episodes, from_arrays, point_contract, write_store
from robot_learning import contract as contracts
from robot_learning.commands import evaluate
from robot_learning.commands.evaluate_world_model import CONTEXT
from robot_learning.errors import NotEnoughDataError
from robot_learning.evaluation import open_loop_pictures
from robot_learning.evaluation.open_loop import OpenLoop, errors, open_loop, stretches
from robot_learning.evaluation.open_loop_curves import Curves, Path
from robot_learning.evaluation.open_loop_rows import rows_of
from robot_learning.evaluation.open_loop_scenes import Fans
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.models.world_model import WorldModel, WorldModelConfig

SMALL = WorldModelConfig(deter=16, hidden=16, depth=2, groups=4, classes=4, blocks=1)


def walk(count):
    """An episode whose place is the number of the step."""
    zeros = [0.0] * count
    return from_arrays(0, np.arange(float(count)), zeros, zeros, [False] * count)


def model_of(images=None):
    generator = torch.Generator().manual_seed(0)
    blocks = {'place': slice(0, 2), 'speed': slice(2, 3)}
    return WorldModel(3, 2, SMALL, blocks, images or {}, generator).eval()


def pieces(count, length, images=(), seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            'observation': rng.normal(size=(length, 3)).astype(np.float32),
            'action': rng.uniform(-1, 1, (length, 2)).astype(np.float32),
            'reward': rng.normal(size=length).astype(np.float32),
            'is_first': np.arange(length) == 0,
            **{
                f'image/{name}': rng.integers(0, 255, (length, 64, 64, 3), np.uint8)
                for name in images
            },
        }
        for _ in range(count)
    ]


def imagined(model, data, num_context=3):
    return open_loop(model, data, num_context, torch.Generator().manual_seed(1), num_samples=2)


def test_the_future_is_imagined_from_actions_alone():
    model, data = model_of(), pieces(2, 8)
    before = imagined(model, data)
    for piece in data:
        piece['observation'][3:] += 100
    after = imagined(model, data)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.predicted['place'], other.predicted['place'])
        assert one.predicted['place'].shape == (5, 2) and one.predicted['speed'].shape == (5, 1)
        assert not np.array_equal(one.observed['place'], other.observed['place'])


def test_the_last_action_seen_and_all_but_the_very_last_matter():
    model, data = model_of(), pieces(1, 8)
    (usual,) = imagined(model, data)
    changes = {}
    for step in range(8):
        (piece,) = pieces(1, 8)
        piece['action'][step] *= -1
        (other,) = imagined(model, [piece])
        differs = ~np.isclose(other.predicted['place'], usual.predicted['place']).all(1)
        changes[step] = int(np.argmax(differs)) if differs.any() else None
    # The action of step 2, chosen from the last step seen, already bends the first prediction.
    assert changes[2] == 0 and changes[4] == 2 and changes[6] == 4
    assert changes[7] is None


def test_images_are_compared_between_0_and_1():
    (run,) = imagined(model_of({'camera': (64, 64, 3)}), pieces(1, 6, ['camera']))
    assert run.predicted['image/camera'].shape == (3, 64, 64, 3)
    for array in (run.observed['image/camera'], run.predicted['image/camera']):
        assert array.min() >= 0 and array.max() <= 1


def run_of(truth, guess, num_context=1):
    truth, guess = np.asarray(truth, np.float32)[:, None], np.asarray(guess, np.float32)[:, None]
    return OpenLoop({'x': truth}, {'x': guess}, guess[:, 0], guess[:, 0], num_context)


def test_errors_by_hand():
    run = run_of([0, 1, 2, 4], [1, 2, 1])
    short, long = errors([run], horizons=(2, 50))
    # Model: 0, 0, 3. Persistence repeats 0: 1, 2, 4.
    assert (short.horizon, long.horizon) == (2, 3)
    assert short.model == 0 and short.persistence == pytest.approx(np.sqrt(2.5))
    assert long.model == pytest.approx(np.sqrt(3)) and long.persistence == pytest.approx(
        np.sqrt(7)
    )
    assert long.ratio == pytest.approx(np.sqrt(3 / 7))
    assert long.interval == pytest.approx((long.ratio, long.ratio))  # One stretch, no spread.


def test_where_nothing_changes_there_is_no_ratio():
    (row,) = errors([run_of([1, 1, 1], [1, 2])], horizons=(2,))
    assert row.persistence == 0 and row.model == pytest.approx(np.sqrt(0.5))
    assert np.isnan(row.ratio) and np.isnan(row.interval).all()


def test_the_interval_spreads_over_stretches():
    runs = [run_of([0, 1, 1], [1, 1]), run_of([0, 1, 1], [0, 0])]
    (row,) = errors(runs, horizons=(2,))
    assert row.ratio == pytest.approx(np.sqrt(0.5))
    assert row.interval[0] == 0 and row.interval[1] == pytest.approx(1)


def test_stretches_do_not_overlap_and_cross_no_gap():
    episode = walk(23)
    episode.stamp_ns[12:] += 5 * PERIOD_NS
    found = list(stretches([episode], point_contract(), (), 5))
    starts = [round(float(piece['observation'][0, 0])) for piece in found]
    assert starts == [0, 5, 12, 17]
    assert all(len(piece['action']) == 5 for piece in found)


def test_steps_that_are_not_finite_are_left_out():
    episode = walk(11)
    episode.observations['place'][4] = np.nan
    found = list(stretches([episode], point_contract(), (), 4))
    assert [round(float(piece['observation'][0, 0])) for piece in found] == [0, 5]


def test_too_short_data_is_named():
    with pytest.raises(NotEnoughDataError, match='shorter --horizon'):
        imagined(model_of(), [])


def test_pictures_can_be_looked_at(tmp_path):
    (run,) = imagined(model_of({'camera': (64, 64, 3)}), pieces(1, 6, ['camera']))
    wide = {
        name: np.repeat(array, 9, -1) if name == 'speed' else array
        for name, array in run.observed.items()
    }
    guess = {
        name: np.repeat(array, 9, -1) if name == 'speed' else array
        for name, array in run.predicted.items()
    }
    run = run._replace(observed=wide, predicted=guess)
    open_loop_pictures.write_strip(tmp_path / 'strip.png', run, 'seen and imagined')
    open_loop_pictures.write_film(tmp_path / 'film.gif', run, 'seen and imagined')
    with Image.open(tmp_path / 'strip.png') as strip:
        assert strip.width > 800 and len(strip.getcolors()) > 20
    with Image.open(tmp_path / 'film.gif') as film:
        assert film.n_frames == 6


def test_lidar_pose_and_velocity_are_drawn_in_metres():
    """A wall of closeness 1/2 lies at the scale beyond the rim; a place is scaled back."""
    contract = contracts.load('arena')
    blocks = FeatureBuilder(contract).blocks
    seen = {
        name: np.full((6, part.stop - part.start), 0.5, np.float32)
        for name, part in blocks.items()
    }
    run = OpenLoop(seen, {k: v[2:] for k, v in seen.items()}, np.zeros(4), np.zeros(4), 2)
    scan, goal, place, target, velocity = rows_of(run, contract)
    assert isinstance(scan, Fans) and isinstance(place, Path)
    assert isinstance(goal, Curves) and isinstance(target, Curves)
    figure = Figure()
    scan.film(figure)(5)
    x, y = (values.max() for values in figure.axes[1].lines[0].get_data())
    assert x == pytest.approx(0.18 + 0.4, rel=0.01) and y == pytest.approx(0.58, rel=0.01)
    figure = Figure()
    velocity.film(figure)(5)
    assert [axes.get_title() for axes in figure.axes] == [
        'forward speed (m/s)',
        'yaw rate (rad/s)',
    ]
    assert figure.axes[1].lines[0].get_ydata()[0] == 0.5 * 1.5
    figure = Figure()
    place.film(figure)(5)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), 0.5 * 2.5)


def test_nothing_is_imagined_while_the_model_watches():
    run = run_of([0, 1, 2, 4], [1, 2], num_context=2)
    (row,) = rows_of(run, None)
    figure = Figure()
    draw = row.film(figure)
    draw(1)
    seen, imagined = figure.axes[0].lines
    assert len(seen.get_xdata()) == 2 and len(imagined.get_xdata()) == 0
    draw(3)
    seen, imagined = figure.axes[0].lines
    np.testing.assert_array_equal(imagined.get_xdata(), [1, 2])
    np.testing.assert_array_equal(imagined.get_ydata(), [1, 2])


def publish(root, contract, model):
    tensors, block = model.published()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    manifest = {'policy': block, 'contract': contract.to_dict(), 'contract_hash': contract.hash}
    ModelStore(root).publish('seen', arrays, manifest)


def test_evaluate_command_needs_recordings(tmp_path, capsys):
    publish(tmp_path, point_contract(), model_of())
    assert evaluate.main(['--model', 'seen', '--models', str(tmp_path)]) == 2
    assert 'measured on recordings' in capsys.readouterr().err
    assert evaluate.main(['--model', 'seen', '--models', str(tmp_path), '--mode', 'policy']) == 2
    assert 'seen@1: is a world_model' in capsys.readouterr().err


def test_evaluate_command_measures_and_draws(tmp_path, capsys):
    contract = point_contract()
    generator = torch.Generator().manual_seed(0)
    blocks = FeatureBuilder(contract).blocks
    publish(tmp_path / 'models', contract, WorldModel(1, 1, SMALL, blocks, {}, generator))
    write_store(tmp_path / 'store', 4, seed=0)
    long_enough = sum(len(e) >= CONTEXT + 3 for e in episodes(4, seed=0))
    arguments = ['--mode', 'world_model', '--model', 'seen', '--horizon', '3']
    arguments += ['--models', str(tmp_path / 'models'), '--data', str(tmp_path / 'store')]
    arguments += ['--pictures', str(tmp_path / 'drawn'), '--json', str(tmp_path / 'found.json')]
    assert evaluate.main(arguments) == 0, capsys.readouterr().err
    found = json.loads((tmp_path / 'found.json').read_text())['open_loop']
    assert found['stretches'] == long_enough > 0
    assert [(row['name'], row['horizon']) for row in found['errors']] == [
        ('vector/place', 1),
        ('vector/place', 3),
    ]
    for row in found['errors']:
        assert row['ratio'] == pytest.approx(row['model'] / row['persistence'])
        assert row['interval'][0] <= row['ratio'] <= row['interval'][1]
    drawn = sorted(path.name for path in (tmp_path / 'drawn').iterdir())
    assert len(drawn) == 2 * min(long_enough, 3) == len(found['pictures'])
    with Image.open(tmp_path / 'drawn' / 'open_loop_1.gif') as film:
        assert film.n_frames == CONTEXT + 3
    with Image.open(tmp_path / 'drawn' / 'open_loop_1.png') as strip:
        assert len(strip.getcolors()) > 20
