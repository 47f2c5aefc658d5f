import numpy as np
import pytest
from robot_learning.errors import DataError
from robot_learning.simulation.rendered_scenes import Scene, VisibleObject, box_of
from robot_learning.simulation.scene_files import load, save


def made(seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 12, 16), bool)
    masks[0, 2:5, 1:4] = True
    masks[1, 4:9, 8:16] = True
    return Scene(
        rng.integers(0, 256, (12, 16, 3), np.uint8),
        (
            VisibleObject('cube', 'red', 0.8, 0.25, masks[0], box_of(masks[0])),
            VisibleObject('can', 'blue', 1.1, -0.5, masks[1], box_of(masks[1])),
        ),
    )


def test_edges_of_a_mask_are_of_the_height_from_the_centre():
    mask = np.zeros((10, 20), bool)
    mask[0:5, 10:20] = True
    assert box_of(mask) == (0.0, -0.5, 1.0, 0.0)


def test_what_is_saved_comes_back(tmp_path):
    scenes = [made(0), Scene(np.zeros((12, 16, 3), np.uint8), ()), made(1)]
    path = tmp_path / 'deep' / 'scenes.npz'
    save(path, scenes)
    again = load(path)
    for one, other in zip(scenes, again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert [t[:4] for t in one.objects] == [t[:4] for t in other.objects]
        for thing, same in zip(one.objects, other.objects, strict=True):
            assert np.array_equal(thing.mask, same.mask) and thing.box == same.box


def test_a_damaged_file_says_to_delete_it(tmp_path):
    path = tmp_path / 'scenes.npz'
    save(path, [made(0)])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r'holds no scenes.*Delete it'):
        load(path)
