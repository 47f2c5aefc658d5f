import pytest
from robot_learning.language.quantities import Quantity, quantities


@pytest.mark.parametrize(
    ('text', 'kind', 'value'),
    [
        ('drive forward 1 metre', 'length', 1.0),
        ('go 2.5 m ahead', 'length', 2.5),
        ('one meter please', 'length', 1.0),
        ('a metre', 'length', 1.0),
        ('half a metre', 'length', 0.5),
        ('a half metre', 'length', 0.5),
        ('a quarter of a meter', 'length', 0.25),
        ('two and a half metres', 'length', 2.5),
        ('a metre and a half', 'length', 1.5),
        ('three metres and a quarter', 'length', 3.25),
        ('one point five metres', 'length', 1.5),
        ('thirty centimetres', 'length', 0.3),
        ('two feet', 'length', 0.6096),
        ('turn left 90 degrees', 'angle', 90.0),
        ('ninety degrees', 'angle', 90.0),
        ('forty-five degrees', 'angle', 45.0),
        ('a hundred and eighty degrees', 'angle', 180.0),
        ('two hundred seventy degrees', 'angle', 270.0),
        ('make a half turn', 'angle', 180.0),
        ('a full turn to the left', 'angle', 360.0),
        ('turn 45°', 'angle', 45.0),
        ('wait ten seconds', 'time', 10.0),
        ('wait half a minute', 'time', 30.0),
        ('3 times', 'count', 3.0),
        ('twenty one', 'count', 21.0),
    ],
)
def test_a_measure_in_words(text, kind, value):
    (found,) = quantities(text)
    assert found.kind == kind
    assert found.value == pytest.approx(value)


def test_several_come_in_their_order_and_articles_are_none():
    text = 'go 2 metres, turn right ninety degrees and bring me a ball in 5 seconds'
    assert quantities(text) == [
        Quantity('length', 2.0),
        Quantity('angle', 90.0),
        Quantity('time', 5.0),
    ]
    assert quantities('pick up the red cube and a can') == []
    assert quantities('') == []


def test_numbers_without_end_are_none():
    assert quantities('9' * 4000 + ' metres') == []
