import sys

import pytest
from robot_learning.errors import EnvironmentSetupError, ModelRefusedError
from robot_learning.language import code_corpus
from robot_learning.language.code_prompt import prompt
from robot_learning.models.code_tokens import CodeTokens

EXAMPLES = list(code_corpus.examples(400, seed=0))
TOKENS = CodeTokens.learned((prompt(e.input) + e.output for e in EXAMPLES), 800)


def test_texts_survive_and_none_is_unknown():
    for text in (*(e.output for e in EXAMPLES[:50]), 'robot.wave(hands=2)', 'Ä\t"x', ''):
        assert TOKENS.decode(TOKENS.encode(text)) == text


def test_calls_are_whole_and_digits_stand_alone():
    pieces = [TOKENS.decode([token]) for token in TOKENS.encode('robot.turn(angle=-135.0)')]
    assert pieces == ['robot.turn(', 'angle=', '-', '1', '3', '5', '.', '0', ')']


def test_many_texts_are_read_like_single_ones():
    texts = [example.output for example in EXAMPLES[:20]]
    assert TOKENS.encode_all(texts) == [TOKENS.encode(text) for text in texts]


def test_prompt_and_code_do_not_grow_together():
    both = TOKENS.encode('# stop\nrobot.stop()')
    assert both == TOKENS.encode('# stop\n') + TOKENS.encode('robot.stop()')


def test_the_same_texts_give_the_same_tokenizer_which_its_text_holds():
    again = CodeTokens.learned((prompt(e.input) + e.output for e in EXAMPLES), 800)
    assert again.text == TOKENS.text and len(CodeTokens(TOKENS.text)) == len(TOKENS)
    assert 300 < len(TOKENS) <= 800


def test_what_is_no_tokenizer_is_refused():
    with pytest.raises(ModelRefusedError, match='tokenizer: cannot be read'):
        CodeTokens('{"model": 3}')
    with pytest.raises(ModelRefusedError, match="no token '<eos>'"):
        CodeTokens(TOKENS.text, '<eos>')


def test_a_machine_without_the_library_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tokenizers', None)
    with pytest.raises(EnvironmentSetupError, match='pip install tokenizers'):
        CodeTokens(TOKENS.text)
