import pytest
from robot_learning.errors import ConfigError
from robot_learning.registry import Registry


def test_names_are_found_listed_in_order_and_tested_for():
    table: Registry[type] = Registry('phase')

    @table.register('sac')
    class Sac:
        pass

    @table.register('ppo')
    class Ppo:
        pass

    assert table.get('sac') is Sac and table.get('ppo') is Ppo
    assert list(table) == ['ppo', 'sac']
    assert 'sac' in table and 'dreamer' not in table


def test_an_unknown_name_lists_the_known_ones():
    table: Registry[int] = Registry('phase')
    with pytest.raises(ConfigError, match=r"phase 'sac': unknown\. Choose one of: none\."):
        table.get('sac')
    table.register('ppo')(1)
    table.register('bc')(2)
    with pytest.raises(ConfigError, match=r'Choose one of: bc, ppo\.'):
        table.get('sac')


def test_a_name_is_given_once():
    table: Registry[int] = Registry('task')
    table.register('goal')(1)
    with pytest.raises(ConfigError, match="task 'goal': registered twice"):
        table.register('goal')(2)
    assert table.get('goal') == 1
