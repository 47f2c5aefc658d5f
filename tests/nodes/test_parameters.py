from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import rclpy
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rclpy.context import Context
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import Parameter
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.nodes.parameters import declare_config


@dataclass(frozen=True, config=STRICT)
class LensConfig:
    """A part of a part."""

    focal_mm: PositiveFloat = 35.0  # From the data sheet.
    coating: str = 'none'


@dataclass(frozen=True, config=STRICT)
class BaseConfig:
    """What cameras share."""

    rate_hz: Annotated[float, Field(gt=0, le=1000)] = 20.0  # Pictures per second.


@dataclass(frozen=True, config=STRICT)
class CameraConfig(BaseConfig):
    """All kinds of fields."""

    retries: Annotated[int, Field(ge=0, le=9)] = 3
    # How colours are written, which
    # takes two lines.
    encoding: Literal['rgb8', 'mono8'] = 'rgb8'
    is_mirrored: bool = False
    folder: Path = Path('pictures')
    session: str | None = None
    exposure_ms: PositiveFloat | None = None  # None: automatic.
    gains: tuple[float, ...] = (1.0, 0.5)
    tags: tuple[str, ...] = ()
    offsets: dict[str, float] = field(default_factory=dict)
    lens: LensConfig = field(default_factory=lambda: LensConfig(focal_mm=50.0))


@dataclass(frozen=True, config=STRICT)
class MountConfig:
    """A field that has no default."""

    frame: str
    count: PositiveInt = 1


@pytest.fixture
def make_node():
    context = Context()
    rclpy.init(context=context)
    nodes = []

    def make(*arguments, **overrides):
        values = [Parameter(name.replace('__', '.'), value=v) for name, v in overrides.items()]
        node = Node(
            'eye',
            context=context,
            namespace='/left',
            parameter_overrides=values,
            cli_args=['--ros-args', *arguments] if arguments else None,
        )
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_without_settings_the_defaults_are_kept(make_node):
    assert declare_config(make_node(), CameraConfig) == CameraConfig()


def test_settings_of_every_type_fill_the_configuration(make_node):
    node = make_node(
        rate_hz=5,
        retries=0,
        encoding='mono8',
        is_mirrored=True,
        folder='/data',
        session='today',
        exposure_ms=2.5,
        gains=[2.0],
        tags=['a', 'b'],
        offsets='{x: 1, y: 2.5}',
        lens__coating='blue',
    )
    assert declare_config(node, CameraConfig) == CameraConfig(
        rate_hz=5.0,
        retries=0,
        encoding='mono8',
        is_mirrored=True,
        folder=Path('/data'),
        session='today',
        exposure_ms=2.5,
        gains=(2.0,),
        tags=('a', 'b'),
        offsets={'x': 1.0, 'y': 2.5},
        lens=LensConfig(focal_mm=50.0, coating='blue'),
    )


def test_other_nodes_see_the_values_in_use(make_node):
    node = make_node(rate_hz=5, offsets='{x: 1}')
    declare_config(node, CameraConfig)
    assert node.get_parameter('rate_hz').value == 5.0
    assert node.get_parameter('rate_hz').type_ == Parameter.Type.DOUBLE
    assert node.get_parameter('lens.focal_mm').value == 50.0
    assert node.get_parameter('folder').value == 'pictures'
    assert list(node.get_parameter('gains').value) == [1.0, 0.5]
    assert node.get_parameter('offsets').value == '{x: 1.0}'
    assert node.get_parameter('exposure_ms').type_ == Parameter.Type.NOT_SET


def test_descriptions_are_the_comments_also_of_inherited_and_nested_fields(make_node):
    node = make_node()
    declare_config(node, CameraConfig)
    said = {
        name: node.describe_parameter(name).description
        for name in ('rate_hz', 'encoding', 'exposure_ms', 'lens.focal_mm', 'retries')
    }
    assert said == {
        'rate_hz': 'Pictures per second.',
        'encoding': 'How colours are written, which takes two lines.',
        'exposure_ms': 'None: automatic.',
        'lens.focal_mm': 'From the data sheet.',
        'retries': '',
    }


def test_ranges_and_choices_are_those_of_the_field_types(make_node):
    node = make_node()
    declare_config(node, CameraConfig)
    (rate,) = node.describe_parameter('rate_hz').floating_point_range
    assert (rate.from_value, rate.to_value) == (0.0, 1000.0)
    (retries,) = node.describe_parameter('retries').integer_range
    assert (retries.from_value, retries.to_value) == (0, 9)
    assert node.describe_parameter('encoding').additional_constraints == 'one of: rgb8, mono8'


def test_parameters_cannot_be_set_later(make_node):
    node = make_node()
    declare_config(node, CameraConfig)
    (result,) = node.set_parameters([Parameter('retries', value=4)])
    assert not result.successful
    assert 'read-only' in result.reason


def test_every_mistake_is_named_at_once_with_node_and_parameter(make_node):
    node = make_node(rate_hz=-1.0, retries='many', encoding='jpeg', lens__focal_mm=0.0)
    with pytest.raises(ConfigError) as caught:
        declare_config(node, CameraConfig)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    for line, name in zip(
        sorted(lines), ['encoding', 'lens.focal_mm', 'rate_hz', 'retries'], strict=True
    ):
        assert line.startswith(f'parameters of /left/eye: {name}: found ')


def test_a_mapping_that_is_not_yaml_is_named(make_node):
    with pytest.raises(ConfigError, match='offsets:1: is not YAML'):
        declare_config(make_node(offsets='{x: '), CameraConfig)


def test_a_field_without_default_must_be_set(make_node):
    with pytest.raises(ConfigError, match='parameters of /left/eye: frame: is missing'):
        declare_config(make_node(), MountConfig)


def test_a_node_can_have_defaults_of_its_own_which_settings_still_override(make_node):
    assert declare_config(make_node(), MountConfig, frame='roof').frame == 'roof'
    assert declare_config(make_node(frame='door'), MountConfig, frame='roof').frame == 'door'


def test_an_empty_text_unsets_what_may_be_none(make_node):
    assert declare_config(make_node(session='', exposure_ms=''), CameraConfig) == CameraConfig()


def test_parameter_files_and_the_command_line_are_honoured(make_node, tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text('/**:\n  ros__parameters:\n    retries: 7\n    lens:\n      coating: red\n')
    node = make_node('--params-file', str(path), '-p', 'rate_hz:=4')
    config = declare_config(node, CameraConfig)
    assert (config.retries, config.lens.coating, config.rate_hz) == (7, 'red', 4.0)


def test_unknown_names_on_the_command_line_are_mistakes(make_node, monkeypatch):
    typed = ['-p', 'retires:=7', '--param', 'lens.coat:=red', '-p', 'rate_hz:=4']
    others = ['-p', 'use_sim_time:=true', '-p', 'ear:gain:=2', '-r', '__ns:=/left']
    monkeypatch.setattr('sys.argv', ['node', '--ros-args', *typed, *others])
    with pytest.raises(ConfigError) as error:
        declare_config(make_node(), CameraConfig)
    assert 'parameters of /left/eye: retires: ' in str(error.value)
    assert 'lens.coat: ' in str(error.value)
    assert len(str(error.value).splitlines()) == 2


def test_what_is_not_in_the_configuration_is_not_declared(make_node):
    node = make_node(colour='red')
    declare_config(node, CameraConfig)
    with pytest.raises(ParameterNotDeclaredException):
        node.get_parameter('colour')
