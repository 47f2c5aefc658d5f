"""Features against a brute-force route: plain Python, one observation and one beam at a time."""

import dataclasses
import math
import timeit

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.contract import Feature
from robot_learning.errors import ContractError
from robot_learning.features import FeatureBuilder

ARENA = contracts.load('arena')
FIELDS = {
    'scan': {
        'topic': 'scan',
        'type': 'sensor_msgs/msg/LaserScan',
        'shape': [12],
        'range_max': 4.0,
    },
    'pose': {'topic': 'pose', 'type': 'geometry_msgs/msg/PoseStamped', 'shape': [3]},
    'goal': {'topic': 'goal', 'type': 'geometry_msgs/msg/PoseStamped', 'shape': [3]},
    'velocity': {
        'topic': 'odom',
        'type': 'nav_msgs/msg/Odometry',
        'part': 'twist2d',
        'shape': [2],
    },
}


def builder(*features, fields=FIELDS):
    data = {
        'robot': 'toy',
        'description': '',
        'control_rate_hz': 5,
        'observation': fields,
        'actions': {},
        'features': list(features),
    }
    return FeatureBuilder(contracts.from_dict(data))


def observations(num, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {name: ARENA.observation[name].shape for name in FeatureBuilder(ARENA).fields}
    result = {name: rng.normal(0, 2, (num, *shape)) for name, shape in shapes.items()}
    result['scan'] = np.abs(result['scan'])
    result['scan'][rng.random(result['scan'].shape) < 0.2] = np.inf
    result['scan'][rng.random(result['scan'].shape) < 0.05] = np.nan
    return {name: value.astype(np.float32) for name, value in result.items()}


def by_hand(spec: Feature, contract, observation) -> list[float]:
    """Compute one block of one observation from the definition in the module's docstring."""
    values = [observation[name] for name in spec.fields]
    parameter = spec.parameters.get
    if spec.kind == 'clearance':
        width = len(values[0]) // spec.size
        result = []
        for sector in range(spec.size):
            beams = [float(r) for r in values[0][sector * width : (sector + 1) * width]]
            nearest = min(r for r in beams if not math.isnan(r))
            nearest = min(nearest, contract.observation[spec.fields[0]].range_max)
            distance = max(nearest - parameter('rim_m', 0.0), 0.0)
            result.append(parameter('scale_m') / (parameter('scale_m') + distance))
        return result
    if spec.kind == 'goal_polar':
        (x, y, yaw), (goal_x, goal_y, _) = (map(float, value) for value in values)
        distance = math.dist((x, y), (goal_x, goal_y))
        # Rotate the offset into the robot's frame; its direction is the bearing.
        ahead = math.cos(yaw) * (goal_x - x) + math.sin(yaw) * (goal_y - y)
        left = -math.sin(yaw) * (goal_x - x) + math.cos(yaw) * (goal_y - y)
        scale = parameter('scale_m')
        near = scale / (scale + distance)
        return [near, distance / parameter('far_m'), ahead / distance, left / distance]
    if spec.kind == 'pose':
        x, y, yaw = map(float, values[0])
        return [x / parameter('scale_m'), y / parameter('scale_m'), math.cos(yaw), math.sin(yaw)]
    return [float(v) / s for v, s in zip(values[0], spec.scale, strict=True)]


def test_the_arena_features_agree_with_plain_python():
    batch = observations(40)
    built = FeatureBuilder(ARENA).build_batch(batch)
    for i in range(40):
        one = {name: value[i] for name, value in batch.items()}
        expected = [v for spec in ARENA.features for v in by_hand(spec, ARENA, one)]
        np.testing.assert_allclose(built[i], expected, rtol=2e-5, atol=2e-5)


def test_size_dtype_and_fields():
    features = FeatureBuilder(ARENA)
    assert features.size == sum(
        len(by_hand(spec, ARENA, {n: v[0] for n, v in observations(1).items()}))
        for spec in ARENA.features
    )
    assert set(features.fields) == {name for spec in ARENA.features for name in spec.fields}
    built = features.build_batch(observations(3))
    assert built.shape == (3, features.size) and built.dtype == np.float32


def test_one_observation_equals_its_row_of_the_batch_to_the_bit():
    features, batch = FeatureBuilder(ARENA), observations(64, seed=1)
    built = features.build_batch(batch)
    for i in range(64):
        row = features.build({name: value[i] for name, value in batch.items()})
        assert np.array_equal(row, built[i])


def test_one_observation_takes_little_of_a_control_tick():
    features = FeatureBuilder(ARENA)
    one = {name: value[0] for name, value in observations(1).items()}
    best = min(timeit.repeat(lambda: features.build(one), number=200, repeat=20)) / 200
    assert best < 100e-6  # 20 us on an idle core; a control tick has 10 to 200 ms.


def test_results_do_not_share_memory():
    features, one = FeatureBuilder(ARENA), {n: v[0] for n, v in observations(1).items()}
    first = features.build(one)
    kept = first.copy()
    features.build({name: value + 1 for name, value in one.items()})
    np.testing.assert_array_equal(first, kept)


def test_a_thin_obstacle_shows_in_its_sector_only():
    features = builder({'kind': 'clearance', 'fields': ['scan'], 'size': 3})
    ranges = np.full(12, 4.0, np.float32)
    ranges[6] = 0.5  # Default scale 0.5: half.
    np.testing.assert_allclose(features.build({'scan': ranges}), [0.5 / 4.5, 0.5, 0.5 / 4.5])


def test_free_space_touching_and_beyond_the_rim():
    spec = {'kind': 'clearance', 'fields': ['scan'], 'size': 4, 'parameters': {'rim_m': 0.2}}
    ranges = np.repeat(np.float32([np.inf, 0.2, 0.05, -np.inf]), 3)
    np.testing.assert_allclose(
        builder(spec).build({'scan': ranges}), [0.5 / 4.3, 1, 1, 1], rtol=1e-6
    )


def test_far_m_replaces_the_range_of_the_sensor():
    spec = {'kind': 'clearance', 'fields': ['scan'], 'size': 1, 'parameters': {'far_m': 1.5}}
    ranges = np.full(12, 3.0, np.float32)
    assert builder(spec).build({'scan': ranges}) == [0.25]


def test_nan_beams_are_passed_over_but_an_unknown_sector_stays_nan():
    features = builder({'kind': 'clearance', 'fields': ['scan'], 'size': 3})
    ranges = np.full(12, np.nan, np.float32)
    ranges[0] = 1.5
    ranges[5] = np.inf
    built = features.build({'scan': ranges})
    np.testing.assert_array_equal(np.isnan(built), [False, False, True])
    np.testing.assert_allclose(built[:2], [0.25, 0.5 / 4.5], rtol=1e-6)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
@pytest.mark.parametrize(
    ('name', 'index'),
    [('pose', 0), ('pose', 1), ('pose', 2), ('goal', 0), ('goal', 1), ('velocity', 1)],
)
@pytest.mark.filterwarnings('ignore:invalid value')
def test_a_reading_that_is_not_finite_never_becomes_a_finite_vector(name, index, bad):
    one = {key: np.nan_to_num(value[0], posinf=3.0) for key, value in observations(1).items()}
    features = FeatureBuilder(ARENA)
    assert np.isfinite(features.build(one)).all()
    one[name][index] = bad
    assert not np.isfinite(features.build(one)).all()


def test_at_the_goal_everything_is_finite():
    features = builder({'kind': 'goal_polar', 'fields': ['pose', 'goal']})
    here = np.float32([1.0, 2.0, 0.5])
    built = features.build({'pose': here, 'goal': here})
    np.testing.assert_allclose(built, [1, 0, math.cos(0.5), -math.sin(0.5)], rtol=1e-6)


def test_a_goal_to_the_left_has_a_positive_sine():
    features = builder({'kind': 'goal_polar', 'fields': ['pose', 'goal']})
    built = features.build({'pose': np.float32([0, 0, 0]), 'goal': np.float32([0, 5, 0])})
    np.testing.assert_allclose(built, [1 / 6, 1, 0, 1], atol=1e-6)


def test_double_precision_fields_are_scaled_and_become_float32():
    fix = {'topic': 'fix', 'type': 'sensor_msgs/msg/NavSatFix', 'shape': [3], 'dtype': 'float64'}
    features = builder({'kind': 'vector', 'fields': ['fix'], 'scale': [90.0, 180.0, 1.0]},
                       fields={'fix': fix})  # fmt: skip
    built = features.build({'fix': np.array([45.0, 90.0, 2.0])})
    assert built.dtype == np.float32
    np.testing.assert_array_equal(built, [0.5, 0.5, 2])


def test_images_flatten_in_order():
    camera = {
        'topic': 'camera',
        'type': 'sensor_msgs/msg/Image',
        'shape': [2, 2, 3],
        'dtype': 'uint8',
    }
    features = builder(
        {'kind': 'vector', 'fields': ['camera'], 'scale': [255.0]}, fields={'camera': camera}
    )
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_allclose(features.build({'camera': pixels}), np.arange(12) / 255, rtol=1e-6)


def test_a_contract_without_features_says_so():
    bare = dataclasses.replace(ARENA, features=())
    with pytest.raises(ContractError, match='arena: lists no features'):
        FeatureBuilder(bare)


@pytest.mark.parametrize(
    ('feature', 'named'),
    [
        ({'kind': 'lidar', 'fields': ['scan']}, r"kind: found 'lidar'.*clearance, goal_polar"),
        (
            {'kind': 'clearance', 'fields': ['scan'], 'size': 5},
            'size: 12 beams do not split into 5',
        ),
        ({'kind': 'clearance', 'fields': ['scan']}, 'size: 12 beams do not split into 36'),
        ({'kind': 'goal_polar', 'fields': ['pose']}, r"found \['pose'\], expected 2"),
        (
            {'kind': 'pose', 'fields': ['velocity']},
            r"'velocity' is twist2d \[2\], expected a pose",
        ),
        ({'kind': 'vector', 'fields': ['velocity'], 'scale': [1, 2, 3]}, 'expected one or 2'),
        ({'kind': 'vector', 'fields': ['velocity'], 'scale': [0, 1]}, 'numbers above 0'),
        ({'kind': 'vector', 'fields': ['velocity'], 'size': 2}, 'size: has no meaning for vector'),
        (
            {'kind': 'pose', 'fields': ['pose'], 'parameters': {'scale': 2.0}},
            'parameters.scale: unknown for pose, which has: scale_m',
        ),
        (
            {'kind': 'pose', 'fields': ['pose'], 'parameters': {'scale_m': 0.0}},
            'parameters.scale_m: found 0.0, expected a number > 0',
        ),
        ({'kind': 'vector', 'fields': ['sonar']}, "found 'sonar', expected an observation field"),
    ],
)
def test_features_that_do_not_fit_their_fields_are_named(feature, named):
    with pytest.raises(ContractError, match=named):
        builder(feature)


def test_features_of_different_frames_or_optional_fields_are_named():
    fields = {name: dict(spec) for name, spec in FIELDS.items()}
    fields['pose']['frame'], fields['goal']['frame'] = 'map', 'odom'
    fields['goal']['required'] = False
    with pytest.raises(ContractError) as caught:
        builder({'kind': 'goal_polar', 'fields': ['pose', 'goal']}, fields=fields)
    assert 'found frames map, odom, expected one' in str(caught.value)
    assert "'goal' may be missing (required: false)" in str(caught.value)
