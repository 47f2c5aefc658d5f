import math

import numpy as np
import pytest
from robot_learning.language.code_grammar import CodeGrammar
from robot_learning.serving.code_decoding import greedy, taken_otherwise

pytest.importorskip('llguidance')
GRAMMAR = CodeGrammar(text='start: "go" ("ab" | "ac" "!"? | "d")\n')


def end_token():
    walk = GRAMMAR.walk()
    for token in b'goac!':
        walk.take(token)
    return int(walk.allowed().argmax())


END = end_token()
LIKED = {b'a'[0]: 0.5, b'b'[0]: 0.4, b'c'[0]: 0.3, b'd'[0]: 0.2, b'!'[0]: 0.15, END: 0.1}


def log_prob(_):
    """The same likings after everything."""
    found = np.full(GRAMMAR.walk().allowed().size, -9.0)
    found[list(LIKED)] = np.log(list(LIKED.values()))
    return found


def decoded(begun=()):
    return greedy(log_prob, [1], GRAMMAR.walk(), END, 20, begun)


def text(draft):
    return bytes(draft.tokens).decode()


def test_the_likeliest_that_the_grammar_allows_is_taken():
    draft = decoded()
    assert text(draft) == 'goab'
    assert [chr(fork.other) for fork in draft.forks] == ['d', 'c']
    assert [draft.forks[i].gap for i in (0, 1)] == pytest.approx(
        [math.log(0.5 / 0.2), math.log(0.4 / 0.3)]
    )


@pytest.mark.parametrize(
    ('index', 'became', 'changed'), [(0, 'god', 0.2), (1, 'goac!', 0.5 * 0.3 * 0.15)]
)
def test_a_fork_taken_otherwise_gives_what_follows_from_there(index, became, changed):
    draft = decoded()
    other = taken_otherwise(draft, draft.forks[index], decoded)
    assert text(other) == became
    before = draft.log_probs[0]  # Of the 'g', about which there was no choice.
    assert other.log_prob == pytest.approx(before + math.log(changed))


def test_code_may_end_where_the_end_is_the_other_choice():
    draft = decoded(list(b'goac'))
    fork = draft.forks[0]
    assert text(draft) == 'goac!' and fork.other == END
    other = taken_otherwise(draft, fork, None)
    assert text(other) == 'goac' and other.log_probs == pytest.approx([math.log(0.1)])


def test_a_draft_is_as_probable_as_its_choices_on_the_mean():
    draft = decoded(list(b'goac'))
    assert draft.probability == pytest.approx(0.15)
