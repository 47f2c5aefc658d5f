"""What acting needs of world model and actor, as tensors and plain sizes: kind `dreamer`.

**Tensors.** Names are those of `WorldModel` and, with the prefix `actor.`, of `Actor`; decoders,
prior and heads are left out. E: size of the embedding, h: `hidden`, D: `deter`, G: `blocks`,
d = D / G, S: `groups`, C: `classes`, Z: S * C, or S where `latent` is gaussian, R: Z, or 2 S where
gaussian, A: `action_size`. "Dense" is `weight` [out, in], `bias` [out], `norm.weight` [out],
`norm.bias` [out]: y = W x + b; y = (y - mean(y)) / sqrt(var(y) + 1e-5) * norm.weight + norm.bias
with the uncorrected variance; silu(y) = y / (1 + exp(-y)).

| name | shape |
| --- | --- |
| `vector_encoder.layers.<i>` | Dense to h, `encoder_layers` times; none if `input_size` is 0 |
| `image_encoders.<field>.convolutions.<i>` | `weight` [out, in, 4, 4], `bias` [out]; `.` is `_` |
| `image_encoders.<field>.norms.<i>` | `weight`, `bias` [out], per channel |
| `rssm.deter_input`, `rssm.stoch_input`, `rssm.action_input` | Dense to h, from D, Z and A |
| `rssm.recurrence.input` | `weight` [D, 3 h], `bias` [D] |
| `rssm.recurrence.state.weight` | [G, d, d], from block's state to block |
| `rssm.recurrence.norm` | `weight`, `bias` [D] |
| `rssm.recurrence.gates.weight`, `rssm.recurrence.gates_bias` | [G, d, 3 d], [G, 1, 3 d] |
| `rssm.posterior_embedding` | `weight` [h, E], `bias` [h] |
| `rssm.posterior_deter.weight` | [h, D] |
| `rssm.posterior_norm` | `weight`, `bias` [h] |
| `rssm.posterior_output` | `weight` [R, h], `bias` [R] |
| `actor.*` | see `models/imagination_heads.py`, with F = D + Z |

**One step.** The memory is deter [D], stoch [Z] and action [A] in [-1, 1] (or one-hot), all zeros
at the beginning of an episode.

1. Embedding: sign(x) log(1 + |x|) of the features through `vector_encoder`; then each image in
   the order of `images`: x = pixels / 255 as [C, H, W]; per stage a convolution of stride 2 and
   padding 1, the norm with mean and variance over the whole map [C, H, W] and weight and bias
   per channel, silu; as many stages as halvings until the shorter side is 4 to 7; the last map
   flattened as [C, H, W]. Joined: [E].
2. Recurrence: u = [silu(deter_input(deter)), silu(stoch_input(stoch)),
   silu(action_input(action))] [3 h]; x = input.weight u + input.bias [D]; to block g of x (numbers
   g d to g d + d - 1) add deter_g state.weight[g], a row times a matrix; x = silu(norm(x)) over
   all D; for each block x_g gates.weight[g] + gates_bias[g] is reset, candidate, update, d
   numbers each. With s(y) = 1 / (1 + exp(-y)): c = tanh(s(reset) * candidate),
   z = s(update - 1), deter = deter + z * (c - deter).
3. Posterior: y = silu(posterior_norm(posterior_embedding(embedding) + posterior_deter.weight
   deter)); raw = posterior_output(y). Categorical: stoch is one-hot of the largest of each row
   of raw as [S, C], flattened. Gaussian: stoch is raw[:S], the mean. (While learning, it is
   drawn instead.)
4. The actor reads [deter, stoch]; its action is the memory's next one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor

from robot_learning.models.imagination_heads import Actor
from robot_learning.models.world_model import WorldModel

Array = np.ndarray[Any, Any]
_NEEDED = ('vector_encoder.', 'image_encoders.', 'rssm.')
_NOT_NEEDED = ('rssm.prior_',)


def published_policy(
    model: WorldModel, actor: Actor, low: Array, high: Array
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return copies of the tensors, and the manifest's description with the action limits."""
    tensors = {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if name.startswith(_NEEDED) and not name.startswith(_NOT_NEEDED)
    }
    tensors |= {f'actor.{key}': t.detach().clone() for key, t in actor.state_dict().items()}
    sizes = dataclasses.asdict(model.rssm.config)
    wanted = ('deter', 'hidden', 'groups', 'classes', 'blocks', 'latent')
    return tensors, {
        'kind': 'dreamer',
        'input_size': sum(columns.stop - columns.start for columns in model.blocks.values()),
        'action_size': model.action_size,
        'action_low': [float(value) for value in low],
        'action_high': [float(value) for value in high],
        'images': {name: list(shape) for name, shape in model.images.items()},
        'encoder_layers': model.config.encoder_layers,
        'depth': model.config.widths().depth,
        **{name: sizes[name] for name in wanted},
        'units': actor.output.in_features,
        'actor_layers': len(actor.trunk),
        'distribution': actor.kind,
        'unimix': actor.unimix,
    }
