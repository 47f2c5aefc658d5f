import json

import pytest
from robot_learning.language import corpus
from robot_learning.language.commands import clauses, is_stop, prepared
from robot_learning.language.intents import INTENTS, OUT_OF_SCOPE, SLOT_WORDS, Intent, check
from robot_learning.language.quantities import quantities
from robot_learning.language.slot_values import value_of
from robot_learning.language.templates import SPECIAL, STRANGE, SYNONYMS, TEMPLATES

MADE = list(corpus.examples(4000, seed=0))


def test_every_intent_is_there_equally_often_and_in_the_schema():
    counts = {name: sum(example.intent == name for example in MADE) for name in INTENTS}
    assert min(counts.values()) > 250
    for example in MADE:
        check(Intent(example.intent, example.slots))
    assert set(TEMPLATES) == set(INTENTS)


def test_spans_are_the_words_of_their_slots():
    for example in MADE:
        for start, end, slot in example.spans:
            words, value = example.text[start:end], example.slots.get(slot)
            if value is None:
                assert words in STRANGE[slot]
            elif slot in SLOT_WORDS:
                said = [SYNONYMS.get(slot, {})]
                said += [values for special, values in SPECIAL.values() if special == slot]
                assert words in (value, *(word for s in said for word in s.get(value, ())))
            else:
                assert words and not words.startswith(' ')


def test_measures_in_words_are_what_is_read_from_them():
    checked = 0
    for example in MADE:
        for start, end, slot in example.spans:
            if slot in ('distance', 'angle', 'duration'):
                (found,) = quantities(example.text[start:end])
                assert found.value == pytest.approx(example.slots[slot])
                checked += 1
    assert checked > 500


def test_commands_are_plain_single_clauses():
    for example in MADE:
        text = prepared(example.text)
        if example.intent != OUT_OF_SCOPE:
            assert len(clauses(text)) == 1, text
        assert not is_stop(text) or example.intent == 'stop'


def test_a_seed_gives_the_same_again_and_another_something_else():
    assert list(corpus.examples(4000, seed=0)) == MADE
    assert list(corpus.examples(4000, seed=1)) != MADE
    assert len({example.text for example in MADE}) > 2000


def test_what_is_measured_on_has_templates_of_its_own():
    training, held_out = corpus.split_templates(0.25, seed=0)
    assert not set(training) & set(held_out)
    assert len(training) + len(held_out) == sum(map(len, TEMPLATES.values()))
    for part in (training, held_out):
        found = {example.intent for example in corpus.examples(300, 0, part)}
        assert found == set(INTENTS)


def test_a_few_letters_are_wrong_where_asked():
    clean = list(corpus.examples(500, seed=3, typo_ratio=0.0))
    typed = list(corpus.examples(500, seed=3, typo_ratio=1.0))
    vocabulary = {word for example in clean for word in example.text.split()}
    unknown = [e for e in typed if any(word not in vocabulary for word in e.text.split())]
    assert len(unknown) > 250
    for example in typed:
        for start, end, slot in example.spans:  # Slots are spelled right.
            words = example.text[start:end]
            assert value_of(slot, words) == pytest.approx(example.slots.get(slot))


def test_a_file_has_a_command_a_line(tmp_path):
    corpus.write(tmp_path / 'commands.jsonl', MADE[:10])
    lines = (tmp_path / 'commands.jsonl').read_text().splitlines()
    assert [json.loads(line)['text'] for line in lines] == [e.text for e in MADE[:10]]
    assert json.loads(lines[0])['source'] == 'grammar'


def test_some_values_are_none_of_the_schema():
    strange = [e for e in MADE for _, _, slot in e.spans if slot not in e.slots]
    assert 50 < len(strange) < 0.1 * len(MADE)
