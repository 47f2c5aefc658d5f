"""Builds the ROS 2 package `robot_learning`; its import package is ros_ws/src/robot_learning."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'robot_learning'
NODES = (
    'simulator',
    'gazebo',
    'person_reset',
    'display',
    'recorder',
    'bag_recorder',
    'policy',
    'trainer',
    'replicator',
    'commander',
    'grounding',
    'adaptation',
    'perception',
)
COMMANDS = (
    'train',
    'train_robot',
    'robot_demo',
    'collect',
    'evaluate',
    'bags',
    'say',
    'teleop',
    'models',
    'store',
    'doctor',
    'up',
    'demo',
    'gazebo_files',
)


def shared_files() -> list[tuple[str, list[str]]]:
    """List what goes to share/robot_learning, folder by folder."""
    share = Path('share') / NAME
    files = [
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (str(share), ['package.xml']),
    ]
    for top in ('launch', 'config', 'worlds'):
        folders = [path for path in (Path(top), *Path(top).rglob('*')) if path.is_dir()]
        for folder in sorted(folders):
            names = sorted(str(path) for path in folder.iterdir() if path.is_file())
            if names:
                files.append((str(share / folder), names))
    return files


setup(
    name=NAME,
    version='0.1.0',
    description='ROS 2 package suite with which a robot learns while it works',
    license='Apache-2.0',
    package_dir={'': 'ros_ws/src'},
    packages=find_packages('ros_ws/src', include=[NAME, f'{NAME}.*']),
    package_data={
        NAME: [
            *(f'**/*.{kind}' for kind in ('xml', 'yaml', 'html', 'css')),
            *(f'pretrained/**/*.{kind}' for kind in ('json', 'safetensors')),
        ]
    },
    data_files=shared_files(),
    python_requires='>=3.10',
    install_requires=['setuptools'],
    extras_require={'test': ['pytest']},
    zip_safe=False,
    entry_points={
        'console_scripts': [
            *(f'{node}_node = {NAME}.nodes.{node}_node:main' for node in NODES),
            *(f'{command} = {NAME}.commands.{command}:main' for command in COMMANDS),
        ]
    },
)
