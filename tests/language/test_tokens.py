import json

import numpy as np
from robot_learning.language.tokens import PAD, UNKNOWN, Vocabulary, tokens

TEXTS = ['go to the red cube', 'go 1.5 metres', "don't go to 2,3", 'turn -90 degrees']


def test_words_numbers_and_signs_know_their_places():
    for text in TEXTS:
        for token in tokens(text):
            assert text[token.start : token.end] == token.text
    assert [token.text for token in tokens("don't go to -1.5, 90°")] == [
        *("don't", 'go', 'to', '-1.5', ',', '90', '°')
    ]


def test_frequent_words_have_numbers_and_all_numbers_are_one_word():
    vocabulary = Vocabulary.of(TEXTS, min_count=2)
    assert vocabulary.words[0] == '<number>' and set(vocabulary.words) == {'<number>', 'go', 'to'}
    batch = vocabulary.encode(['go 7 gO', ''])
    assert batch.words[0, 0] != batch.words[0, 1] != UNKNOWN
    assert (
        vocabulary.encode(['go 1']).words.tolist() == vocabulary.encode(['go -2.5']).words.tolist()
    )


def test_shorter_texts_are_padded_and_an_empty_one_has_one_unknown():
    vocabulary = Vocabulary.of(TEXTS, min_count=1)
    batch = vocabulary.encode(['go to the red cube', 'go', ''])
    assert batch.mask.sum(1).tolist() == [5, 1, 1]
    assert (batch.words[1, 1:] == PAD).all() and (batch.grams[1, 1:] == 0).all()
    assert batch.words[2, 0] == UNKNOWN
    assert batch.grams.max() <= vocabulary.num_buckets


def test_a_misspelled_word_shares_pieces_with_the_right_one():
    vocabulary = Vocabulary.of(TEXTS)

    def pieces(word):
        row = vocabulary.encode([word]).grams[0, 0]
        return set(row[row > 0].tolist())

    alike, unlike = pieces('kitchen') & pieces('kitchn'), pieces('kitchen') & pieces('battery')
    assert len(alike) > 8 > len(unlike)


def test_long_texts_and_words_are_cut():
    vocabulary = Vocabulary(['go'], max_tokens=8)
    batch = vocabulary.encode(['go ' * 500 + 'x' * 5000, 'x' * 5000])
    assert batch.words.shape == (2, 8) and batch.grams.shape == (2, 8, 24)


def test_it_survives_as_plain_data():
    vocabulary = Vocabulary.of(TEXTS, min_count=1)
    other = Vocabulary.from_description(json.loads(json.dumps(vocabulary.describe())))
    for one, same in zip(vocabulary.encode(TEXTS), other.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(one, same)
    assert len(other) == len(vocabulary)


def test_the_end_of_a_sentence_is_no_token():
    assert [t.text for t in tokens('go on. turn 1.5!! really?')] == [
        *('go', 'on', 'turn', '1.5', 'really', '?')
    ]
