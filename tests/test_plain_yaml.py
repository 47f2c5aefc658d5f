import time

import pytest
from robot_learning import config, plain_yaml
from robot_learning.errors import ConfigError


def laughs(levels, kind):
    lines = ['a0: &a0 [lol, lol]'] if kind == 'list' else ['a0: &a0 {x: lol, y: lol}']
    for i in range(1, levels):
        aliases = ', '.join([f'*a{i - 1}'] * 9)
        text = f'[{aliases}]' if kind == 'list' else f'{{<<: [{aliases}]}}'
        lines.append(f'a{i}: &a{i} {text}')
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        (laughs(12, 'list'), r'f:\d+: stands for more than 200000 entries'),
        (laughs(12, 'mapping'), r'f:\d+: stands for more than 200000 entries'),
        ('a: ' + '[' * 3000 + ']' * 3000, 'nests deeper than 64'),
        ('a: ' + '{a: ' * 100 + '1' + '}' * 100, 'nests deeper than 64'),
        ('\n'.join(f'a{i}: &a{i} [{f"*a{i - 1}" if i else ""}]' for i in range(200)), 'deeper'),
        ('a: !!python/object/apply:os.system [ls]', r'f:1: is not YAML that is read here'),
        ('a:\n  b: !!python/name:os.system', r'f:2: is not YAML that is read here'),
        ('a: !mine 1', r'f:1: is not YAML that is read here \(tag !mine\)'),
        ('a: !!binary aGk=', 'tag binary'),
        ('a: !!set {x}', 'tag set'),
        ('a: 2026-01-02', r'f:1: found the date 2026-01-02, expected text. Put it in quotes'),
        ('a: 2026-13-45', 'found the date'),
        ('a: ' + '9' * 10_000, r'f:1: found the number 9+…, expected a finite one'),
        ('a: 0x' + 'f' * 30, 'found the number 0xf+, expected'),
        ('a: ' + '1:' * 10_000 + '1', 'found the number'),
        ('a: .inf', 'found the number .inf, expected a finite one'),
        ('a: [.nan]', 'found the number .nan, expected a finite one'),
        ('a: !!int abc', 'is not YAML'),
        ('a: !!bool abc', 'is not YAML'),
        ('a: !!float abc', 'is not YAML'),
        ('a: "\\ud800"', 'half a character'),
        ('a: \x07', 'is not YAML'),
        ('a: *nobody', 'is not YAML'),
        ('x' * (plain_yaml.MAX_BYTES + 1), 'expected at most 1048576'),
        ('--- 1\n--- 2\n', 'is not YAML'),
    ],
)
def test_a_trap_is_named(text, named):
    start = time.process_time()
    with pytest.raises(ConfigError, match=named) as caught:
        plain_yaml.parse(text, 'f')
    assert time.process_time() - start < 5
    assert len(str(caught.value)) < 500


def test_plain_data_with_anchors_come_through():
    text = 'a: &a {x: 1, y: 0x10}\nb: {<<: *a, z: [1.5, true, null, text, "2026-01-02"]}\n'
    data, _ = plain_yaml.parse(text, 'f')
    assert data['b'] == {'x': 1, 'y': 16, 'z': [1.5, True, None, 'text', '2026-01-02']}


def test_files_that_are_none_are_named_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / 'pipe.yaml')
    with pytest.raises(ConfigError, match='is a pipe, expected a file'):
        config.load_yaml(tmp_path / 'pipe.yaml')
    with (tmp_path / 'huge.yaml').open('wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match='expected at most'):
        config.load_yaml(tmp_path / 'huge.yaml')


def test_a_thousand_mistakes_do_not_flood_the_terminal(tmp_path):
    from pydantic.dataclasses import dataclass

    @dataclass(frozen=True, config=config.STRICT)
    class Empty:
        pass

    with pytest.raises(ConfigError, match='900 more mistakes'):
        config.from_mapping(Empty, {f'k{i}': 'x' * 1000 for i in range(1000)}, 'f')
