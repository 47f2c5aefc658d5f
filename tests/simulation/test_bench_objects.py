import numpy as np
import pytest
from robot_learning.errors import SimulationError
from robot_learning.sense_formats import PROPERTIES
from robot_learning.simulation.bench_objects import (
    CLASSES,
    MATERIALS,
    draw_object,
    opposite,
    with_property,
)

DRAWN = [draw_object(seed) for seed in range(600)]


def test_equal_seeds_draw_equal_objects():
    assert draw_object(5, 'wood_can') == draw_object(5, 'wood_can')
    assert draw_object(5, 'wood_can') != draw_object(6, 'wood_can')


def test_every_class_is_drawn():
    assert {item.class_name for item in DRAWN} == set(CLASSES)
    assert len(CLASSES) == 21


def test_properties_lie_between_0_and_1_and_spread():
    values = np.asarray([item.properties for item in DRAWN])
    assert values.min() >= 0
    assert values.max() <= 1
    assert (values.std(axis=0) > 0.2).all()


def test_material_is_evidence_of_hardness_and_no_proof():
    hard = np.asarray([item.value('hardness') for item in DRAWN])
    near = np.abs(hard - [MATERIALS[item.material].hardness for item in DRAWN]) < 0.2
    assert 0.7 < near.mean() < 0.95


def test_size_and_temperature_have_nothing_to_do_with_anything_else():
    values = np.asarray([item.properties for item in DRAWN])
    together = np.abs(np.corrcoef(values.T))
    for name in ('size', 'temperature', 'animacy', 'containment'):
        others = np.delete(together[PROPERTIES.index(name)], PROPERTIES.index(name))
        assert others.max() < 0.15, name


def test_a_changed_property_changes_nothing_else():
    item = draw_object(1)
    other = with_property(item, 'weight', 0.9)
    assert other.value('weight') == 0.9
    assert other.mass_kg == pytest.approx(0.05 * 20**0.9)
    assert with_property(other, 'weight', item.value('weight')) == item


@pytest.mark.parametrize(('name', 'value'), [('age', 0.5), ('size', 1.5), ('size', float('nan'))])
def test_a_property_that_is_none_is_refused(name, value):
    with pytest.raises(SimulationError, match=name):
        with_property(draw_object(1), name, value)


def test_a_class_that_is_none_is_refused():
    with pytest.raises(SimulationError, match="class 'gold_box'"):
        draw_object(1, 'gold_box')


@pytest.mark.parametrize('name', PROPERTIES)
def test_an_opposite_value_is_far_away(name):
    for value in (0.0, 0.3, 0.5, 0.8, 1.0):
        assert 0 <= opposite(name, value) <= 1
        assert abs(opposite(name, value) - value) >= 0.3


def test_what_the_ends_of_a_property_mean():
    item = draw_object(1, 'wood_box')
    ends = [
        ('weight', 'mass_kg', 0.05, 1.0),
        ('size', 'size_m', 0.04, 0.084),
        ('temperature', 'temperature_c', 5, 60),
        ('transparency', 'alpha', 1, 0.15),
        ('roughness', 'friction', 0.25, 1.2),
        ('hardness', 'surface_modulus_pa', 1e6, 1e11),
    ]
    for name, meaning, low, high in ends:
        assert getattr(with_property(item, name, 0.0), meaning) == pytest.approx(low)
        assert getattr(with_property(item, name, 1.0), meaning) == pytest.approx(high)


def test_shell_and_contents_make_up_the_mass():
    item = with_property(draw_object(1, 'wood_box'), 'containment', 1.0)
    assert item.resonator.mass_kg + item.content_kg == pytest.approx(item.mass_kg)
    assert item.content_kg == pytest.approx(0.4 * item.mass_kg)
