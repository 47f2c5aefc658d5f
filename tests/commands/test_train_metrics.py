from robot_learning.commands.train_metrics import counted, leading, shown


def test_a_bar_shows_what_matters_of_a_phase_and_nothing_else():
    metrics = {'sac/actor_loss': 3.0, 'sac/critic_loss': 0.51234567, 'episode/return': -3.0}
    assert shown('sac', metrics) == {'return': '-3', 'critic_loss': '0.5123'}
    assert shown('sac', metrics | {'episode/success': 0.5}) == {'return': '-3', 'success': '0.5'}


def test_held_out_numbers_are_told_from_those_of_training():
    metrics = {'robust_cloning/loss': 2.0, 'held_out/loss': 1.0}
    assert shown('robust_cloning', metrics) == {'held-out loss': '1', 'loss': '2'}


def test_every_phase_has_something_to_look_at_first():
    from robot_learning.phases.phase import PHASES

    assert all(leading(phase) for phase in PHASES)


def test_one_is_not_many():
    assert [counted(n, 'step') for n in (0, 1, 2)] == ['0 steps', '1 step', '2 steps']
    assert counted(2, 'stretch', 'stretches') == '2 stretches'
