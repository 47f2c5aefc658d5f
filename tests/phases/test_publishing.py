from robot_learning.phases.publishing import in_runs


def test_segments_that_follow_each_other_become_one_entry():
    names = [f'a/segment_{n:06d}.hdf5' for n in (0, 1, 2, 5)]
    names += ['b/segment_000006.hdf5', 'b/segment_000007.hdf5', 'a/segment_000008.hdf5']
    assert in_runs(names) == [
        'a/segment_000000..000002.hdf5',
        'a/segment_000005.hdf5',
        'b/segment_000006..000007.hdf5',
        'a/segment_000008.hdf5',
    ]


def test_days_of_segments_are_few_entries():
    assert len(in_runs(f'a/segment_{n:06d}.hdf5' for n in range(300_000))) == 1


def test_other_names_are_kept_as_they_are():
    assert in_runs(['recorded elsewhere']) == ['recorded elsewhere']
    assert in_runs([]) == []
