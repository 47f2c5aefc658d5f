"""A tiny untrained NSCA version in a store, for tests of serving."""

import torch
from nsca_samples import TINY
from robot_learning.model_store import ModelStore
from robot_learning.models.nsca.whole import NscaModel
from robot_learning.phases.publishing import plain

NAME = 'toy-full'


def publish(folder, kind='nsca_full', has_outcomes=False, change=lambda model: None, seed=0):
    torch.manual_seed(seed)
    model = NscaModel(TINY)
    torch.nn.init.normal_(model.world.dynamics.change.weight, std=0.1)
    change(model)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    policy = {
        'kind': kind,
        'senses': ['vision', 'audio', 'proprioception'],
        'has_outcomes': has_outcomes,
    }
    window = {'heard_s': 0.1, 'felt_steps': 2}
    manifest = {
        'policy': policy,
        'phase': kind,
        'config': {'model': plain(TINY), 'window': window},
    }
    ModelStore(folder).publish(NAME, arrays, manifest)
    return folder
