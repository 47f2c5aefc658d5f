"""The intent model that ships, on commands that none of its corpora was made from."""

import json

import pytest
from robot_learning.errors import CommandError
from robot_learning.language.intents import INTENTS, OUT_OF_SCOPE, Intent, check, question
from robot_learning.serving.intent import PRETRAINED, load

COMMANDS = [
    (
        'please drive straight ahead for 2.5 metres',
        'move',
        {'direction': 'forward', 'distance': 2.5},
    ),
    ('move back by half a meter', 'move', {'direction': 'backward', 'distance': 0.5}),
    ('reverse 30 cm please', 'move', {'direction': 'backward', 'distance': 0.3}),
    ('just go forward two feet', 'move', {'direction': 'forward', 'distance': 0.6096}),
    ('turn left', 'turn', {'direction': 'left'}),
    ('robot, rotate 45 degrees to the right', 'turn', {'direction': 'right', 'angle': 45.0}),
    ('could you spin around', 'turn', {'direction': 'backward'}),
    ('turn right by a quarter turn', 'turn', {'direction': 'right', 'angle': 90.0}),
    ('head over to the kitchen', 'go_to_place', {'place': 'kitchen'}),
    ('I would like you to go to the office now', 'go_to_place', {'place': 'office'}),
    ('get to the garage as fast as you can', 'go_to_place', {'place': 'garage'}),
    ('go to the red cube', 'go_to_object', {'object': 'cube', 'color': 'red'}),
    (
        'drive up to the big green ball',
        'go_to_object',
        {'object': 'ball', 'color': 'green', 'size': 'large'},
    ),
    ('approach the yellow tin', 'go_to_object', {'object': 'can', 'color': 'yellow'}),
    ('get closer to the small box', 'go_to_object', {'object': 'cube', 'size': 'small'}),
    ('drive to the point 1.5 -2', 'go_to_pose', {'x': 1.5, 'y': -2.0}),
    ('navigate to x 3 y 0.5', 'go_to_pose', {'x': 3.0, 'y': 0.5}),
    ('follow the square path', 'follow_path', {'path': 'square'}),
    ('please drive along the circle', 'follow_path', {'path': 'circle'}),
    ('search for a blue can', 'look_for', {'object': 'can', 'color': 'blue'}),
    ('where did you see the orange ball', 'look_for', {'object': 'ball', 'color': 'orange'}),
    ('can you find the purple block', 'look_for', {'object': 'cube', 'color': 'purple'}),
    ('pick up the green cube', 'pick_up', {'object': 'cube', 'color': 'green'}),
    (
        'grab that tiny red ball for me',
        'pick_up',
        {'object': 'ball', 'color': 'red', 'size': 'small'},
    ),
    ('lift the can up', 'pick_up', {'object': 'can'}),
    ('put it down', 'put_down', {}),
    ('let go of it now', 'put_down', {}),
    ('leave it in the bedroom', 'put_down', {'place': 'bedroom'}),
    ('bring me the blue ball', 'bring', {'object': 'ball', 'color': 'blue'}),
    (
        'carry the red box to the hall',
        'bring',
        {'object': 'cube', 'color': 'red', 'place': 'hall'},
    ),
    ('fetch a large can please', 'bring', {'object': 'can', 'size': 'large'}),
    (
        'take the yellow cube to the garage',
        'bring',
        {'object': 'cube', 'color': 'yellow', 'place': 'garage'},
    ),
    ('come back home', 'return_home', {}),
    ('go back to your dock', 'return_home', {}),
    ('stop right there', 'stop', {}),
    ('please halt now', 'stop', {}),
    ('wait for ten seconds', 'wait', {'duration': 10.0}),
    ('stay here for 2 minutes', 'wait', {'duration': 120.0}),
    ('how much battery do you have left', 'report', {'about': 'battery'}),
    ('tell me your position', 'report', {'about': 'pose'}),
    ('what do you see', 'report', {'about': 'view'}),
    ('play my favourite song', OUT_OF_SCOPE, {}),
    ('what is the weather like in London', OUT_OF_SCOPE, {}),
    ('order a pizza for me', OUT_OF_SCOPE, {}),
    ('switch the lights off', OUT_OF_SCOPE, {}),
]


@pytest.fixture(scope='module')
def model():
    return load()


@pytest.mark.parametrize(('text', 'name', 'slots'), COMMANDS, ids=[text for text, *_ in COMMANDS])
def test_commands_written_by_hand_are_understood(model, text, name, slots):
    found = model.predict(text)
    assert found.name == name
    assert found.slots == pytest.approx(slots)
    check(found.intent)


