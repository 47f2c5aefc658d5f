"""NSCA learns from a store that grows, round after round, and goes on where it was killed."""

import json

import pytest
from moving_light import SETTINGS, light_contract, write_lights
from robot_learning.errors import ConfigError, DataError, NotEnoughDataError
from robot_learning.model_store import ModelStore
from robot_learning.phases import nsca_config, nsca_follower
from robot_learning.phases.devices import CPU
from robot_learning.phases.nsca_follower import NscaFollower
from robot_learning.phases.training_session import Destination

MODELS = ['eyes-dynamics', 'eyes-full', 'eyes-fusion', 'eyes-vision']


class Follower:
    """One trainer after the other over the same folder; notes what it reports."""

    def __init__(self, folder):
        self.folder, self.reports = folder, []
        self.models = ModelStore(folder / 'models')
        (folder / 'settings.yaml').write_text(SETTINGS)

    def make(self, phase='nsca', overrides='', keeps=True):
        settings = nsca_config.load(self.folder / 'settings.yaml', overrides)
        output = self.folder / 'out' if keeps else None
        destination = Destination(self.folder / 'models', 'eyes', output)
        return NscaFollower(
            phase, settings, self.folder / 'store', destination, light_contract(), 0, CPU
        )

    def run(self, is_enough, **choices):
        """Follow the store until `is_enough` of the newest report."""
        self.reports.clear()
        learner = self.make(**choices)
        learner.wake.set()

        def note(progress):
            self.reports.append((learner.phase, progress.state, progress.detail, progress.update))
            learner.wake.set()

        learner.run(lambda: self.reports and is_enough(self.reports[-1]), note)

    def newest(self):
        return {name: self.models.newest(name) for name in self.models.names()}


@pytest.fixture
def follower(tmp_path):
    return Follower(tmp_path)


def is_waiting(report):
    return report[1] == 'waiting'


def test_it_waits_learns_all_phases_and_learns_again_when_there_is_more(follower, tmp_path):
    follower.run(is_waiting)
    assert follower.reports[-1][2] == 'Holds 0 of 100 new steps; waiting for more.'
    assert write_lights(tmp_path / 'store', 10, seed=0) == 110
    follower.run(is_waiting)
    assert follower.reports[-1][2] == 'Holds 0 of 55 new steps; waiting for more.'
    learned = [phase for phase, state, *_ in follower.reports if state == 'finished']
    assert learned == ['nsca_vision', 'nsca_fusion', 'nsca_dynamics', 'nsca_full']
    first = follower.newest()
    assert sorted(first) == MODELS
    manifest = follower.models.manifest('eyes-full', first['eyes-full'])
    provenance = manifest['provenance']
    assert provenance['segments'] == ['today/segment_000000.hdf5']
    assert provenance['environment_step'] == 110
    assert [where.partition('@')[0] for where in provenance['sources']] == [
        'eyes-fusion',
        'eyes-dynamics',
    ]
    assert manifest['contract_hash'] == light_contract().hash
    assert manifest['policy']['has_outcomes'] is True
    assert 'held_out/outcome_loss' in manifest['metrics']

    write_lights(tmp_path / 'store', 5, seed=1)
    (tmp_path / 'store' / 'today' / 'segment_000000.hdf5').unlink()  # The store has its limit.
    follower.run(is_waiting)
    second = follower.newest()
    assert all(second[name] > first[name] for name in MODELS)
    newest = follower.models.manifest('eyes-full', second['eyes-full'])
    assert newest['provenance']['segments'] == ['today/segment_000001.hdf5']


def test_what_was_killed_in_a_round_goes_on_with_the_same_data(follower, tmp_path):
    write_lights(tmp_path / 'store', 10, seed=0)
    follower.run(lambda report: report[0] == 'nsca_dynamics' and report[1] == 'training')
    halfway = follower.newest()
    assert set(halfway) >= {'eyes-vision', 'eyes-fusion'}
    assert 'eyes-full' not in halfway
    write_lights(tmp_path / 'store', 10, seed=1)  # Meanwhile the robot drives on.
    follower.run(lambda report: report[0] == 'nsca_full' and report[1] == 'finished')
    assert {phase for phase, *_ in follower.reports} == {'nsca_dynamics', 'nsca_full'}
    made = follower.models.manifest('eyes-full', follower.newest()['eyes-full'])
    assert made['provenance']['segments'] == ['today/segment_000000.hdf5']
    assert follower.newest()['eyes-vision'] == halfway['eyes-vision']


def once(follower, overrides=''):
    """Learn one step of phase vision; return the version's manifest and a weight."""
    learner = follower.make('nsca_vision', overrides)
    learner.learn_once(1, lambda: False, lambda progress: None)
    tensors, manifest = follower.models.load('eyes-vision')
    return manifest, tensors['vision.output.weight']


