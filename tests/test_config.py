from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from robot_learning import config
from robot_learning.errors import ConfigError


@dataclass(frozen=True, config=config.STRICT)
class Wheel:
    radius_m: Annotated[float, Field(gt=0)]
    unit: str | list[str] = 'm'


@dataclass(frozen=True, config=config.STRICT)
class Cart:
    name: str
    wheels: dict[str, Wheel]
    gears: tuple[PositiveInt, ...] = (1,)


def write(directory: Path, text: str) -> Path:
    path = directory / 'cart.yaml'
    path.write_text(text, encoding='utf-8')
    return path


def test_a_file_fills_a_class(tmp_path):
    path = write(tmp_path, 'name: a\nwheels:\n  left: {radius_m: 1e-1}\ngears: [1, 2]\n')
    assert config.load(Cart, path) == Cart('a', {'left': Wheel(0.1)}, (1, 2))


def test_every_mistake_is_named_at_once_with_its_line(tmp_path):
    path = write(
        tmp_path,
        'wheels:\n'
        '  left:\n'
        '    radius_m: -1\n'
        '    colour: red\n'
        '  right:\n'
        '    unit: 5\n'
        'gears:\n'
        '  - 1\n'
        '  - fast\n'
        'speed: 3\n',
    )
    with pytest.raises(ConfigError) as caught:
        config.load(Cart, path)
    lines = str(caught.value).splitlines()
    assert sorted(line.removeprefix(f'{path}') for line in lines) == sorted(
        [
            ': name: is missing. Add it.',
            ':3: wheels.left.radius_m: found -1, expected: Input should be greater than 0. '
            'Correct the value.',
            ':4: wheels.left.colour: unknown key. Remove it or correct its spelling.',
            ':5: wheels.right.radius_m: is missing. Add it.',
            ':6: wheels.right.unit: found 5, expected: Input should be a valid string or Input '
            'should be a valid list. Correct the value.',
            ":9: gears.1: found 'fast', expected: Input should be a valid integer, unable to "
            'parse string as an integer. Correct the value.',
            ':10: speed: unknown key. Remove it or correct its spelling.',
        ]
    )


def test_a_scalar_for_a_list_is_told_to_be_a_list():
    with pytest.raises(ConfigError, match=r'x: gears: found 3, expected: .* valid list\.'):
        config.from_mapping(Cart, {'name': 'a', 'wheels': {}, 'gears': 3}, 'x')


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('a: 1\nb: 2\na: 3\n', r":3: key 'a' stands already on line 1"),
        ('a:\n  b: 1\n  b: 2\n', r":3: key 'b' stands already on line 2"),
        ('a: [1, 2\n', r'is not YAML'),
        ('a: 1\n  b: 2\n', r':2: is not YAML'),
        ('- 1\n- 2\n', r'holds a list, expected a mapping'),
        ('just words', r'holds a str, expected a mapping'),
        ('? [a, b]\n: 1\n', r':1: is not YAML .*unhashable'),
        ('a: !!python/object/apply:os.system [ls]\n', r':1: is not YAML'),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, text, named):
    with pytest.raises(ConfigError, match=named):
        config.load_yaml(write(tmp_path, text))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r'absent\.yaml: cannot be read \(No such file'):
        config.load_yaml(tmp_path / 'absent.yaml')
    with pytest.raises(ConfigError, match=r'cannot be read \(Is a directory'):
        config.load_yaml(tmp_path)
    (tmp_path / 'binary.yaml').write_bytes(b'a: \xff\xfe')
    with pytest.raises(ConfigError, match='byte 3 is not UTF-8'):
        config.load_yaml(tmp_path / 'binary.yaml')


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    assert config.load_yaml(write(tmp_path, '# nothing\n')) == ({}, {})


def test_an_alias_to_its_own_parent_ends(tmp_path):
    data, lines = config.load_yaml(write(tmp_path, 'a: &a\n  b: *a\n'))
    assert data['a']['b'] is data['a'] and lines[('a', 'b')].number == 2


def test_anchors_and_merges_are_understood(tmp_path):
    path = write(
        tmp_path,
        'name: a\nwheels:\n  left: &wheel {radius_m: 0.1}\n  right: {<<: *wheel, unit: m}\n',
    )
    assert config.load(Cart, path).wheels['right'] == Wheel(0.1)


def test_place_takes_the_deepest_line_it_knows():
    lines = {('a',): config.Line('f.yaml', 3), ('a', 'b'): config.Line('g.yaml', 7)}
    assert config.place('x', ('a', 'b', 'c'), lines) == 'g.yaml:7: a.b.c'
    assert config.place('x', ('a', 'd'), lines) == 'f.yaml:3: a.d'
    assert config.place('x', ('e',), lines) == 'x: e'
    assert config.place('x', (), None) == 'x'


@pytest.mark.parametrize(
    ('given', 'names'),
    [('', ()), ('camera', ('camera',)), ('left, right', ('left', 'right')), (['up'], ('up',))],
)
def test_names_are_a_list_or_one_text_with_commas(given, names):
    @dataclass(frozen=True, config=config.STRICT)
    class Looking:
        images: config.Names = ('none',)

    assert config.from_mapping(Looking, {'images': given}, 'here').images == names
