from crash_checks import Life, Outage, Step, compare
from witness import Action


def decision(number, world=0, version=1):
    """Heard at 0.2 s a step; every world has stamps from 0 and its own commands."""
    return Action(number * 10**8, bytes([world, number]), version, 100.0 * world + 0.2 * number)


def heard(*lengths):
    return [decision(n, world) for world, length in enumerate(lengths) for n in range(length)]


def kept(actions, killed_s=None):
    return Life([Step(*action[:3]) for action in actions], killed_s)


def test_what_is_kept_without_a_hole_has_no_problem():
    actions = heard(20)
    findings = compare(actions, [kept(actions[3:17], killed_s=3.7)], [])
    assert (findings.num_steps, findings.unheard, findings.problems) == (14, 0, [])
    assert findings.lost_at_end == [2]  # Heard at 3.4 and 3.6 s, behind the last one kept.


def test_a_hole_is_named_unless_another_process_was_dead():
    actions = heard(20)
    life = kept([*actions[:8], *actions[10:]])
    findings = compare(actions, [life], [])
    assert [text.split(', heard')[0] for text in findings.problems] == [
        'recorder 0: the decision of version 1 at 0.80 s',
        'recorder 0: the decision of version 1 at 0.90 s',
    ]
    findings = compare(actions, [life], [Outage(1.5, 1.9)])
    assert findings.problems == [] and findings.beside_outages == 2


def test_a_hole_at_the_seam_of_two_lives_is_nobodys():
    actions = heard(20)
    lives = [kept(actions[:8], killed_s=1.7), kept(actions[12:])]
    findings = compare(actions, lives, [])
    assert findings.problems == [] and findings.lost_at_end == [1]


def test_a_decision_that_another_world_repeats_leads_nobody_astray():
    actions = heard(10, 10, 10)
    same = actions[5]
    for world in (1, 2):  # The same stamp and command; in the middle the witness missed it.
        actions[10 * world + 5] = same._replace(arrival_s=actions[10 * world + 5].arrival_s)
    middle = actions[10:20]
    known = [*actions[:15], *actions[16:]]
    lives = [kept(actions[:10], 2.0), kept(middle, 102.0), kept(actions[20:])]
    findings = compare(known, lives, [])
    assert findings.problems == []
    assert (findings.num_steps, findings.unheard) == (30, 1)


def test_a_hole_in_the_second_of_two_equal_worlds_is_still_found():
    actions = heard(10)
    again = [a._replace(arrival_s=a.arrival_s + 10) for a in actions]
    lives = [kept(actions, 3.0), kept([*again[:4], *again[5:]])]
    findings = compare([*actions, *again], lives, [])
    assert [text.split(', heard')[0] for text in findings.problems] == [
        'recorder 1: the decision of version 1 at 0.40 s'
    ]


def test_while_the_clock_stands_between_two_episodes_the_policy_says_stop_again_and_again():
    """What is decided at the last step moves nothing; the recorder keeps the stop command."""
    last = 5 * 10**8
    stops = [Action(last, b'stop', -1, 1.1 + 0.1 * n) for n in range(8)]
    later = [decision(n)._replace(arrival_s=2.0 + 0.2 * n) for n in range(6, 10)]
    actions = [*heard(6), *stops, *later]
    steps = [Step(*action[:3]) for action in [*heard(6), *later]]
    steps[5] = Step(last, b'still', -1)
    findings = compare(actions, [Life(steps, None, frozenset([5]))], [])
    assert findings.problems == [] and findings.unheard == 0


def test_an_end_is_not_looked_for_in_the_world_before():
    """No decision of its own was heard, and another world had one at the same moment."""
    first, second = (
        heard(20),
        [decision(n, 1)._replace(arrival_s=9.0 + 0.2 * n) for n in range(20)],
    )
    actions = [*first, *second[:15], *second[16:]]
    steps = [Step(*action[:3]) for action in [*first, *second]]
    steps[35] = Step(second[15].stamp_ns, b'still', -1)
    findings = compare(actions, [Life(steps, None, frozenset([35]))], [])
    assert findings.problems == [] and findings.unheard == 1


def test_an_end_may_be_heard_behind_the_first_step_of_the_next_episode():
    actions = heard(20)
    mixed = [*actions[:7], actions[8], actions[7], *actions[9:]]
    steps = [Step(*action[:3]) for action in actions]
    steps[7] = steps[7]._replace(version=-1)
    findings = compare(mixed, [Life(steps, None, frozenset([7]))], [])
    assert (findings.problems, findings.unheard) == ([], 0)


def test_steps_that_the_recorder_counted_as_skipped_are_accounted_for():
    actions = heard(20)
    steps = [Step(*action[:3]) for action in [*actions[:8], *actions[10:]]]
    findings = compare(actions, [Life(steps, None, num_skipped=2)], [])
    assert findings.problems == [] and findings.skipped == 2
    findings = compare(actions, [Life(steps, None, num_skipped=1)], [])
    assert len(findings.problems) == 2 and findings.skipped == 0


def test_what_the_witness_heard_a_little_too_early_or_late_is_still_found():
    actions = heard(20)
    mixed = [*actions[:7], actions[8], actions[9], actions[7], *actions[10:]]
    findings = compare(mixed, [kept(actions[2:18], killed_s=3.7)], [])
    assert (findings.problems, findings.unheard) == ([], 0)


def test_an_end_that_a_recorder_kept_before_it_heard_decisions_is_no_beginning():
    """Its first topic was matched earlier than that of the decisions."""
    actions = heard(20)
    steps = [Step(3 * 10**8, b'still', -1), *(Step(*action[:3]) for action in actions[9:])]
    findings = compare(actions, [Life(steps, None, frozenset([0]))], [])
    assert findings.problems == [] and findings.num_steps == 12


def test_a_step_that_holds_another_command_is_shown_beside_it():
    actions = heard(6)
    wrong = Step(actions[3].stamp_ns, bytes(4), 7)
    life = kept([*actions[:3], *actions[4:]])
    life.steps.insert(3, wrong)
    sent = actions[3]._replace(executed=bytes(4)[:-1] + b'\x40')
    (problem,) = compare([*actions[:3], sent, *actions[4:]], [life], []).problems
    assert problem.endswith('is not kept: heard [2.], kept [0.] of version 7')
