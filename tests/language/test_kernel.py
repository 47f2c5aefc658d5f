from robot_learning.language.intents import OUT_OF_SCOPE, Intent
from robot_learning.language.kernel import ALL_ABILITIES, Kernel
from robot_learning.language.planner import Situation

PLACES = {'home': (0.0, 0.0), 'kitchen': (1.0, 1.0)}
KERNEL = Kernel(Situation(ALL_ABILITIES, PLACES))


def test_what_is_understood_becomes_steps():
    wanted = [Intent('go_to_place', {'place': 'kitchen'}), Intent('return_home')]
    decision = KERNEL.decide(wanted)
    assert [step.verb.name for step in decision.steps] == [
        'navigation.go_to_room',
        'navigation.return_home',
    ]
    assert not (decision.question or decision.refusal)
    assert KERNEL.plan(wanted[1]).steps == KERNEL.plan([wanted[1]]).steps


def test_what_is_missing_is_asked_for():
    decision = KERNEL.decide([Intent('bring', {})])
    assert decision.missing == 'object' and decision.question.endswith('?')
    assert decision.steps == () and decision.refusal == ''


def test_it_asks_rather_than_guesses():
    unsure = Intent('pick_up', {'object': 'can'}, 0.3, 'hoist the thing')
    decision = KERNEL.decide([Intent('return_home'), unsure])
    assert decision.steps == () and decision.missing == 'intent'
    assert '"hoist the thing": did you mean "pick up"' in decision.question
    assert Kernel(KERNEL.situation, min_confidence=0.2).decide([unsure]).steps


def test_what_must_not_be_is_refused_with_a_reason_and_nothing_is_done():
    for wanted, reason in (
        (Intent(OUT_OF_SCOPE, {}, 0.1, 'sing a song'), "'sing a song' is nothing"),
        (Intent('go_to_place', {'place': 'garage'}), 'nobody has told me where garage is'),
        (Intent('put_down', {}), 'nothing is held'),
    ):
        decision = KERNEL.decide([Intent('return_home'), wanted])
        assert reason in decision.refusal
        assert decision.steps == () and decision.question == ''


def test_a_robot_without_the_actuator_refuses():
    small = Kernel(Situation(frozenset({'drive', 'localisation'}), PLACES))
    assert (
        'no camera and no gripper' in small.decide([Intent('pick_up', {'object': 'can'})]).refusal
    )
    assert 'empty' in small.decide([]).refusal


def test_it_says_what_this_robot_can_do_here():
    said = KERNEL.abilities()
    assert 'Turn on the spot' in said and 'grasp it' in said and 'Places: home, kitchen.' in said
    small = Kernel(Situation(frozenset({'drive'}))).abilities()
    assert 'Turn on the spot' in small and 'grasp' not in small and 'Places' not in small
