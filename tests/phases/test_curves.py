import math

import pytest
from robot_learning.errors import StoreError
from robot_learning.phases.curves import Curves
from robot_learning.phases.trainer import Progress
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_finite_numbers_become_points_over_updates(tmp_path):
    curves = Curves(tmp_path)
    curves.write(Progress('waiting', update=0, metrics={'sac/value': 9.0}))
    for update in (10, 20):
        metrics = {'sac/value': update / 10, 'sac/broken': math.nan}
        curves.write(Progress('training', update=update, metrics=metrics))
    curves.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars('sac/value')]
    assert points == [(10, 1.0), (20, 2.0)]
    assert 'sac/broken' not in events.Tags()['scalars']


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match='file/curves: cannot be written'):
        Curves(tmp_path / 'file' / 'curves')
