import json
from pathlib import Path

import pytest
from robot_learning.commands.run_directory import RunDirectory, RunState, Session, write_json
from robot_learning.errors import ConfigError, StoreError


def test_a_rerun_finds_the_state_of_the_run(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    state = run.open(3, 'arena', 'abc')
    state.sessions.append(Session('session_01', 7, 100.0, 60.0, 5000, gate={'altered': 2}))
    run.write_state(state)
    again = RunDirectory(tmp_path / 'run').open(None, 'arena', 'abc')
    assert again.seed == 3
    assert (again.loop_seconds, again.environment_steps) == (60.0, 5000)
    assert again.sessions[0].gate == {'altered': 2}


def test_another_contract_or_seed_is_refused_by_name(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    run.open(3, 'arena', 'abc')
    with pytest.raises(ConfigError, match='made with contract arena abc, found husky def'):
        run.open(None, 'husky', 'def')
    with pytest.raises(ConfigError, match='begun with seed 3, found --seed 4'):
        run.open(4, 'arena', 'abc')


def test_a_folder_with_other_files_is_not_taken(tmp_path):
    (tmp_path / 'thesis.txt').write_text('chapter 1')
    with pytest.raises(ConfigError, match=r'holds files but no run\.json'):
        RunDirectory(tmp_path).open(0, 'arena', 'abc')


def test_moments_become_loop_time_across_sessions():
    state = RunState(0, 'arena', 'abc')
    state.sessions = [
        Session('session_01', 1, first_step_unix_s=1000.0, loop_seconds=60.0),
        Session('session_02', 1, first_step_unix_s=5000.0, loop_seconds=30.0),
    ]
    assert state.loop_time_of(1030.0) == 30
    assert state.loop_time_of(3000.0) == 60  # Between the sessions: published while ending.
    assert state.loop_time_of(5010.0) == 70
    assert state.loop_time_of(9999.0) == 90
    assert state.loop_time_of(0.0) == 0


def test_the_timeline_survives_a_line_cut_short(tmp_path):
    run = RunDirectory(tmp_path / 'run')
    run.open(0, 'arena', 'abc')
    run.append_timeline([{'kind': 'episode', 'wall_s': 1.0}])
    path = run.logs / 'timeline.jsonl'
    path.write_text(path.read_text() + '{"kind": "epis')
    assert run.timeline() == [{'kind': 'episode', 'wall_s': 1.0}]


def test_latest_leads_to_the_newest_run(tmp_path):
    for name in ('first', 'second'):
        run = RunDirectory(tmp_path / name)
        run.open(0, 'arena', 'abc')
        run.point_latest_here()
    assert (tmp_path / 'latest').resolve() == tmp_path / 'second'
    through_link = RunDirectory.choose(tmp_path / 'latest', tmp_path)
    through_link.point_latest_here()
    assert (tmp_path / 'latest').resolve() == tmp_path / 'second'


def test_json_holds_null_where_nothing_is_known(tmp_path):
    write_json(tmp_path / 'x.json', {'a': float('nan'), 'b': [float('inf'), 1.5]})
    assert json.loads((tmp_path / 'x.json').read_text()) == {'a': None, 'b': [None, 1.5]}


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    for place in (tmp_path / 'file', tmp_path / 'file' / 'run'):
        with pytest.raises(StoreError, match=f'{place}: is no folder that can be read'):
            RunDirectory(place).open(0, 'arena', 'abc')
    with pytest.raises(StoreError, match='nothing: cannot be made'):
        RunDirectory(Path('/proc/nothing')).open(0, 'arena', 'abc')
    with pytest.raises(StoreError, match=r'score\.json: cannot be written'):
        write_json(tmp_path / 'file' / 'score.json', {})
