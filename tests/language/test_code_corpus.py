from collections import Counter

import pytest
from robot_learning.language import code_corpus
from robot_learning.language.code_grammar import NOTHING, CodeGrammar
from robot_learning.language.code_prompt import prompt
from robot_learning.language.code_sayings import CATEGORIES, OUT_OF_SCOPE
from robot_learning.language.program import parse
from robot_learning.language.skills import VERBS

MADE = list(code_corpus.examples(3000, seed=0))
TRAINING, HELD_OUT = code_corpus.split(0.2, seed=0)


def test_all_twelve_categories_are_there():
    counts = Counter(example.category for example in MADE)
    assert set(counts) == {*CATEGORIES, OUT_OF_SCOPE} and len(CATEGORIES) == 12
    assert min(counts.values()) > 100


def test_every_output_is_a_program_that_is_accepted_or_nothing():
    for example in MADE:
        assert (example.output == NOTHING) == (example.category == OUT_OF_SCOPE)
        if example.output != NOTHING:
            parse(example.output)


def test_every_output_is_in_the_grammar():
    pytest.importorskip('llguidance')
    grammar = CodeGrammar()
    assert all(grammar.accepts(example.output) for example in MADE[:500])


def test_every_verb_is_said():
    text = '\n'.join(example.output for example in MADE)
    assert [name for name in VERBS if f'{name}(' not in text] == []


def test_the_same_prompt_never_asks_for_two_things():
    codes = {}
    for example in MADE:
        assert codes.setdefault(prompt(example.input), example.output) == example.output


def test_a_seed_gives_the_same_again_and_another_something_else():
    assert list(code_corpus.examples(3000, seed=0)) == MADE
    assert list(code_corpus.examples(3000, seed=1)) != MADE


def test_what_is_measured_on_has_phrases_of_its_own():
    assert not TRAINING.phrases & HELD_OUT.phrases
    assert TRAINING.phrases | HELD_OUT.phrases == code_corpus.ALL.phrases
    for part in (TRAINING, HELD_OUT):
        made = code_corpus.examples(300, 0, part)
        assert {e.category for e in made} == {*CATEGORIES, OUT_OF_SCOPE}


def test_families_of_phrases_can_be_held_out_as_a_whole():
    training, held_out = code_corpus.split_families(0.2, seed=0)
    assert not training.phrases & held_out.phrases
    for (kind, whole), taught in zip(code_corpus.ALL._asdict().items(), training, strict=True):
        for entry, part in zip(whole, taught, strict=True):
            assert part.templates and set(part.templates) < set(entry.templates), kind
    assert len(held_out.phrases) > 0.1 * len(training.phrases)


def test_a_template_becomes_each_of_its_phrases():
    found = code_corpus.phrases_of('!(go|drive [on]) to {place}')
    assert sorted(found) == ['drive on to {place}', 'drive to {place}', 'go to {place}']


def test_every_split_has_something_to_say():
    for seed in range(12):
        for part in (*code_corpus.split(0.1, seed), *code_corpus.split_families(0.1, seed)):
            assert len(list(code_corpus.examples(120, seed, part))) == 120


def test_another_seed_splits_otherwise():
    assert code_corpus.split(0.2, seed=1)[1].phrases != HELD_OUT.phrases


def test_commands_that_are_known_or_come_twice_are_left_out():
    seen = list(code_corpus.examples(500, 0, TRAINING))
    found = [*code_corpus.examples(500, 1, HELD_OUT), seen[0], seen[1]]
    left = code_corpus.disjoint(found, seen)
    inputs = [example.input for example in left]
    assert len(set(inputs)) == len(inputs) > 200
    assert not set(inputs) & {example.input for example in seen}


def test_a_few_letters_are_wrong_where_asked():
    clean = {w for example in code_corpus.examples(4000, 3) for w in example.input.split()}
    typed = list(code_corpus.examples(400, 4, typo_ratio=1.0))
    assert sum(any(w not in clean for w in e.input.split()) for e in typed) > 250
    for example in typed:
        if example.output != NOTHING:
            parse(example.output)


def test_categories_come_as_often_as_asked():
    counts = Counter(e.category for e in code_corpus.examples(2000, 0, weights={'loops': 12.0}))
    assert 850 < counts['loops'] < 1150
    assert max(count for name, count in counts.items() if name != 'loops') < 150


def test_lessons_join_often_and_hold_no_phrase_that_is_held_out():
    lessons = code_corpus.lessons(2000, 0, 0.2, typo_ratio=0.0)
    counts = Counter(e.category for e in lessons)
    per_weight = 2000 / (10 + 5 + 5 + 2)  # Ten categories weigh 1; the others, what they have.
    for name, weight in (('sequences', 5), ('conditions', 5), ('loops', 2), ('movement', 1)):
        assert counts[name] == pytest.approx(weight * per_weight, rel=0.25), name
    known = {phrase for phrase in TRAINING.phrases if '{' not in phrase}
    plain = {phrase for phrase in HELD_OUT.phrases if '{' not in phrase} - known
    assert len(plain) > 20 and not plain & {e.input for e in lessons}
