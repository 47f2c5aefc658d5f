"""Each property has a consequence in what is sensed, and nothing else has it."""

import numpy as np
import pytest
from robot_learning.simulation import GRAPHICS_BACKEND
from robot_learning.simulation.bench_objects import BenchObject, draw_object, with_property
from robot_learning.simulation.bench_world import PROPRIOCEPTION_NAMES, BenchWorld
from robot_learning.simulation.interactions import KINDS, Bench

SEED = 11
NUM_STEPS = 32
needs_camera = pytest.mark.skipif(GRAPHICS_BACKEND == 'disable', reason='no OpenGL here')
# Neither hard nor soft, heavy nor light: alike in everything.
PLAIN = BenchObject(
    'plain', 'wood', 'box', (0.7, 0.3, 0.2), (0.5,) * 3 + (0.0,) + (0.5,) * 4 + (0.0,), 3
)


@pytest.fixture(scope='module')
def blind():
    bench = Bench(has_camera=False)
    yield bench
    bench.close()


@pytest.fixture(scope='module')
def bench():
    seeing = Bench()
    yield seeing
    seeing.close()


def felt(recording, name):
    return recording.proprioception[:, PROPRIOCEPTION_NAMES.index(name)]


def both(bench, kind, name, low=0.0, high=1.0):
    """Record the same with a property at its low and at its high end."""
    return [bench.record(with_property(PLAIN, name, value), kind, SEED) for value in (low, high)]


def centroid(sound):
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / 16_000)).sum() / power.sum())


@pytest.mark.parametrize('kind', KINDS)
def test_recordings_are_synchronised_and_repeatable(blind, kind):
    one, two = (blind.record(PLAIN, kind, SEED, num_steps=12) for _ in range(2))
    assert one.frames is None
    assert one.sound.shape == (12 * 800,)
    assert one.proprioception.shape == (13, len(PROPRIOCEPTION_NAMES))
    assert one.action.shape == (13, 16)
    assert not one.action[:, 4:].any()
    for name in ('sound', 'proprioception', 'action'):
        assert np.isfinite(getattr(one, name)).all()
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_the_hand_follows_its_commands(blind):
    recording = blind.record(PLAIN, 'lift', SEED)
    place = 0.1 * felt(recording, 'hand_z')
    np.testing.assert_allclose(place[1:], recording.action[:-1, 2], atol=0.03)
    assert place[-1] - place[0] > 0.07


def test_other_noise_changes_little_and_the_same_interaction_remains(blind):
    one, two = (blind.record(PLAIN, 'lift', SEED, noise_seed) for noise_seed in (0, 1))
    np.testing.assert_array_equal(one.action, two.action)
    difference = np.abs(one.proprioception - two.proprioception)
    assert 0 < difference.max() < 0.15
    assert 0 < np.abs(one.sound - two.sound).max() < 1e-3


def test_what_is_hard_sounds_brighter(blind):
    soft, hard = both(blind, 'drop', 'hardness')
    assert centroid(hard.sound) > 1.3 * centroid(soft.sound)


def test_what_is_heavy_needs_more_force_to_hold(blind):
    light, heavy = both(blind, 'lift', 'weight')
    # 0.95 kg more is 9.3 N more, and motors are told in units of 10 N.
    assert felt(heavy, 'motor_z')[-3:].mean() - felt(light, 'motor_z')[
        -3:
    ].mean() == pytest.approx(0.93, abs=0.1)


def test_what_is_large_keeps_the_hand_open(blind):
    small, large = both(blind, 'lift', 'size')
    opening = [
        0.1 * (felt(one, 'finger_left') + felt(one, 'finger_right'))[-1] for one in (small, large)
    ]
    assert opening[1] - opening[0] == pytest.approx(0.044, abs=0.01)


def test_what_is_alive_moves_before_it_is_touched():
    moved = []
    for value in (0.0, 1.0):
        world = BenchWorld('box', has_camera=False)
        hand = np.asarray([0, 0, 0.3, 0])
        world.begin(with_property(PLAIN, 'animacy', value), SEED, hand)
        start = world.object_position
        for _ in range(4):
            world.advance(hand)
        moved.append(float(np.linalg.norm(world.object_position - start)))
    assert moved[0] < 1e-3
    assert moved[1] > 5e-3


def test_what_is_soft_gives_way(blind):
    soft, rigid = both(blind, 'squeeze', 'rigidity')
    closed = [
        (felt(one, 'finger_left') + felt(one, 'finger_right')).min() for one in (soft, rigid)
    ]
    assert closed[1] - closed[0] > 0.05  # 5 mm.


def test_what_is_rough_is_heard_when_it_slides(blind):
    smooth, rough = both(blind, 'push', 'roughness')
    sliding = slice(18 * 800, 24 * 800)
    assert rough.sound[sliding].std() > 1.5 * smooth.sound[sliding].std()


def test_what_is_warm_warms_the_thermometers(blind):
    cold, warm = both(blind, 'lift', 'temperature')
    assert (
        felt(cold, 'contact_thermometer')[-1] < -0.3 < 0.3 < felt(warm, 'contact_thermometer')[-1]
    )
    assert (
        felt(cold, 'infrared_thermometer')[0] < -0.2 < 0.2 < felt(warm, 'infrared_thermometer')[0]
    )


def test_what_is_filled_rattles_when_it_is_shaken(blind):
    empty, filled = both(blind, 'shake', 'containment')
    swinging = slice(15 * 800, 32 * 800)
    assert filled.sound[swinging].std() > 3 * empty.sound[swinging].std()


@needs_camera
def test_frames_come_with_every_step_and_change(bench):
    recording = bench.record(PLAIN, 'push', SEED, num_steps=6)
    assert recording.frames.shape == (7, 64, 64, 3)
    assert recording.frames.dtype == np.uint8
    assert recording.frames.std() > 10


@needs_camera
def test_what_is_transparent_shows_what_is_behind_it(bench):
    opaque, clear = both(bench, 'strike', 'transparency')
    difference = np.abs(opaque.frames[0].astype(int) - clear.frames[0]).sum(axis=2)
    changed = difference > 30
    assert 20 < changed.sum() < 800  # The object, no more.
    assert np.abs(np.diff(opaque.frames[0][changed].mean(axis=0))).max() > 80  # Its own red.
    assert (
        np.abs(np.diff(clear.frames[0][changed].mean(axis=0))).max() < 50
    )  # Much of the bench's grey.


@needs_camera
def test_what_is_rough_looks_grainy(bench):
    smooth, rough = both(bench, 'strike', 'roughness')
    changed = np.abs(smooth.frames[0].astype(int) - rough.frames[0]).sum(axis=2) > 30
    grain = [one.frames[0][changed].std(axis=0).mean() for one in (smooth, rough)]
    assert grain[1] > grain[0] + 5


@needs_camera
def test_colours_are_those_of_this_object_also_right_after_another(bench):
    """Textures go to the scene that is drawn, not to the one that was drawn last."""
    box = bench.record(PLAIN, 'strike', SEED, num_steps=1).frames[0]
    bench.record(draw_object(1, 'foam_ball'), 'strike', SEED, num_steps=1)
    again = bench.record(PLAIN, 'strike', SEED, num_steps=1).frames[0]
    np.testing.assert_array_equal(box, again)


@needs_camera
def test_a_property_that_the_hand_cannot_feel_leaves_touch_as_it_was(bench):
    opaque, clear = both(bench, 'lift', 'transparency')
    np.testing.assert_array_equal(opaque.proprioception, clear.proprioception)
    np.testing.assert_array_equal(opaque.sound, clear.sound)
