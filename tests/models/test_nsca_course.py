import math
from dataclasses import replace

import pytest
import torch
from nsca_samples import TINY
from pydantic import ValidationError
from robot_learning.models.nsca.audio import AudioEncoder
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.course import CourseEncoder, ear, sounding
from robot_learning.models.nsca.perception import Moment, Perception

COURSE = replace(TINY, audio_course=16)
RATE = TINY.sample_rate


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_the_part_that_sounds_is_cut_out_with_a_frame_around_it_and_stretched():
    maps = torch.full((1, 1, 2, 60), -2.0)
    maps[:, :, :, 30:51] = torch.arange(21.0) / 100
    found = sounding(maps, 12)[0, 0, 1]
    assert float(found[0]) == float(found[-1]) == -2.0
    torch.testing.assert_close(found[1:-1], torch.arange(1.0, 20.0, 2.0) / 100)


def test_silence_is_all_of_it():
    still = torch.full((1, 1, 2, 40), -3.0)
    torch.testing.assert_close(sounding(still, 8), still[..., :8])


def rising(seconds, before=0.0, after=0.0, reverse=False):
    """A tone that climbs from 300 to 2000 Hz, between silences."""
    time = torch.arange(round(seconds * RATE)) / RATE
    pitch = 300 + 1700 * time / seconds
    tone = torch.sin(2 * math.pi * torch.cumsum(pitch, 0) / RATE)
    tone = tone.flip(0) if reverse else tone
    silences = [torch.zeros(round(length * RATE)) for length in (before, after)]
    return torch.cat([silences[0], tone, silences[1]]).unsqueeze(0)


def apart(encoder, one, other):
    with torch.no_grad():
        return float((encoder(one) - encoder(other)).norm() / encoder(one).norm())


def test_order_counts_and_neither_silence_around_nor_loudness_nor_pace():
    encoder = CourseEncoder(COURSE).eval()
    tone = rising(0.4)
    backwards = apart(encoder, tone, rising(0.4, reverse=True))
    assert apart(encoder, tone, 0.1 * tone) < 0.05 * backwards
    assert apart(encoder, tone, rising(0.4, before=0.2, after=0.3)) < 0.5 * backwards
    assert apart(encoder, tone, rising(0.6)) < 0.5 * backwards


def test_the_shortest_sound_is_encoded():
    assert CourseEncoder(COURSE).eval()(torch.randn(2, 10)).shape == (2, TINY.latent_size)


def test_perception_hears_by_what_the_sizes_say():
    assert isinstance(ear(TINY), AudioEncoder) and isinstance(ear(COURSE), CourseEncoder)
    state = Perception(COURSE).eval()(Moment(None, torch.randn(2, 8000), None))
    assert state.shape == (2, TINY.state_size) and bool(state.isfinite().all())


def test_frames_that_stages_cannot_halve_are_refused():
    with pytest.raises(ValidationError, match='multiple of 8'):
        NscaModelConfig(audio_course=20)