def test_every_intent_of_the_schema_is_among_them_and_known(model):
    assert {name for _, name, _ in COMMANDS} == set(INTENTS)
    assert set(model.spec.intents) == set(INTENTS)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (
            'go to the red cube, then come back home',
            [('go_to_object', {'object': 'cube', 'color': 'red'}), ('return_home', {})],
        ),
        (
            'find the blue ball, pick it up and bring it to the kitchen',
            [
                ('look_for', {'object': 'ball', 'color': 'blue'}),
                ('pick_up', {'object': 'ball', 'color': 'blue'}),
                ('put_down', {'place': 'kitchen'}),
            ],
        ),
        (
            'first turn left and then drive 1.5 metres forward',
            [('turn', {'direction': 'left'}), ('move', {'direction': 'forward', 'distance': 1.5})],
        ),
        (
            'Drive to the office. Wait 5 seconds. Return home!',
            [
                ('go_to_place', {'place': 'office'}),
                ('wait', {'duration': 5.0}),
                ('return_home', {}),
            ],
        ),
    ],
)
def test_several_steps_are_understood(model, text, expected):
    assert [(step.name, dict(step.slots)) for step in model.understand(text)] == expected


def test_slots_have_the_values_of_the_schema_and_each_its_confidence(model):
    found = model.predict('Bring the tiny RED box to the kitchen')
    assert found.name == 'bring'
    assert found.slots == {'size': 'small', 'color': 'red', 'object': 'cube', 'place': 'kitchen'}
    assert set(found.slot_confidence) == set(found.slots)
    assert all(0 < sure <= 1 for sure in found.slot_confidence.values())
    assert model.predict('drive forward half a metre').slots['distance'] == 0.5
    assert model.predict('back up 2 m').slots == {'direction': 'backward', 'distance': 2.0}
    assert found.intent == Intent('bring', found.slots, found.confidence, found.text)


def test_what_shall_not_be_done_is_not_done(model):
    assert model.predict('turn left').name == 'turn'
    for text in ("don't turn left", 'Please do not turn left', 'never go to the kitchen'):
        assert model.predict(text).name in (OUT_OF_SCOPE, 'stop')
    assert model.predict("don't move any further").name == 'stop'


def test_where_a_thing_comes_from_is_not_where_it_goes(model):
    found = model.predict('bring the red ball from the office to the kitchen')
    assert found.slots['place'] == 'kitchen'
    assert 'place' not in model.predict('bring the red ball from the office').slots


def test_it_is_what_was_spoken_of_before(model):
    found = model.understand('Go to the red cube, then pick it up and bring it to the kitchen.')
    assert [intent.name for intent in found] == ['go_to_object', 'pick_up', 'put_down']
    assert found[1].slots == {'object': 'cube', 'color': 'red'}
    assert found[2].slots == {'place': 'kitchen'}
    with pytest.raises(CommandError, match='is empty'):
        model.understand(' ')


@pytest.mark.parametrize(
    ('text', 'slot'),
    [
        ('bring me that', 'object'),
        ('bring me the banana', 'object'),
        ('go to the bathroom', 'place'),
        ('drive forward', 'distance'),
    ],
)
def test_what_is_missing_or_unknown_is_asked_for(model, text, slot):
    (step,) = model.understand(text)
    assert question(step)[0] == slot


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('bring the red ball to the bathroom', 'bathroom.* is no place that I know'),
        ('pick up the pink cube', "'pink' is no color that I know. Say one of red, green"),
    ],
)
def test_what_would_be_done_without_a_part_of_it_is_refused(model, text, reason):
    with pytest.raises(CommandError, match=reason):
        model.understand(text)


@pytest.mark.parametrize('text', ['', 'грести', 'x' * 5000, '\x00'])
def test_what_is_no_command_is_refused(model, text):
    with pytest.raises(CommandError):
        model.understand(text)


@pytest.mark.parametrize(
    'text', ['asdf qwer zxcv', 'colorless green ideas sleep furiously', 'lorem ipsum dolor']
)
def test_noise_is_out_of_scope(model, text):
    assert {step.name for step in model.understand(text)} == {OUT_OF_SCOPE}


def test_it_is_small_and_says_how_it_was_made():
    (version,) = (PRETRAINED / 'intent').iterdir()
    assert sum(file.stat().st_size for file in version.iterdir()) < 10_000_000
    manifest = json.loads((version / 'manifest.json').read_text())
    origin = manifest['provenance']
    assert origin['command'].startswith('./run train --mode intent') and origin['seed'] >= 0
    assert all(source['licence'] for source in origin['data'])
    assert all(
        source['sha256'] or source['name'].startswith(('grammar', 'frames'))
        for source in origin['data']
    )
    assert manifest['metrics']['held_out/accuracy'] > 0.5
