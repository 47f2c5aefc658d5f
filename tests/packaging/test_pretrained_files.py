"""What is trained and ships with the project is installed with it."""

import runpy
from pathlib import Path

import setuptools

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'ros_ws' / 'src' / 'robot_learning'


def test_every_file_of_the_pretrained_models_is_package_data(monkeypatch):
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, 'setup', lambda **options: given.update(options))
    runpy.run_path('setup.py')
    patterns = given['package_data']['robot_learning']
    installed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    shipped = {path for path in (PACKAGE / 'pretrained').rglob('*') if path.is_file()}
    assert shipped and shipped <= installed
