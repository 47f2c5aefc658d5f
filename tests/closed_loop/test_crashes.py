"""A short crash campaign: each process is killed -9 once while the loop runs."""

import os
import random

import pytest
from campaign import PROCESSES, Campaign, shuffled_schedule

SEED = 11
STOP_WITHIN_MS = 1000  # The benchmark measures; here it only must happen.


@pytest.fixture(scope='module')
def chapter(tmp_path_factory):
    schedule = shuffled_schedule(dict.fromkeys(PROCESSES, 1), random.Random(SEED))
    folder = tmp_path_factory.mktemp('crashes')
    campaign = Campaign(folder, 'real_time', int(os.environ['ROS_DOMAIN_ID']), SEED)
    return campaign.run(schedule, on_kill=print)


def test_everything_works_again_after_each_kill(chapter):
    assert all(kill.has_recovered for kill in chapter.kills)
    assert chapter.exit_code == 0


def test_everything_before_the_open_segment_is_on_disk_and_sound(chapter):
    assert chapter.num_segments > 5
    assert chapter.recorded.num_steps > 50
    assert chapter.bags.num_steps > 50
    assert chapter.damaged == []


def test_no_version_is_half_visible(chapter):
    assert chapter.num_versions > 3
    assert chapter.half_visible == []
    assert chapter.refused == []


def test_the_trainer_goes_on_from_its_checkpoint(chapter):
    assert chapter.lost_updates == []


def test_the_robot_stands_after_the_death_of_its_policy(chapter):
    deaths = [kill for kill in chapter.kills if kill.to_stand_ms is not None]
    assert deaths
    assert all(max(kill.to_zero_ms, kill.to_stand_ms) < STOP_WITHIN_MS for kill in deaths)


def test_nothing_is_left_behind(chapter):
    assert chapter.num_orphans == 0
    assert all(kill.num_orphans == 0 for kill in chapter.kills)
    assert chapter.stale_files == []
