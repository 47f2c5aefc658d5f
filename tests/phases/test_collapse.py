import logging

import pytest
import torch
from robot_learning.phases.collapse import CollapseWatch, Limit

LIMITS = {
    'kl': Limit(0.5, None, 'Beta is halved.'),
    'slots': Limit(None, 0.95, 'Diversity is doubled.'),
}


def watched(numbers, count, watch=None):
    watch = watch or CollapseWatch(LIMITS, 10)
    found = [watch.follow(numbers) for _ in range(count)]
    return watch, [name for names in found for name in names]


def test_collapse_is_found_named_and_answered(caplog):
    with caplog.at_level(logging.WARNING):
        watch, found = watched({'kl': 0.01, 'slots': 0.2}, 20)
    assert found == ['kl', 'kl'] and watch.collapsed == ['kl']
    assert watch.factor('kl') == 4 and watch.factor('slots') == 1
    assert 'kl has collapsed: mean 0.01, expected at least 0.5. Beta is halved.' in caplog.text


def test_too_much_is_collapse_too():
    watch, _ = watched({'kl': 9.0, 'slots': 0.99}, 10)
    assert watch.collapsed == ['slots'] and watch.factor('slots') == 2


def test_answers_end_with_the_collapse_and_grow_no_further_than_eight():
    watch, _ = watched({'kl': 0.0}, 100)
    assert watch.factor('kl') == 8
    watched({'kl': 40.0}, 100, watch)
    assert watch.factor('kl') == 1 and watch.collapsed == []


def test_what_nobody_has_seen_yet_has_not_collapsed():
    watch, found = watched({'slots': 0.1}, 10)
    assert found == [] and watch.collapsed == []


def test_it_goes_on_from_its_parts():
    whole, _ = watched({'kl': 0.1, 'slots': 0.99}, 25)
    first, _ = watched({'kl': 0.1, 'slots': 0.99}, 13)
    second = CollapseWatch(LIMITS, 10)
    for name, part in second.parts().items():
        part.copy_(first.parts()[name])
    watched({'kl': 0.1, 'slots': 0.99}, 12, second)
    assert torch.equal(second.state, whole.state)
    assert second.factor('kl') == pytest.approx(whole.factor('kl'))
