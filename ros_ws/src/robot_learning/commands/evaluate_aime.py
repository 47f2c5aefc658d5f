"""The part of `evaluate` that measures AIME models, and policies inferred with them, on video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning import contract as contracts
from robot_learning.commands.report_output import console
from robot_learning.config import from_mapping
from robot_learning.evaluation.means import mean_interval
from robot_learning.model_store import Array

if TYPE_CHECKING:
    from torch import Tensor

    from robot_learning.models.aime.model import ActionRange, AimeModel
    from robot_learning.phases.video_data import VideoWindows

_AHEAD = 10  # Steps at which what is foreseen is compared.
_BATCH = 8
_MOST_WINDOWS = 200
_SHOWN = 8  # Frames in a picture.


def evaluate_aime(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    data: Sequence[Path],
    pictures: Path | None,
    robot: str | None = None,
) -> dict[str, Any]:
    """Print how well video is drawn and foreseen, or actions are inferred; return it as data.

    Args:
        tensors: of the version.
        manifest: of the version.
        where: NAME@VERSION.
        data: stores, HDF5 files, bags or tensor files with pictures.
        pictures: folder to draw into; None: nothing is drawn.
        robot: contract, for bags.

    Raises:
        DataError: the data hold no fitting pictures.
        ModelRefusedError: the version is none of these.
    """
    from robot_learning.phases import cpu

    cpu.settle()
    if manifest.get('phase') == 'action_inference':
        result = _inferred(tensors, manifest, where, data, robot)
    else:
        result = _foreseen(tensors, manifest, where, data, pictures, robot)
    shown = Table('measure', 'mean', '95 %', box=box.SIMPLE)
    for name, value in result['measures'].items():
        interval = value.get('interval')
        text = '' if interval is None else f'{interval[0]:.4g} to {interval[1]:.4g}'
        shown.add_row(name.replace('_', ' '), f'{value["mean"]:.4g}', text)
    console().print(shown)
    count, length = result['windows'], result['length']
    print(f'{count} windows of {length} steps of {result["episodes"]} episodes.')
    return result


def _foreseen(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    data: Sequence[Path],
    pictures: Path | None,
    robot: str | None,
) -> dict[str, Any]:
    import torch

    from robot_learning.models.aime.model import load_model
    from robot_learning.phases.aime import AimeConfig

    config = from_mapping(AimeConfig, manifest['config'], f'{where}: config')
    model, action_range = load_model(tensors, manifest, where)
    windows, num_episodes = _windows(
        data, config.camera, config.length, model, action_range, robot
    )
    torch.manual_seed(0)
    rows: dict[str, list[float]] = {}
    assigned, codes, latents = [], [], []
    for frames, actions in _batches(windows):
        for name, values in _measured(model, config, frames, actions).items():
            rows.setdefault(name, []).extend(values.tolist())
        with torch.no_grad():
            output = model(frames, actions)
        posterior = output.observed.posterior
        assigned.append(output.prior.assignments(posterior).flatten(0, -2))
        codes.append(output.seen.tokens.indices.flatten())
        latents.append(posterior.mean.flatten(0, 1))
    share = torch.cat(assigned)
    measures = {name: _with_interval(values) for name, values in rows.items()}
    measures |= _in_use(share, torch.cat(codes), config.model.codes)
    ratio = [
        p / max(m, 1e-12) for p, m in zip(rows['persistence'], rows['open_loop'], strict=True)
    ]
    result = {
        'windows': len(rows['open_loop']),
        'episodes': num_episodes,
        'length': config.length,
        'open_loop_context': min(config.open_loop_context, config.length - 1),
        'steps_ahead': min(_AHEAD, config.length - config.open_loop_context),
        'better_than_persistence': float(np.mean(np.asarray(ratio) > 1)),
        'measures': measures,
        'component_shares': share.mean(0).tolist(),
    }
    if pictures is not None:
        from robot_learning.evaluation.aime_pictures import write_latent_map

        component = share.argmax(-1).numpy()
        names = _draw(pictures, model, config.open_loop_context, windows)
        write_latent_map(pictures / 'latent_map.png', torch.cat(latents).numpy(), component)
        result['pictures'] = [*names, 'latent_map.png']
        print(f'pictures: {pictures}')
    return result


def _measured(model: AimeModel, config: Any, frames: Tensor, actions: Tensor) -> dict[str, Tensor]:
    """Return what is measured of windows, [B] each."""
    import torch

    from robot_learning.models.aime import measures
    from robot_learning.models.aime.dpgmm import kl_by_sampling, stick_kl
    from robot_learning.phases.aime_losses import pixel_nll

    with torch.no_grad():
        output = model(frames, actions)
        observed, prior = output.observed, output.prior
        error = measures.mean_squared_error(output.reconstruction, frames)  # [B, T]
        expected = model.draw(observed.deter, prior.mode())
        one_step = measures.mean_squared_error(expected, frames)[:, 1:]
        context = min(config.open_loop_context, frames.shape[1] - 1)
        seen = measures.foresight(model, frames, actions, context)
        ahead = min(_AHEAD, seen.model.shape[1]) - 1
        kl = prior.kl_bound(observed.posterior).mean(1)
        sticks = stick_kl(prior.a, prior.b, config.model.stick_concentration).mean(1)
        nll = pixel_nll(output.reconstruction, frames, config.losses.pixel_std).mean(1)
        sampled = kl_by_sampling(observed.posterior, prior, 8).mean(1)
    return {
        'reconstruction_psnr_db': measures.psnr(error.mean(1)),
        'one_step_psnr_db': measures.psnr(one_step.mean(1)),
        'open_loop': seen.model[:, ahead],
        'persistence': seen.persistence[:, ahead],
        'open_loop_psnr_db': measures.psnr(seen.model[:, ahead]),
        'persistence_psnr_db': measures.psnr(seen.persistence[:, ahead]),
        'kl_bound_nats': kl,
        'kl_sampled_nats': sampled,
        'stick_kl_nats': sticks,
        'elbo_nats': -(nll + kl + sticks),
    }


def _in_use(share: Tensor, codes: Tensor, num_codes: int) -> dict[str, dict[str, float]]:
    from robot_learning.models.aime.dpgmm import components_in_use
    from robot_learning.models.aime.video_tokenizer import perplexity

    return {
        'components_in_use': {'mean': float(components_in_use(share))},
        'codebook_perplexity': {'mean': float(perplexity(codes, num_codes))},
    }


def _inferred(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    data: Sequence[Path],
    robot: str | None,
) -> dict[str, Any]:
    """Compare inferred actions with those that were recorded, where the data have them."""
    import torch

    from robot_learning.models.aime.policy import load_actor
    from robot_learning.phases.action_inference import ActionInferenceConfig

    config = from_mapping(ActionInferenceConfig, manifest['config'], f'{where}: config')
    actor = load_actor(tensors, manifest, where)
    windows, num_episodes = _windows(
        data, config.camera, config.length, actor.model, actor.action_range, robot
    )
    errors: list[float] = []
    still: list[float] = []
    for frames, actions in _batches(windows):
        for window, true in zip(frames, actions, strict=True):
            actor.begin()
            pictures = (window * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            answered = windows.dataset.bounds.normalised(
                np.stack([actor.act(p) for p in pictures])
            )
            errors.append(float(((answered[:-1] - true[:-1].numpy()) ** 2).mean()))
            still.append(float((true[:-1] ** 2).mean()))
    return {
        'windows': len(errors),
        'episodes': num_episodes,
        'length': config.length,
        'measures': {
            'action_error': _with_interval(errors),
            'action_error_of_none': _with_interval(still),
        },
    }


def _windows(
    data: Sequence[Path],
    camera: str,
    length: int,
    model: AimeModel,
    action_range: ActionRange,
    robot: str | None,
) -> tuple[VideoWindows, int]:
    """Return all windows of the data, one behind the other, thinned out to two hundred."""
    from robot_learning.phases.video_data import VideoWindows, read_videos
    from robot_learning.trajectory.dmc_video import Bounds, DMCVideoDataset

    contract = None if robot is None else contracts.load(robot)
    episodes = read_videos(data, camera, contract)
    steps = sum(len(episode) for episode in episodes)
    stride = max(length, steps // _MOST_WINDOWS)
    size, bounds = model.config.image_size, Bounds(*action_range)
    dataset = DMCVideoDataset(episodes, length, stride, size, bounds, camera)
    return VideoWindows(dataset), len(episodes)


def _batches(windows: VideoWindows) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(windows), _BATCH):
        batch = windows.read(np.arange(start, min(start + _BATCH, len(windows))))
        yield batch['observations'], batch['actions']


def _draw(folder: Path, model: AimeModel, num_context: int, windows: VideoWindows) -> list[str]:
    import torch

    from robot_learning.evaluation.aime_pictures import write_attention, write_open_loop

    folder.mkdir(parents=True, exist_ok=True)
    number = len(windows) // 2
    frames, actions = next(
        (batch['observations'], batch['actions'])
        for batch in [windows.read(np.arange(number, number + 1))]
    )
    with torch.no_grad():
        output = model(frames, actions)
        imagined = model.open_loop(frames, actions, num_context)
    steps = np.linspace(0, frames.shape[1] - 1, _SHOWN).round().astype(int)
    write_attention(
        folder / 'attention.png',
        frames[0, steps].numpy(),
        output.reconstruction[0, steps].numpy(),
        output.seen.slots.attention[0, steps].numpy(),
    )
    write_open_loop(folder / 'open_loop.png', frames[0].numpy(), imagined[0].numpy(), num_context)
    return ['attention.png', 'open_loop.png']


def draw_usage(path: Path, curves: Path) -> None:
    """Draw components over training from a folder of curves, unless they are too short."""
    from robot_learning.evaluation.aime_pictures import write_usage
    from robot_learning.evaluation.training_curves import read_curves

    named = [c for c in read_curves(curves) if c.name.startswith('aime/component_')]
    if named and len(named[0].update) > 1:
        write_usage(path, named[0].update, np.asarray([curve.value for curve in named]).T)
        print(f'components in use over time: {path}')


def _with_interval(values: Sequence[float]) -> dict[str, Any]:
    low, high = mean_interval(values)
    return {'mean': float(np.mean(values)), 'interval': [low, high], 'count': len(values)}
