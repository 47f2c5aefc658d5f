import math
import sys

import pytest
from robot_learning.errors import ConfigError
from robot_learning.phases.trainer import Progress
from robot_learning.phases.wandb_curves import WandbCurves


def test_a_run_without_an_account_is_kept_on_disk(tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    curves = WandbCurves(tmp_path, 'navigator-sac', {'batch_size': 4})
    curves.write(Progress('waiting', update=0, metrics={'sac/value': 9.0}))
    for update in (10, 20):
        metrics = {'sac/value': update / 10, 'sac/broken': math.nan}
        curves.write(Progress('training', update=update, metrics=metrics))
    curves.close()
    wandb.teardown()  # As at the end of the process: its writer ends.
    (log,) = tmp_path.glob('wandb/offline-run-*/run-navigator-sac.wandb')
    content = log.read_bytes()
    assert b'sac/value' in content and b'sac/broken' not in content


def test_without_the_package_its_installation_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(ConfigError, match='pip install wandb'):
        WandbCurves(tmp_path, 'navigator-sac', {})
