import pytest
from robot_learning.errors import CommandError
from robot_learning.language.intents import INTENTS, OUT_OF_SCOPE, SLOT_WORDS, Intent, check
from robot_learning.language.planner import MAX_ACTIONS, Situation, Zone, plan

ALL = frozenset({'drive', 'localisation', 'camera', 'gripper', 'lidar'})
ARENA = Situation(
    ALL,
    paths={'square': ((0.5, 0.0), (0.0, 0.0)), 'corridor': ((0.0, 0.0), (3.0, 0.0))},
    places={'home': (0.0, 0.0), 'kitchen': (2.0, 1.0), 'garage': (-2.0, -2.0)},
    forbidden=(Zone('the stairs', -2.5, -2.5, -1.5, -1.5),),
    bounds=Zone('the arena', -2.5, -2.5, 2.5, 2.5),
)


def calls(*intents, situation=ARENA):
    return [step.text for step in plan(intents, situation).steps]


def test_one_command_after_the_other_becomes_one_plan():
    assert calls(
        Intent('go_to_object', {'object': 'cube', 'color': 'red'}), Intent('return_home')
    ) == [
        "navigation.go_to_object(object_type='cube', color='red', timeout=60.0)",
        'navigation.return_home()',
    ]
    assert calls(Intent('bring', {'object': 'ball', 'color': 'blue', 'place': 'kitchen'})) == [
        "gripper.pick_up(object_type='ball', color='blue')",
        "gripper.drop_at(room='kitchen')",
    ]


@pytest.mark.parametrize(
    ('slots', 'angle'),
    [
        ({'direction': 'left'}, 90.0),
        ({'direction': 'right', 'angle': 45.0}, -45.0),
        ({'direction': 'right', 'angle': -30.0}, -30.0),
        ({'direction': 'backward'}, 180.0),
    ],
)
def test_left_is_positive(slots, angle):
    (step,) = plan([Intent('turn', slots)], ARENA).steps
    assert step.arguments['angle'] == angle


def test_to_the_side_it_turns_first():
    assert calls(Intent('move', {'direction': 'right', 'distance': 1})) == [
        'robot.turn(angle=-90.0, speed=45.0)',
        'robot.move_forward(distance=1.0, speed=0.2)',
    ]
    assert calls(Intent('move', {'direction': 'backward', 'distance': 0.5}))[0].startswith(
        'robot.move_backward'
    )


def test_what_is_missing_is_asked_for_and_nothing_is_done():
    found = plan([Intent('return_home'), Intent('bring', {'color': 'red'})], ARENA)
    assert found.steps == ()
    assert (found.missing, found.question) == (
        'object',
        'What should I take: a ball, a cube or a can?',
    )
    for kind in INTENTS.values():
        for slot in kind.needed:
            assert kind.questions[slot].endswith('?')


def test_what_is_held_decides_what_can_come_next():
    pick, put = Intent('pick_up', {'object': 'can'}), Intent('put_down')
    assert len(calls(pick, put, pick)) == 3
    with pytest.raises(CommandError, match='something is held already'):
        calls(pick, pick)
    with pytest.raises(CommandError, match='nothing is held'):
        calls(put)
    holding = Situation(ALL, places=ARENA.places, is_holding=True)
    assert calls(Intent('put_down', {'place': 'home'}), situation=holding) == [
        "gripper.drop_at(room='home')"
    ]


def test_where_it_must_not_go_is_refused():
    with pytest.raises(CommandError, match='leads into the stairs, which is forbidden'):
        calls(Intent('go_to_place', {'place': 'garage'}))
    with pytest.raises(CommandError, match='leads out of the arena'):
        calls(Intent('go_to_pose', {'x': 3.0, 'y': 0.0}))
    with pytest.raises(CommandError, match=r'where office is. I know home, kitchen, garage'):
        calls(Intent('go_to_place', {'place': 'office'}))


def test_a_robot_without_what_it_takes_is_named():
    wheels = Situation(frozenset({'drive'}), places=ARENA.places)
    with pytest.raises(CommandError, match=r'gripper.pick_up: this robot has no camera and no'):
        calls(Intent('pick_up', {'object': 'can'}), situation=wheels)


def test_limits_of_the_table_hold_for_plans_too():
    with pytest.raises(CommandError, match=r'distance is 50, expected a number from 0.01 to 20'):
        calls(Intent('move', {'distance': 50}))
    with pytest.raises(CommandError, match=f'takes 21 actions, expected at most {MAX_ACTIONS}'):
        calls(*[Intent('stop')] * 21)


def test_nobody_turns_forward():
    with pytest.raises(CommandError, match='direction is forward, expected left, right'):
        calls(Intent('turn', {'direction': 'forward'}))


def test_out_of_scope_says_what_it_can():
    with pytest.raises(CommandError, match=r'nothing that this robot is for. It can move, turn'):
        calls(Intent(OUT_OF_SCOPE, text='what is the weather in Paris'))
    with pytest.raises(CommandError, match='is empty'):
        plan([], ARENA)


def test_slots_beyond_the_schema_are_refused():
    for intent, reason in (
        (Intent('dance'), "intent 'dance': unknown"),
        (Intent('stop', {'color': 'red'}), "has no slot 'color'"),
        (Intent('pick_up', {'object': 'unicorn'}), "object is 'unicorn', expected one of ball"),
        (Intent('move', {'distance': float('nan')}), 'distance is nan, expected a number'),
        (Intent('move', {'distance': 'far'}), "distance is 'far', expected a number"),
        (Intent('wait', {'duration': True}), 'duration is True, expected a number'),
    ):
        with pytest.raises(CommandError, match=reason):
            check(intent)


def test_every_intent_has_a_plan_with_any_words_of_its_slots():
    numbers = {'distance': 1.0, 'angle': 90.0, 'duration': 1.0, 'x': 0.0, 'y': 0.0, 'speed': 0.3}
    for kind in INTENTS.values():
        if kind.name == OUT_OF_SCOPE:
            continue
        for index in range(6):
            slots = {}
            for slot in (*kind.needed, *kind.possible):
                words = SLOT_WORDS.get(slot)
                slots[slot] = words[index % len(words)] if words else numbers[slot]
            if kind.name == 'turn' and slots['direction'] == 'forward':
                slots['direction'] = 'left'
            places = dict.fromkeys(SLOT_WORDS['place'], (0.0, 0.0))
            paths = dict.fromkeys(SLOT_WORDS['path'], ((0.0, 0.0),))
            holding = Situation(ALL, places, paths, is_holding=kind.name == 'put_down')
            found = plan([Intent(kind.name, slots)], holding)
            assert found.steps and not found.question


def test_paths_and_home_must_be_known_and_allowed():
    for path, text in (
        ('circle', 'nobody has shown me that path. I know square, corridor'),
        ('corridor', 'leads out of the arena'),
    ):
        with pytest.raises(CommandError, match=text):
            plan([Intent('follow_path', {'path': path})], ARENA)
    assert calls(Intent('follow_path', {'path': 'square'}))
    with pytest.raises(CommandError, match='where home is'):
        plan([Intent('return_home')], Situation(ALL))
