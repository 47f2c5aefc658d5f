import numpy as np
import pytest
from robot_learning.simulation.impact_sound import (
    Impact,
    RingingBody,
    Scrape,
    ambient_noise,
    contact_duration,
    force_pulse,
    pressure,
    recorded,
)
from robot_learning.simulation.resonance import ResonantBody, modes

RATE = 16_000
STEEL = ResonantBody('box', 0.07, 0.0018, 2e11, 7800, 0.002)
RUBBER = ResonantBody('box', 0.07, 0.0018, 5e6, 1100, 0.2)


def spectrum(sound):
    return np.abs(np.fft.rfft(sound)) ** 2, np.fft.rfftfreq(len(sound), 1 / RATE)


def centroid(sound):
    power, frequency = spectrum(sound)
    return float((power * frequency).sum() / power.sum())


def test_contacts_last_as_hertz_says():
    """Two steel balls of 2 cm that meet at 1 m/s: by t = 2.87 (m^2 / R E^2 v)^0.2, with the
    effective mass, radius and modulus worked out by hand."""
    mass = 4 / 3 * np.pi * 0.01**3 * 7800 / 2
    modulus = 2e11 / (2 * (1 - 0.09))
    by_hand = 2.87 * (mass**2 / (0.005 * modulus**2 * 1.0)) ** 0.2
    assert contact_duration(mass, 0.005, 1.0, (2e11, 2e11)) == pytest.approx(by_hand)
    assert 2e-5 < by_hand < 8e-5  # Some 50 microseconds, as is measured.


def test_soft_contacts_last_longer():
    steel, rubber = (contact_duration(0.1, 0.03, 0.5, (modulus, 1e10)) for modulus in (2e11, 5e6))
    assert rubber > 5 * steel


@pytest.mark.parametrize('duration_s', [1e-5, 1e-4, 3e-3])
def test_a_pulse_carries_its_impulse_whatever_its_length(duration_s):
    first, pulse = force_pulse(Impact(0.1, 0.05, duration_s, (0.5, 0.5)))
    assert pulse.sum() / RATE == pytest.approx(0.05)
    assert first == 1600
    assert len(pulse) == int(np.ceil((0.1 + duration_s) * RATE)) - 1600


def test_a_contact_beyond_the_end_is_not_heard():
    late = Impact(1.5, 0.05, 1e-3, (0.5, 0.5))
    assert np.abs(pressure(STEEL, [late], RATE)).max() < 1e-9


def test_sound_in_pieces_is_the_sound_of_the_whole():
    impacts = [Impact(0.0299, 0.01, 5e-3, (0.3, 0.4)), Impact(0.07, 0.02, 1e-3, (0.5, 0.5))]
    whole = pressure(RUBBER, impacts, 2000)
    ringing = RingingBody(RUBBER)
    assert ringing.is_silent
    first = ringing.sound(impacts[:1], 500)  # The first contact goes on beyond it.
    assert not ringing.is_silent
    moved = impacts[1]._replace(time_s=impacts[1].time_s - 500 / RATE)
    np.testing.assert_allclose(np.concatenate([first, ringing.sound([moved], 1500)]), whole)
    ringing.sound([], 10 * RATE)
    assert ringing.is_silent


def test_a_struck_body_sounds_at_its_modes():
    sound = pressure(STEEL, [Impact(0.0, 0.01, 2e-4, (0.3, 0.4))], RATE)
    power, frequency = spectrum(sound)
    assert abs(frequency[power.argmax()] - modes(STEEL).frequency_hz[0]) < 5


def test_one_mode_rings_like_its_closed_form():
    lowest = modes(STEEL)
    one = type(lowest)(*(part[:1] for part in lowest))
    sound = pressure(STEEL, [Impact(0.0, 0.01, 1e-5, (0.5, 0.5))], 8000, found=one)
    at_s = np.arange(8000) / RATE
    ring = np.cos(2 * np.pi * one.frequency_hz[0] * at_s) * np.exp(-one.decay_per_s[0] * at_s)
    np.testing.assert_allclose(sound, sound[0] * ring, atol=1e-6 * abs(sound[0]))


def test_nothing_sounds_before_it_is_struck():
    sound = pressure(STEEL, [Impact(0.25, 0.01, 2e-4, (0.3, 0.4))], RATE)
    assert np.abs(sound[:4000]).max() < 1e-9
    assert np.abs(sound[4000:]).max() > 1e-3


def test_twice_the_impulse_is_twice_the_pressure():
    one, two = (pressure(STEEL, [Impact(0, j, 2e-4, (0.3, 0.4))], 4000) for j in (0.01, 0.02))
    np.testing.assert_allclose(two, 2 * one, atol=1e-9)


def test_two_impacts_add_up():
    first, second = Impact(0, 0.01, 2e-4, (0.3, 0.4)), Impact(0.1, 0.02, 1e-3, (0.5, 0.5))
    both = pressure(STEEL, [first, second], 4000)
    apart = pressure(STEEL, [first], 4000) + pressure(STEEL, [second], 4000)
    np.testing.assert_allclose(both, apart, atol=1e-9)


def test_steel_sounds_brighter_and_longer_than_rubber():
    sounds = []
    for body, modulus in ((STEEL, 2e11), (RUBBER, 5e6)):
        duration = contact_duration(body.mass_kg, 0.035, 0.3, (modulus, 1e10))
        sounds.append(pressure(body, [Impact(0, 0.01, duration, (0.3, 0.4))], RATE))
    steel, rubber = sounds
    assert centroid(steel) > 5 * centroid(rubber)
    late = [float((sound[RATE // 4 :] ** 2).sum() / (sound**2).sum()) for sound in sounds]
    assert late[0] > 10 * late[1]


def test_a_longer_contact_makes_a_duller_sound():
    hard, soft = (pressure(STEEL, [Impact(0, 0.01, d, (0.3, 0.4))], RATE) for d in (1e-4, 1e-3))
    assert centroid(hard) > centroid(soft)


def test_a_scrape_excites_the_modes_too():
    force = np.random.default_rng(0).normal(size=RATE)
    sound = pressure(STEEL, [], RATE, [Scrape(force, (0.3, 0.4))])
    power, frequency = spectrum(sound)
    assert np.abs(frequency[power.argmax()] - modes(STEEL).frequency_hz).min() < 20


def test_a_body_whose_modes_nobody_hears_is_silent():
    ball = ResonantBody('ball', 0.05, 0.001, 2e11, 7800, 0.002)
    assert np.abs(pressure(ball, [Impact(0, 0.1, 1e-4, (0.5, 0.5))], 1000)).max() == 0


def test_a_recording_stays_within_full_scale():
    sound = recorded(np.asarray([0.0, 3.0, -1e4]))
    assert sound.dtype == np.float32
    np.testing.assert_allclose(sound, [0, 0.01, -1], atol=1e-4)


def test_noise_follows_from_its_generator_alone():
    one, two = (ambient_noise(1000, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.std() == pytest.approx(0.02)
