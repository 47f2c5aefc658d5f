import json
import sys
from pathlib import Path

import pytest
import yaml
from robot_learning.commands import bags

sys.path.append(str(Path(__file__).parent.parent / 'trajectory'))
from bag_files import drive, write_bag
from recordings import robot


@pytest.fixture
def contract_file(tmp_path):
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump(robot().to_dict()))
    return str(path)


@pytest.fixture
def bag(tmp_path):
    return str(write_bag(tmp_path / 'bag', drive()))


def test_import_writes_episodes_and_a_report(bag, contract_file, tmp_path, capsys):
    store, report = tmp_path / 'store', tmp_path / 'reports' / 'r.json'
    arguments = ['import', bag, '--robot', contract_file, '--out', str(store)]
    assert bags.main([*arguments, '--json', str(report)]) == 0
    printed = capsys.readouterr().out
    assert 'kept 15 steps in 1 episodes' in printed and '/odom' in printed
    content = json.loads(report.read_text())
    assert content['num_steps'] == 15 and content['robot'] == 'tiny'
    odom = next(topic for topic in content['topics'] if topic['topic'] == '/odom')
    assert odom['counts']['received'] == 30 and odom['counts']['unaccounted'] == 0
    assert (store / 'bag' / 'segment_000000.hdf5').is_file()
    assert bags.main(arguments) == 2
    assert 'the session exists already' in capsys.readouterr().err


def test_a_bag_without_a_complete_step_is_told_by_the_exit_code(contract_file, tmp_path, capsys):
    entries = [entry for entry in drive(4) if entry[0] == '/odom']
    late = [(*drive()[0][:2], 10**12, drive()[0][3])]
    bag = write_bag(tmp_path / 'bag', [*entries[:1], *late])
    arguments = ['import', str(bag), '--robot', contract_file, '--out', str(tmp_path / 'store')]
    assert bags.main(arguments) == 1
    assert 'no step was complete' in capsys.readouterr().out


def test_mistakes_are_one_message_on_stderr(contract_file, tmp_path, capsys):
    missing = str(tmp_path / 'nowhere')
    assert bags.main(['import', missing, '--robot', contract_file]) == 2
    assert capsys.readouterr().err.strip() == (
        f'{missing}: there is no such bag. Name an existing one.'
    )
    assert bags.main(['import', missing, '--robot', 'walker']) == 2
    assert "robot 'walker': no contract" in capsys.readouterr().err


def test_info_lists_topics_for_people_and_programs(bag, capsys):
    assert bags.main(['info', bag]) == 0
    assert 'nav_msgs/msg/Odometry' in capsys.readouterr().out
    assert bags.main(['info', bag, '--json']) == 0
    info = json.loads(capsys.readouterr().out)
    assert info['messages'] == 31
    assert [topic['messages'] for topic in info['topics']] == [1, 30]


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        bags.main(['--help'])
    assert caught.value.code == 0
    assert './run bags import' in capsys.readouterr().out


def test_recover_makes_a_cut_bag_importable(bag, contract_file, tmp_path, capsys):
    file = Path(bag) / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:-300])
    (Path(bag) / 'metadata.yaml').unlink()
    sound, store = str(tmp_path / 'sound'), str(tmp_path / 'store')
    assert bags.main(['import', bag, '--robot', contract_file, '--out', store]) == 2
    assert f'bags recover {bag} --out' in capsys.readouterr().err
    assert bags.main(['recover', bag, '--out', sound]) == 0
    printed = capsys.readouterr().out
    assert '31 messages, nothing is missing' in printed
    assert 'its summary is cut or damaged' in printed and 'no metadata.yaml' in printed
    assert bags.main(['import', sound, '--robot', contract_file, '--out', store]) == 0


def test_recover_says_what_is_missing(bag, tmp_path, capsys):
    file = Path(bag) / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:12_000])
    assert bags.main(['recover', bag, '--out', str(tmp_path / 'sound'), '--json']) == 1
    report = json.loads(capsys.readouterr().out)
    saved = report['saved']['/odom']
    assert 0 < saved < 30 and report['lost'] == {'/odom': 30 - saved}
    (found,) = report['files']
    assert found['unreadable'][-1]['stop'] == 12_000 == found['size']
    assert found['holes'][-1]['to_ns'] is None
    assert bags.main(['recover', bag, '--out', str(tmp_path / 'again')]) == 1
    printed = capsys.readouterr().out
    assert 'cut inside a chunk' in printed and 'what is missing stands above' in printed
    (tmp_path / 'junk.mcap').write_bytes(b'no MCAP')
    arguments = ['recover', str(tmp_path / 'junk.mcap'), '--out', str(tmp_path / 'nothing')]
    assert bags.main(arguments) == 2
    assert 'nothing in it can be read' in capsys.readouterr().err
    assert not (tmp_path / 'nothing').exists()


def test_info_tells_of_a_bag_that_was_never_completed(bag, capsys):
    (Path(bag) / 'metadata.yaml').unlink()
    assert bags.main(['info', bag]) == 0
    printed = capsys.readouterr().out
    assert 'never completed: bag.mcap has no end yet' in printed
    assert f'bags recover {bag} --out FOLDER' in printed and '/odom' in printed


def test_trim_cuts_a_piece(bag, tmp_path, capsys):
    piece = str(tmp_path / 'piece')
    assert bags.main(['trim', bag, '--out', piece, '--last', '0.5', '--topics', '/odom']) == 0
    printed = capsys.readouterr().out
    assert '/odom: 10 messages' in printed and '10 messages of 0.500 s' in printed
    assert bags.main(['info', piece, '--json']) == 0
    assert json.loads(capsys.readouterr().out)['counts']['/odom']['written'] == 10
    arguments = ['trim', bag, '--out', piece, '--last', '1', '--start', '0']
    assert bags.main(arguments) == 2
    assert '--last: found together with --start' in capsys.readouterr().err
