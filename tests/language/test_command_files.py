import gzip
import json

import pytest
from robot_learning.errors import DataError
from robot_learning.language import corpus
from robot_learning.language.command_files import read


def write(path, *records):
    path.write_text(''.join(f'{json.dumps(record)}\n' for record in records))
    return path


def test_our_own_corpus_comes_back(tmp_path):
    made = list(corpus.examples(200, seed=0))
    corpus.write(tmp_path / 'own.jsonl', made)
    for labelled, example in zip(read(tmp_path / 'own.jsonl'), made, strict=True):
        assert (labelled.text, labelled.intent) == (example.text.lower(), example.intent)
        assert labelled.spans == example.spans


def test_slots_of_others_are_found_in_their_texts(tmp_path):
    path = write(
        tmp_path / 'a.jsonl',
        {'text': 'Bring the book', 'intent': 'x', 'slots': [['object', 'Book'], ['to', 'me']]},
        {
            'text': 'go on on',
            'intent': 'y',
            'frames': [
                {'args': [{'role': 'Goal', 'text': 'on'}, {'role': 'Path', 'text': 'go on'}]}
            ],
        },
        {'text': 'a can can', 'intent': 'z', 'slots': {'thing': 'can'}, 'split': 'dev'},
    )
    first, second, third = read(path)
    assert first.spans == ((10, 14, 'object'),) and first.text == 'bring the book'
    assert second.spans == ((0, 5, 'Path'),)  # The other lies within it.
    assert third.spans == ((2, 5, 'thing'),) and third.split == 'dev'


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'{"text": "go"}\n', 'line 1: expected an object with the texts text and intent'),
        (b'\n[1]\n', 'line 2: expected an object'),
        (b'{"text": "go", "intent": "x"}\nnonsense\n', 'line 2: is no JSON'),
        (b'{"text": "go", "intent": "x", "spans": [[1]]}\n', 'line 1: its slots cannot be read'),
        (b'{"text": "go", "intent": "x", "frames": [3]}\n', 'line 1: its slots cannot be read'),
        (b'{"text": "' + b'a' * 3000 + b'", "intent": "x"}\n', 'has 3000 characters'),
        (b'', 'is empty'),
        (b'\xff\xfe\n', 'cannot be read'),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, reason):
    (tmp_path / 'bad.jsonl').write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read(tmp_path / 'bad.jsonl')


def test_a_torn_archive_is_named(tmp_path):
    path = tmp_path / 'torn.jsonl.gz'
    path.write_bytes(gzip.compress(b'{"text": "go", "intent": "x"}\n' * 1000)[:-20])
    with pytest.raises(DataError, match=r'torn.jsonl.gz: cannot be read'):
        read(path)
    with pytest.raises(DataError, match='cannot be read'):
        read(tmp_path / 'absent.jsonl')


@pytest.mark.parametrize('name', ['huric.jsonl', 'gpsr_grammar.jsonl', 'snips.jsonl.gz'])
def test_public_corpora_have_most_of_their_slots(data_directory, name):
    found = read(data_directory / 'commands' / name)
    assert len(found) > 300
    assert sum(bool(labelled.spans) for labelled in found) > 0.6 * len(found)


def test_clinc_has_its_intents(data_directory):
    found = read(data_directory / 'commands' / 'clinc150.jsonl.gz')
    assert len({labelled.intent for labelled in found}) == 151
