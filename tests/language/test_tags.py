from robot_learning.language import corpus
from robot_learning.language.tags import all_tags, spans_of, tags_of
from robot_learning.language.tokens import tokens


def test_slots_survive_as_tags():
    for example in corpus.examples(1000, seed=2):
        text = example.text.lower()
        found = tokens(text)
        assert spans_of(found, tags_of(found, example.spans)) == example.spans


def test_by_hand():
    found = tokens('bring the tin can home now')
    tags = tags_of(found, [(10, 17, 'object'), (18, 22, 'place')])
    assert tags == ['O', 'O', 'B-object', 'I-object', 'B-place', 'O']
    assert spans_of(found, ['I-a', 'I-a', 'B-a', 'I-b', 'O', 'I-b']) == (
        (0, 9, 'a'),
        (10, 13, 'a'),
        (14, 17, 'b'),
        (23, 26, 'b'),
    )
    assert all_tags(['b', 'a', 'b']) == ('O', 'B-a', 'I-a', 'B-b', 'I-b')