def test_a_round_begins_where_the_newest_version_ended_if_its_sizes_are_the_same(
    follower, tmp_path
):
    write_lights(tmp_path / 'store', 8, seed=0)
    manifest, first = once(follower, 'config: {vision: {passes: {learning_rate: 0.1}}}')
    assert manifest['provenance']['sources'] == []
    manifest, second = once(follower)
    assert manifest['provenance']['sources'] == ['eyes-vision@1']
    assert manifest['config']['phase']['passes']['learning_rate'] == pytest.approx(3e-4)
    assert abs(second - first).max() < 1e-3, 'one step of 3e-4 away'
    manifest, fresh = once(follower, 'config: {follow: {continue_weights: false}}')
    assert manifest['provenance']['sources'] == []
    assert abs(fresh - first).max() > 0.05
    manifest, _ = once(follower, 'config: {model: {base_channels: 8}}')
    assert manifest['provenance']['sources'] == []


def test_every_phase_goes_on_and_says_from_where(follower, tmp_path):
    write_lights(tmp_path / 'store', 10, seed=0)
    follower.run(is_waiting)
    first = follower.newest()
    write_lights(tmp_path / 'store', 10, seed=1)
    follower.run(lambda report: report[0] == 'nsca_full' and report[1] == 'training')
    noted = json.loads(next((tmp_path / 'out').glob('**/round.json')).read_text())
    assert noted['begun'] == {
        name: f'eyes-{name}@{first[f"eyes-{name}"]}'
        for name in ('vision', 'fusion', 'dynamics', 'full')
    }
    follower.run(is_waiting)  # After the trainer was stopped in the middle.
    for name, version in follower.newest().items():
        sources = follower.models.manifest(name, version)['provenance']['sources']
        assert sources[-1] == f'{name}@{first[name]}'


def test_one_round_on_request_takes_what_there_is_and_keeps_nothing(follower, tmp_path):
    reports = []
    with pytest.raises(NotEnoughDataError, match='Holds 0 of 100 new steps'):
        follower.make(keeps=False).learn_once(3, lambda: False, reports.append)
    write_lights(tmp_path / 'store', 6, seed=0)
    progress = follower.make('nsca_vision', keeps=False).learn_once(
        3, lambda: False, reports.append
    )
    assert (progress.state, progress.update) == ('finished', 3)
    assert follower.models.names() == ['eyes-vision']
    assert not (tmp_path / 'out').exists()


def test_only_the_newest_segments_are_learned_from(follower, tmp_path):
    for seed in range(4):
        write_lights(tmp_path / 'store', 5, seed=seed)
    learner = follower.make('nsca_vision', 'config: {follow: {most_steps: 120}}')
    learner.learn_once(2, lambda: False, lambda progress: None)
    noted = json.loads(next((tmp_path / 'out').glob('**/round.json')).read_text())
    assert noted['segments'] == ['today/segment_000002.hdf5', 'today/segment_000003.hdf5']
    assert (noted['num_steps'], noted['stored_steps']) == (110, 220)


def test_a_round_that_collapses_is_given_up_and_the_next_one_begins_with_more_data(
    follower, tmp_path
):
    impossible = 'config: {vision: {contrast: {smallest_rank: 16.0, smallest_std: 9.0}}}'
    write_lights(tmp_path / 'store', 10, seed=0)
    follower.run(is_waiting, overrides=impossible)
    failed = [detail for _, state, detail, _ in follower.reports if state == 'failed']
    assert len(failed) == 1 and 'nsca_vision: has collapsed' in failed[0]
    waiting = follower.reports[-1][2]
    assert waiting.startswith('Holds 0 of 55 new steps; waiting for more. Round 1 was given up: ')
    assert failed[0] in waiting
    write_lights(tmp_path / 'store', 5, seed=1)
    follower.run(is_waiting)
    assert follower.reports[-1][2] == 'Holds 0 of 82 new steps; waiting for more.'
    assert sorted(follower.newest()) == MODELS


def test_episodes_that_are_too_short_are_named_and_not_read_again_with_every_new_one(
    follower, tmp_path, monkeypatch
):
    opened = []
    original = nsca_follower.open_paired
    monkeypatch.setattr(
        nsca_follower, 'open_paired', lambda *a, **k: opened.append(1) or original(*a, **k)
    )
    longer = 'config: {model: {temporal_length: 11}}'  # Episodes have eleven steps.
    write_lights(tmp_path / 'store', 20, seed=0)
    added = []

    def is_enough(report):
        assert report[1] == 'waiting' and 'holds no episode of 12 steps' in report[2]
        if len(added) < 4:
            added.append(write_lights(tmp_path / 'store', 1, seed=1 + len(added)))
            return False
        return True

    follower.run(is_enough, overrides=longer)
    assert len(opened) == 2, 'at first, and when there was a tenth more'


def test_a_sense_that_the_robot_lacks_fails_by_name(follower, tmp_path):
    write_lights(tmp_path / 'store', 10, seed=0)
    senses = 'config: {fusion: {senses: [vision, audio]}}'
    with pytest.raises(DataError, match='has no sound, only image, proprioception'):
        follower.run(is_waiting, overrides=senses)
    assert follower.reports[-1][1] == 'failed'


def test_an_unknown_phase_is_named(follower):
    with pytest.raises(ConfigError, match=r"phase: found 'nsca_smell', expected one of nsca,"):
        follower.make('nsca_smell')
