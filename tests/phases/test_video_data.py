import numpy as np
import pytest
import torch
from robot_learning.errors import DataError
from robot_learning.phases.video_data import VideoWindows, read_tensors, read_videos
from robot_learning.trajectory.dmc_video import DMCVideoDataset


def tensors(count=10):
    return {
        'observations': torch.full((count, 3, 8, 8), 7, dtype=torch.uint8),
        'actions': torch.arange(count).float()[:, None],
        'rewards': torch.ones(count),
        'dones': torch.arange(count) == count - 1,
    }


@pytest.mark.parametrize('content', [tensors(), [tensors(), tensors(6)]])
def test_tensors_of_one_or_several_episodes(tmp_path, content):
    torch.save(content, tmp_path / 'data.pt')
    episodes = read_videos([tmp_path / 'data.pt'], 'camera')
    assert len(episodes) == (1 if isinstance(content, dict) else 2)
    assert (episodes[0].observations['camera'] == 7).all()


def test_windows_become_batches(tmp_path):
    torch.save(tensors(), tmp_path / 'data.pt')
    data = VideoWindows(DMCVideoDataset(read_tensors(tmp_path / 'data.pt'), 4, image_size=8))
    batch = data.read(np.array([0, 3, 6]))
    assert len(data) == 7 and batch['observations'].shape == (3, 4, 3, 8, 8)
    assert batch['actions'][:, 0, 0].tolist() == pytest.approx([-1, -0.25, 0.5])


class Code:
    def __reduce__(self):
        return (print, ('this must never be printed',))


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        (Code(), 'cannot be read safely'),
        ([1, 2], 'holds no mapping of names to tensors'),
        ({'observations': [1, 2]}, 'holds no mapping of names to tensors'),
        ({'actions': torch.zeros(3, 1)}, r'data.pt\[0\]: holds actions, expected observations'),
    ],
)
def test_other_content_is_refused(tmp_path, capsys, content, named):
    torch.save(content, tmp_path / 'data.pt')
    with pytest.raises(DataError, match=named):
        read_tensors(tmp_path / 'data.pt')
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('content', [b'', b'no tensors', b'PK\x03\x04 cut'])
def test_files_that_are_none_are_refused(tmp_path, content):
    (tmp_path / 'data.pt').write_bytes(content)
    with pytest.raises(DataError, match=r'data\.pt: .*zip archive'):
        read_tensors(tmp_path / 'data.pt')
    with pytest.raises(DataError, match=r'absent\.pt'):
        read_tensors(tmp_path / 'absent.pt')
