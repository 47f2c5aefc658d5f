"""What the loop over fixed data does, shown on a line through points."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from line_fit import OFFSET, SLOPE, LineFit, Points, passes
from robot_learning.errors import ConfigError, DataError, NotEnoughDataError, TrainingError
from robot_learning.model_store import ModelStore
from robot_learning.phases.batch_plan import BatchPlan, planned_batches
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.publishing import Publisher


def weights(objective):
    return torch.cat([p.detach().flatten() for p in objective.module.parameters()])


def test_a_line_is_found(tmp_path):
    line = LineFit()
    progress = passes(line, Points(64), epochs=60, schedule='constant').run()
    torch.testing.assert_close(weights(line), torch.tensor([SLOPE, OFFSET]), atol=0.01, rtol=0)
    assert progress.state == 'finished'
    assert progress.metrics['held_out/loss'] < 1e-3


def test_every_pass_reads_every_row_once_in_a_new_order():
    points = Points(16)
    passes(LineFit(), points, epochs=2).run()
    first, second = np.concatenate(points.read_rows[:2]), np.concatenate(points.read_rows[2:])
    assert sorted(first) == sorted(second) == list(range(16))
    assert list(first) != list(second)


def test_a_training_that_was_stopped_equals_one_that_was_not(tmp_path):
    whole, parts = LineFit(noise=0.3), LineFit(noise=0.3)
    passes(whole, Points(40)).run()
    folder = CheckpointFolder(tmp_path)
    first = passes(parts, Points(40), checkpoints=folder)
    first.run(should_stop=lambda: len(parts.seen_done) >= 7)
    assert len(parts.seen_done) == 7
    again = LineFit(noise=0.3)
    second = passes(again, Points(40), checkpoints=folder)
    second.resume()
    assert second.run().update == 15
    assert torch.equal(weights(again), weights(whole))
    assert len(again.seen_done) == 8


def test_one_that_is_finished_learns_nothing_more(tmp_path):
    folder = CheckpointFolder(tmp_path)
    passes(LineFit(), Points(16), checkpoints=folder).run()
    line = LineFit()
    again = passes(line, Points(16), checkpoints=folder)
    again.resume()
    assert again.run().state == 'finished'
    assert not line.seen_done


def test_other_data_do_not_go_on_from_a_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path)
    passes(LineFit(), Points(16), checkpoints=folder).run()
    with pytest.raises(TrainingError, match=r"'rows': 16.*'rows': 24.*another output folder"):
        passes(LineFit(), Points(24), checkpoints=folder).resume()


def test_two_batches_of_half_the_size_make_the_same_update():
    whole, halves = LineFit(), LineFit()
    passes(whole, Points(32), batch_size=16).run()
    passes(halves, Points(32), batch_size=8, accumulation=2).run()
    torch.testing.assert_close(weights(halves), weights(whole), atol=1e-6, rtol=0)


def test_batches_that_workers_read_are_the_same():
    alone, helped = LineFit(), LineFit()
    passes(alone, Points(16)).run()
    passes(helped, Points(16), workers=1).run()
    assert torch.equal(weights(alone), weights(helped))


class Recording(Points):
    """Notes which rows are read, and by which thread."""

    def __init__(self, count):
        super().__init__(count)
        self.read_by, self.rows = set(), []

    def read(self, rows):
        self.read_by.add(threading.get_ident())
        self.rows.append(rows.tolist())
        return super().read(rows)


def test_a_thread_reads_ahead_in_order_as_far_as_asked_and_no_further():
    data = Recording(40)
    plan = BatchPlan(40, 4, 1, seed=0)
    batches = planned_batches(data, plan, range(10), workers=0, prefetch=3)
    next(batches)
    batches.close()  # As a training that is stopped does; what it did not begin it leaves.
    assert data.read_by and threading.get_ident() not in data.read_by
    assert 1 <= len(data.rows) <= 4
    assert data.rows == [plan.rows(number).tolist() for number in range(len(data.rows))]


def test_what_a_reader_stumbles_over_reaches_the_training():
    class Broken(Points):
        def read(self, rows):
            raise DataError('picture 7: is cut off')

    with pytest.raises(DataError, match='picture 7: is cut off'):
        passes(LineFit(), Broken(16)).run()


def test_several_tasks_are_combined_by_the_objective():
    one, two = LineFit(), LineFit(tasks=2)
    passes(one, Points(16)).run()
    passes(two, Points(16)).run()
    assert (one.num_combined, two.num_combined) == (0, 6)
    torch.testing.assert_close(weights(two), weights(one), atol=1e-6, rtol=0)


def test_only_what_measures_better_than_ever_is_published(tmp_path):
    publisher = Publisher(ModelStore(tmp_path), 'line', 'line', seed=0)
    line = LineFit()
    scores = iter([1.0, 0.5, 2.0])
    line.score = lambda metrics: next(scores)
    progress = passes(line, Points(16), publisher).run()
    assert ModelStore(tmp_path).versions('line') == [1, 2]
    assert progress.version == 2
    manifest = ModelStore(tmp_path).load('line', 2)[1]
    assert manifest['provenance']['sources'] == ['points']
    assert manifest['score'] == 2.0


def test_a_loss_that_is_not_finite_stops_it_and_says_where():
    line, points = LineFit(), Points(16)
    points.x[3] = float('nan')
    with pytest.raises(TrainingError, match=r'part_0: loss nan at update [01], .*learning_rate'):
        passes(line, points).run()
    assert torch.isfinite(weights(line)).all()


def test_collapse_that_the_objective_finds_stops_it(tmp_path):
    line = LineFit()
    with torch.no_grad():
        line.module.bias.fill_(1e5)
    with pytest.raises(TrainingError, match='line: has collapsed'):
        passes(line, Points(16)).run()


def test_half_precision_of_the_processor_is_refused_by_name():
    with pytest.raises(ConfigError, match=r'float16.*bfloat16'):
        passes(LineFit(), Points(16), precision='float16')


def test_bfloat16_finds_the_line_too():
    line = LineFit()
    passes(line, Points(64), epochs=60, schedule='constant', precision='bfloat16').run()
    torch.testing.assert_close(weights(line), torch.tensor([SLOPE, OFFSET]), atol=0.05, rtol=0)


def test_too_few_rows_are_named():
    with pytest.raises(NotEnoughDataError, match='1 rows, expected at least 2'):
        passes(LineFit(), Points(1))


def test_few_rows_make_smaller_batches():
    points = Points(5)
    passes(LineFit(), points, epochs=1).run()
    assert [len(rows) for rows in points.read_rows] == [5]


def test_processes_share_the_rows_of_a_pass():
    plans = [BatchPlan(24, 4, 2, seed=1, rank=rank, size=3) for rank in range(3)]
    rows = [row for plan in plans for batch in range(2) for row in plan.rows(batch).tolist()]
    assert sorted(rows) == list(range(24))
    assert {plan.updates_per_epoch for plan in plans} == {1}


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [
        ('cosine', [0.5, 1.0, 0.5, 0.0]),
        ('linear', [0.5, 1.0, 0.5, 0.0]),
        ('constant', [0.5, 1, 1, 1]),
    ],
)
def test_the_learning_rate_rises_and_falls(schedule, expected):
    config = dataclasses.replace(PassesConfig(), schedule=schedule, warmup_updates=1)
    found = [config.learning_rate_factor(update, 21) for update in (0, 1, 11, 21)]
    assert found == pytest.approx(expected)


def test_the_warm_up_is_at_most_a_tenth():
    config = PassesConfig(warmup_updates=1000)
    assert config.learning_rate_factor(10, 100) == 1.0
