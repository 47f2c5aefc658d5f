import pytest
from robot_learning.errors import StoreError
from robot_learning.version_history import HISTORY, VersionHistory


def make(root, name='navigator', by='/policy'):
    (root / name).mkdir(exist_ok=True)
    clock = iter(range(100, 200))
    return VersionHistory(root, by, lambda: float(next(clock)))


def test_events_come_back_in_order_with_time_and_node(tmp_path):
    history = make(tmp_path)
    history.append('navigator', 1, 'serving')
    history.append('navigator', 2, 'refused', 'weights with\nline breaks and "quotes"')
    first, second = history.events('navigator')
    assert first == (1, 'serving', '', 100.0, '/policy')
    assert second == (2, 'refused', 'weights with\nline breaks and "quotes"', 101.0, '/policy')


def test_a_model_without_history_has_no_events(tmp_path):
    assert VersionHistory(tmp_path).events('navigator') == []
    assert VersionHistory(tmp_path).served('navigator') == []


def test_a_torn_record_costs_no_other(tmp_path):
    history = make(tmp_path)
    history.append('navigator', 1, 'serving')
    path = tmp_path / 'navigator' / HISTORY
    path.write_bytes(path.read_bytes() + b'\n{"version": 2, "state": "ser')
    history.append('navigator', 3, 'serving')
    assert [event.version for event in history.events('navigator')] == [1, 3]


def record(version='1', time_s='5'):
    rest = '"state": "serving", "reason": "", "by": ""'
    return f'{{"version": {version}, "time_s": {time_s}, {rest}}}'


@pytest.mark.parametrize(
    'record',
    [
        *('3', '[]', '{"version": "x"}', 'nothing', '{"version": 1}', '[' * 100_000),
        *(record(version='Infinity'), record(version='1e999'), record(version='9' * 5000)),
        *(record(time_s='NaN'), record(time_s='1e999')),
        *(record(time_s='1e20'), record(time_s='-1')),
    ],
)
def test_strange_records_are_left_out(tmp_path, record):
    history = make(tmp_path)
    (tmp_path / 'navigator' / HISTORY).write_text(f'\n{record}')
    history.append('navigator', 3, 'serving')
    assert [event.version for event in history.events('navigator')] == [3]


def test_what_served_last_is_at_the_end(tmp_path):
    history = make(tmp_path)
    for version, state in [(1, 'serving'), (2, 'serving'), (3, 'canary'), (1, 'rolled_back')]:
        history.append('navigator', version, state)
    assert history.served('navigator') == [2, 1]


def test_a_link_is_not_followed(tmp_path):
    history = make(tmp_path)
    target = tmp_path / 'precious'
    target.write_text('keep')
    (tmp_path / 'navigator' / HISTORY).symlink_to(target)
    with pytest.raises(StoreError, match=r'history\.jsonl: cannot be written'):
        history.append('navigator', 1, 'serving')
    assert target.read_text() == 'keep'


def test_reasons_are_cut_to_what_one_record_may_hold(tmp_path):
    history = make(tmp_path)
    history.append('navigator', 1, 'refused', 'x' * 100_000)
    assert len(history.events('navigator')[0].reason) == 2000
