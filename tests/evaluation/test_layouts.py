import json

import pytest
from robot_learning.errors import ConfigError
from robot_learning.evaluation.layouts import (
    FIRST_EVALUATION_SEED,
    LayoutChoice,
    evaluation_layouts,
    read_layouts,
)


def write(tmp_path, content):
    path = tmp_path / 'layouts.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_fewer_evaluation_layouts_are_the_first_of_the_many():
    assert evaluation_layouts(10) == evaluation_layouts(100)[:10]
    assert evaluation_layouts(1)[0].seed == FIRST_EVALUATION_SEED


def test_a_file_may_mix_seeds_and_poses(tmp_path):
    path = write(tmp_path, [7, {'seed': 3, 'goal': [1, 2, 0]}, {'start': [0, 0, 1.5]}])
    assert read_layouts(path) == [
        LayoutChoice(7),
        LayoutChoice(3, goal=(1, 2)),
        LayoutChoice(FIRST_EVALUATION_SEED, start=(0, 0, 1.5)),
    ]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('[1,\n 2,,]', 'layouts.json:2: is not JSON'),
        ([], 'expected a list of seeds'),
        ([1, -4], 'entry 1: found -4'),
        ([{'start': [0, 0]}], r'entry 0: start: found \[0, 0\], expected 3 numbers'),
        ([{'position': [0, 0, 0]}], "unknown key 'position'"),
        (['one'], "found 'one', expected a seed"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message):
        read_layouts(write(tmp_path, content))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'nowhere\.json: cannot be read'):
        read_layouts(tmp_path / 'nowhere.json')
