import numpy as np
import pytest
from PIL import Image
from robot_learning.evaluation.aime_pictures import (
    write_attention,
    write_latent_map,
    write_open_loop,
    write_usage,
)


@pytest.fixture
def frames():
    return np.random.default_rng(0).uniform(size=(4, 3, 16, 16)).astype(np.float32)


def colours(path):
    picture = np.asarray(Image.open(path).convert('RGB'))
    return picture, len(np.unique(picture.reshape(-1, 3), axis=0))


def test_every_frame_and_slot_is_drawn(tmp_path, frames):
    attention = np.full((4, 2, 16), 0.5)
    write_attention(tmp_path / 'a.png', frames, frames, attention)
    wide, count = colours(tmp_path / 'a.png')
    assert count > 1000
    dark = np.zeros_like(attention)
    write_attention(tmp_path / 'b.png', frames, frames, dark)
    below = slice(wide.shape[0] // 2, None)
    assert colours(tmp_path / 'b.png')[0][below].mean() < wide[below].mean()


def test_a_future_is_drawn_beside_what_was(tmp_path, frames):
    write_open_loop(tmp_path / 'a.png', frames, frames[2:], 2)
    write_open_loop(tmp_path / 'b.png', frames, 1 - frames[2:], 2)
    good, wrong = (colours(tmp_path / f'{name}.png')[0] for name in 'ab')
    rows = slice(good.shape[0] // 2, good.shape[0] * 3 // 4)  # What the model missed.
    assert good[rows].mean() < wrong[rows].mean()


def test_latents_are_coloured_by_component(tmp_path):
    latents = np.random.default_rng(0).normal(size=(50, 6))
    write_latent_map(tmp_path / 'a.png', latents, np.arange(50) % 3)
    assert colours(tmp_path / 'a.png')[1] > 50


def test_components_over_time(tmp_path):
    shares = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    write_usage(tmp_path / 'a.png', [0, 100], shares)
    assert colours(tmp_path / 'a.png')[1] > 20
