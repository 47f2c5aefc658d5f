from robot_learning.language import corpus
from robot_learning.language.augmentation import joined, variants
from robot_learning.language.command_files import Labelled

COMMANDS = [
    Labelled(example.text.lower(), example.intent, example.spans)
    for example in corpus.examples(300, 0)
]


def test_slots_get_words_of_slots_with_their_name():
    said = {}
    for command in COMMANDS:
        for start, end, name in command.spans:
            said.setdefault(name, set()).add(command.text[start:end])
    (copy,) = variants(COMMANDS, 1, seed=0)
    changed = 0
    for command, variant in zip(COMMANDS, copy, strict=True):
        assert variant.intent == command.intent
        assert [name for *_, name in variant.spans] == [name for *_, name in command.spans]
        for (start, end, name), (old_start, old_end, _) in zip(
            variant.spans, command.spans, strict=True
        ):
            assert variant.text[start:end] in said[name]
            changed += variant.text[start:end] != command.text[old_start:old_end]
    assert changed > 0.4 * sum(len(command.spans) for command in COMMANDS)


def test_the_words_of_the_command_stay_and_some_get_company():
    (copy,) = variants(COMMANDS, 1, seed=0)
    for command, variant in zip(COMMANDS, copy, strict=True):
        outside = set(command.text.split())
        for start, end, _ in command.spans:
            outside -= set(command.text[start:end].split())
        assert outside <= set(variant.text.split())
    longer = sum(
        len(v.text.split()) > len(c.text.split()) for v, c in zip(copy, COMMANDS, strict=True)
    )
    assert 60 < longer < 240


def test_a_seed_gives_the_same_again():
    assert variants(COMMANDS, 2, seed=5) == variants(COMMANDS, 2, seed=5)
    first, second = variants(COMMANDS, 2, seed=5)
    assert first != second
    assert variants(COMMANDS, 0, seed=5) == []


def test_a_second_step_keeps_its_slots_and_does_not_change_the_intent():
    found = joined(COMMANDS, 0.3, seed=0)
    longer = [(f, c) for f, c in zip(found, COMMANDS, strict=True) if f != c]
    assert 60 < len(longer) < 120
    for command, first in longer:
        assert command.text.startswith(first.text) and command.intent == first.intent
        assert command.spans[: len(first.spans)] == first.spans
        rest = command.text[len(first.text) :]
        (second, *_) = [c for c in COMMANDS if rest.endswith(f' {c.text}')]
        words = [command.text[start:end] for start, end, _ in command.spans[len(first.spans) :]]
        assert words == [second.text[start:end] for start, end, _ in second.spans]
    assert joined(COMMANDS, 0.0, seed=0) == COMMANDS
