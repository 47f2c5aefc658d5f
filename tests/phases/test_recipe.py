import pytest
from robot_learning.errors import ConfigError
from robot_learning.phases import recipe
from robot_learning.phases.phase import PHASES


@pytest.mark.parametrize('phase', list(PHASES))
def test_every_phase_ships_a_file_that_reads(phase):
    plan = recipe.load(phase)
    assert plan.phase_class is PHASES.get(phase)
    assert isinstance(plan.phase_config, plan.phase_class.Config)


def test_overrides_replace_single_keys():
    plan = recipe.load('sac', overrides='config: {batch_size: 32}\ntrainer: {warmup_steps: 7}')
    plain = recipe.load('sac')
    assert (plan.phase_config.batch_size, plan.trainer.warmup_steps) == (32, 7)
    assert plan.phase_config.hidden == plain.phase_config.hidden


def test_wrong_keys_and_values_are_named_with_their_lines(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('phase: sac\nconfig:\n  batch_size: -1\n  learnin_rate: 3\n')
    with pytest.raises(ConfigError) as caught:
        recipe.load('sac', file)
    text = str(caught.value)
    assert 'mine.yaml:3: batch_size' in text
    assert 'mine.yaml:4: learnin_rate: unknown key' in text


def test_a_file_of_another_phase_is_refused(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('phase: behavior_cloning\n')
    with pytest.raises(ConfigError, match=r"for phase 'behavior_cloning', expected 'sac'"):
        recipe.load('sac', file)


def test_an_unknown_phase_is_named_beside_those_there_are():
    with pytest.raises(ConfigError, match=r"phase 'sacc': unknown.*behavior_cloning, .*sac"):
        recipe.load('sacc')


def test_overrides_that_are_no_yaml_mapping_are_refused():
    with pytest.raises(ConfigError, match='expected keys and values'):
        recipe.load('sac', overrides='32')


def test_overrides_that_are_a_trap_are_refused():
    for text in (
        'a: ' + '[' * 5000,
        'config: {batch_size: .inf}',
        'config: !!python/name:os.system',
    ):
        with pytest.raises(ConfigError, match='overrides'):
            recipe.load('sac', overrides=text)
