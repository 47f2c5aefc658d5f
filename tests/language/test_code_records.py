import pytest
from robot_learning.errors import DataError
from robot_learning.language import code_corpus, code_records
from robot_learning.language.code_corpus import Example

GOOD = Example('Stop.', 'robot.stop()', 'safety')


def test_records_survive_writing(tmp_path):
    made = list(code_corpus.examples(50, seed=0))
    code_records.write(tmp_path / 'data.json', made)
    assert code_records.read(tmp_path / 'data.json') == made


def test_json_lines_and_records_without_category_are_read(tmp_path):
    path = tmp_path / 'data.jsonl'
    path.write_text('{"input": "stop", "output": "robot.stop()\\n"}\n\n')
    assert code_records.read(path) == [Example('stop', 'robot.stop()', '')]


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        ('[]', 'holds no records'),
        ('{"input": "stop"}', 'no list of records'),
        ('[{"input": "stop"}', 'is not JSON'),
        ('[{"input": "stop", "output": "x()"}, {"input": "go"}, 7]', r'record 1 .*\n.*record 2'),
        ('[{"input": " ", "output": "robot.stop()"}]', 'record 0'),
    ],
)
def test_files_that_hold_something_else_are_named(tmp_path, content, named):
    path = tmp_path / 'data.json'
    path.write_text(content)
    with pytest.raises(DataError, match=named) as caught:
        code_records.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r'absent\.json: cannot be read'):
        code_records.read(tmp_path / 'absent.json')


@pytest.mark.parametrize(
    'bad',
    [
        Example('fly', 'robot.fly()', ''),
        Example('go', 'robot.move_forward(distance=900.0)', ''),
        Example('x', 'import os', ''),
        Example('', 'robot.stop()', ''),
        Example('für', 'robot.stop()', ''),
    ],
)
def test_records_that_must_not_teach_are_named_by_their_index(bad):
    code_records.check([GOOD, Example('sing', 'pass', '')], 'data')
    with pytest.raises(DataError, match=r'data: record 2 .*'):
        code_records.check([GOOD, GOOD, bad], 'data')


def test_only_the_first_of_many_mistakes_are_written_out():
    bad = Example('fly', 'robot.fly()', '')
    with pytest.raises(DataError, match=r'record 9 (.|\n)*data: 20 more') as caught:
        code_records.check([bad] * 30, 'data')
    assert 'record 10 ' not in str(caught.value)


def test_a_command_in_both_splits_is_named_with_both_indices():
    other = Example('wait 3 s', 'robot.wait(duration=3.0)', '')
    code_records.check_disjoint([GOOD], [other], 'val.json')
    with pytest.raises(DataError, match=r'val\.json: record 1 .* is record 0 of the training'):
        code_records.check_disjoint([GOOD], [other, GOOD._replace(input='  STOP. ')], 'val.json')


def test_a_split_parts_commands_that_differ_in_more_than_values():
    made = list(code_corpus.examples(2000, seed=0))
    training, held_out = code_records.split(made, 0.2, seed=0)
    assert len(training) + len(held_out) == len(made) and len(held_out) > 100
    kinds = {code_records.skeleton(record.input) for record in training}
    assert not kinds & {code_records.skeleton(record.input) for record in held_out}
    assert code_records.split(made, 0.2, seed=0) == (training, held_out)


def test_a_skeleton_knows_values_from_words():
    text = code_records.skeleton('bring the small red soda can to my office in two minutes')
    assert text == '# bring the <size> <color> <object> to <place> in <number> s\n'


def test_values_are_known_by_their_own_words():
    found = code_records.values('bring the tiny violet box to my office in two minutes')
    assert found == [
        ('size', 'small'), ('color', 'purple'), ('object', 'cube'), ('place', 'office'),
        ('number', '120'),
    ]  # fmt: skip


def test_too_few_kinds_of_commands_cannot_be_split():
    made = [Example(f'go {n} m', f'robot.move_forward(distance={n}.0)', '') for n in (1, 2, 3)]
    with pytest.raises(DataError, match='3 with 1 different commands'):
        code_records.split(made)
