import numpy as np
import pytest
from robot_learning.errors import NotEnoughDataError
from robot_learning.phases.meta_tasks import (
    DriveTasks,
    PictureTasks,
    Shots,
    SinusoidTasks,
)
from robot_learning.trajectory.character_files import PictureClasses
from robot_learning.trajectory.driving_examples import Drive


def pictures(num_classes=6, per_class=5, size=4):
    """Pictures that say in their corner which they are: 10 times the class, plus the number."""
    images = np.zeros((num_classes * per_class, size, size, 1), np.uint8)
    label = np.repeat(np.arange(num_classes), per_class)
    images[:, 0, 0, 0] = 10 * label + np.tile(np.arange(per_class), num_classes) + 1
    names = tuple(map(str, range(num_classes)))
    return PictureClasses(images, label, names, np.zeros(num_classes, np.int64), (), 'made')


def drives(count=3, steps=20):
    return [
        Drive(
            np.arange(steps, dtype=np.float32)[:, None] + 100 * index,
            np.arange(steps, dtype=np.float32)[:, None].repeat(2, 1) + 100 * index,
        )
        for index in range(count)
    ]


def corners(images):
    return (images[..., 0, 0, 0] * 255).round().int()


def test_a_curve_is_a_sine_with_one_amplitude_and_phase():
    batch = SinusoidTasks(Shots(5, 40), 10, 0).read(np.arange(10))
    x = np.concatenate([batch['support_input'], batch['query_input']], 1)[..., 0]
    y = np.concatenate([batch['support_target'], batch['query_target']], 1)[..., 0]
    assert x.min() >= -5 and x.max() <= 5
    for inputs, targets in zip(x, y, strict=True):
        basis = np.stack([np.sin(inputs), np.cos(inputs)], 1)
        solution, residual, *_ = np.linalg.lstsq(basis, targets, rcond=None)
        assert residual[0] < 1e-8
        assert 0.1 <= np.hypot(*solution) <= 5
        assert solution[1] <= 1e-6  # The phase is between 0 and pi.


def test_a_task_is_the_same_wherever_it_is_read():
    for tasks in (
        SinusoidTasks(Shots(2, 3), 9, 1),
        PictureTasks(pictures(), 3, Shots(1, 2), 9, 1, turns=True),
        DriveTasks(drives(), Shots(5, 4), 9, 1),
    ):
        whole, part = tasks.read(np.arange(9)), tasks.read(np.array([7, 2]))
        for name, tensor in part.items():
            assert (tensor == whole[name][[7, 2]]).all()
        assert not (whole['query_input'][0] == whole['query_input'][1]).all()


def test_classes_of_a_task_differ_and_no_picture_is_on_both_sides():
    tasks = PictureTasks(pictures(), 4, Shots(2, 3), 20, 0)
    batch = tasks.read(np.arange(20))
    assert batch['support_input'].shape == (20, 8, 1, 4, 4)
    assert batch['support_target'][0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch['query_target'][0].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    support, query = corners(batch['support_input']), corners(batch['query_input'])
    for task in range(20):
        seen = support[task].tolist() + query[task].tolist()
        assert len(set(seen)) == 20
        classes = [
            {int(value - 1) // 10 for value in side[task].reshape(4, -1)[k]}
            for side in (support, query)
            for k in range(4)
        ]
        assert classes[:4] == classes[4:] and all(len(each) == 1 for each in classes)
        assert len(set.union(*classes[:4])) == 4


def test_turned_pictures_are_classes_of_their_own():
    batch = PictureTasks(pictures(2), 8, Shots(1, 1), 5, 0, turns=True).read(np.arange(5))
    lit = batch['support_input'][0].flatten(1) > 0
    assert (lit.sum(1) == 1).all()
    place = lit.float().argmax(1)
    assert sorted(place.tolist()) == [0, 0, 3, 3, 12, 12, 15, 15]
    assert (batch['query_input'][0].flatten(1) > 0).float().argmax(1).tolist() == place.tolist()


def test_moved_pictures_are_near_where_they_were_and_each_elsewhere():
    spot = np.zeros((12, 28, 28, 1), np.uint8)
    spot[:, 12:16, 12:16] = 255
    names = ('a', 'b', 'c')
    data = PictureClasses(
        spot, np.repeat(np.arange(3), 4), names, np.zeros(3, np.int64), (), 'made'
    )
    still, moved, again = (
        PictureTasks(data, 3, Shots(1, 3), 9, 0, jitter=jitter).read(np.arange(3))['query_input']
        for jitter in (0.0, 1.0, 1.0)
    )
    assert (moved == again).all()
    middle = np.arange(28) - 13.5
    shares = (moved / moved.sum((-1, -2), keepdim=True)).flatten(0, 2)  # [N, 28, 28]
    shift = np.stack([(shares.sum(axis).numpy() @ middle) for axis in (-1, -2)])
    assert np.abs(shift).max() < 2.5  # A tenth of half the side is 1.4 pixels.
    assert len({*shift[0].round(3).tolist()}) == shares.shape[0]
    assert abs(float(moved.mean() / still.mean()) - 1) < 0.2


def test_a_drive_is_cut_in_the_order_of_time():
    batch = DriveTasks(drives(), Shots(5, 4), 30, 0).read(np.arange(30))
    for support, query in zip(batch['support_input'], batch['query_input'], strict=True):
        steps = [*support[:, 0].tolist(), *query[:, 0].tolist()]
        assert np.diff(steps).tolist() == [1.0] * 8
    assert {int(first) // 100 for first in batch['support_input'][:, 0, 0]} == {0, 1, 2}


def test_statistics_are_those_of_all_drives():
    tasks = DriveTasks(drives(2, 20), Shots(5, 4), 30, 0)
    mean, deviation, target_mean, _ = tasks.statistics()
    rows = np.concatenate([drive.inputs for drive in drives(2, 20)])
    assert mean.item() == pytest.approx(rows.mean())
    assert deviation.item() == pytest.approx(rows.std())
    assert target_mean.shape == (2,)


def test_too_few_classes_or_pictures_are_named():
    with pytest.raises(NotEnoughDataError, match='made: 6 of 6 classes have 3 pictures'):
        PictureTasks(pictures(), 7, Shots(1, 2), 9, 0)
    with pytest.raises(NotEnoughDataError, match='made: 0 of 6 classes have 6 pictures'):
        PictureTasks(pictures(), 5, Shots(1, 5), 9, 0)


def test_drives_that_are_too_short_are_named():
    with pytest.raises(NotEnoughDataError, match='none of 3 has 21 control steps'):
        DriveTasks(drives(), Shots(11, 10), 9, 0)
