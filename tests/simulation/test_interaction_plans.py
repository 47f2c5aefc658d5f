from collections import Counter

from robot_learning.sense_formats import PROPERTIES
from robot_learning.simulation.interaction_plans import SHOWN_BY, plan_set
from robot_learning.simulation.interactions import KINDS


def test_every_object_takes_part_in_every_interaction_and_is_in_one_split():
    plans = plan_set(120, 0, seed=1)
    assert Counter(plan.kind for plan in plans) == dict.fromkeys(KINDS, 20)
    splits = {}
    for plan in plans:
        splits.setdefault(plan.item.name, set()).add(plan.split)
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(plan.split for plan in plans) == {'train': 96, 'val': 24}


def test_equal_seeds_plan_equal_sets_and_others_share_no_object():
    assert plan_set(30, 2, 4) == plan_set(30, 2, 4)
    names = [{plan.item.name for plan in plan_set(60, 20, seed)} for seed in (4, 5)]
    assert not names[0] & names[1]


def test_classes_take_turns():
    classes = Counter(plan.item.class_name for plan in plan_set(6 * 42, 0, 0))
    assert set(classes.values()) == {12}


def test_the_last_object_may_be_incomplete():
    assert len(plan_set(7, 0, 0)) == 7


def test_an_intervention_changes_one_property_and_nothing_else():
    plans = [plan for plan in plan_set(1, 18, 0) if plan.split == 'interventions']
    assert len(plans) == 72
    for start in range(0, 72, 4):
        before, after, repeat, other = plans[start : start + 4]
        assert [plan.role for plan in plans[start : start + 4]] == [
            'before',
            'after',
            'repeat',
            'other',
        ]
        assert len({plan.pair for plan in plans[start : start + 4]}) == 1
        different = [
            name for name in PROPERTIES if before.item.value(name) != after.item.value(name)
        ]
        assert different == [before.changed]
        assert before.kind in SHOWN_BY[before.changed]
        assert (before.seed, before.kind) == (after.seed, after.kind) == (repeat.seed, repeat.kind)
        assert repeat.item == before.item
        assert repeat.noise_seed != before.noise_seed == after.noise_seed
        assert other.item.name != before.item.name
        assert other.item.value(before.changed) == before.item.value(before.changed)


def test_properties_are_changed_in_turn():
    changed = Counter(plan.changed for plan in plan_set(1, 18, 0) if plan.role == 'after')
    assert changed == dict.fromkeys(PROPERTIES, 2)
