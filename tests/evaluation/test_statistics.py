import numpy as np
import pytest
from robot_learning.evaluation import statistics


def test_path_length_of_a_staircase_is_the_sum_of_its_steps():
    assert statistics.path_length(np.array([[0, 0], [3, 4], [3, 5], [1, 5]])) == 8


def test_efficiency_does_not_ask_for_the_distance_left_at_the_goal():
    assert statistics.path_efficiency(3.0, 0.3, 2.7) == pytest.approx(1.0)
    assert statistics.path_efficiency(3.0, 0.0, 6.0) == pytest.approx(0.5)
    assert statistics.path_efficiency(3.0, 0.0, 0.0) == 0


def test_distance_to_a_corner_path_is_that_to_its_nearest_leg():
    corner = np.array([[0, 0], [2, 0], [2, 2]])
    points = np.array([[1, 0.5], [1.7, 1], [-1, 0], [3, 3]])
    expected = [0.5, 0.3, 1, np.sqrt(2)]
    assert statistics.distances_to_path(points, corner) == pytest.approx(expected)


def test_cross_track_error_of_a_parallel_path_is_its_offset():
    reference = np.array([[0, 0], [4, 0]])
    assert statistics.cross_track_error(
        np.array([[0, 0.2], [4, 0.2]]), reference
    ) == pytest.approx(0.2)


def test_standing_still_does_not_weigh_in_the_cross_track_error():
    reference = np.array([[0, 0], [4, 0]])
    path = np.array([[0, 0], [2, 0.4], [4, 0]])
    waiting = np.concatenate([path[:2], np.repeat(path[1:2], 50, 0), path[2:]])
    assert statistics.cross_track_error(waiting, reference) == pytest.approx(
        statistics.cross_track_error(path, reference)
    )
    assert statistics.cross_track_error(path, reference) == pytest.approx(0.2, abs=0.01)


def test_resampling_keeps_both_ends_and_spaces_evenly():
    points = statistics.resample(np.array([[0, 0], [1, 0], [1, 1]]), 0.1)
    assert points[0] == pytest.approx([0, 0])
    assert points[-1] == pytest.approx([1, 1])
    assert np.hypot(*np.diff(points, axis=0).T) == pytest.approx(0.1)
