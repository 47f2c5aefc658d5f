"""Tables of what was measured about models of video; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]


def aime(results: Any, table: Table) -> str:
    """Whatever parts of the benchmark were measured."""
    writers = {'train': _train, 'priors': _priors, 'step': _step}
    return '\n'.join(
        write(results[name], table) for name, write in writers.items() if name in results
    )


def _train(part: Any, table: Table) -> str:
    row = part['summary']
    head = list(row)
    values = [value if isinstance(value, int) else f'{value:.3g}' for value in row.values()]
    reached = part['cpu_s_until_24_db']
    text = 'not reached' if reached is None else f'reached after {reached / 60:.0f} CPU minutes'
    return (
        f'Small configuration, frames of walker_walk under random actions, on whole held-out '
        f'episodes ({part["windows"]["held_out"]} windows of 16 steps; 5 frames seen, then '
        f'imagined). 24 dB of reconstruction: {text}.\n\n{table(head, [values])}'
    )


def _priors(part: Any, table: Table) -> str:
    if not part['pairs']:
        return ''
    head = [
        'seed',
        'components',
        'evidence bound, nats per frame',
        'KL, nats',
        'PSNR, dB',
        'in use',
    ]
    rows = [
        [
            row['seed'],
            row['components'],
            f'{row["elbo"]:.0f}',
            f'{row["kl"]:.1f}',
            f'{row["PSNR dB"]:.2f}',
            f'{row["in use"]:.0f}',
        ]
        for row in part['rows']
    ]
    interval = part['interval']
    text = '' if interval is None else f' (95 %: {interval[0]:.1f} to {interval[1]:.1f})'
    updates = part['rows'][0]['updates']
    return (
        f'Mixture against a single Gaussian, 32 x 32 pixels, {updates} updates each, '
        f'{part["pairs"]} pairs of seeds. The mixture gains '
        f'{part["gain_nats_per_frame"]:.1f} nats per frame{text}.\n\n{table(head, rows)}'
    )


def _step(part: Any, table: Table) -> str:
    rows = [[row['implementation'], f'{row["CPU s"]:.2f}'] for row in part['rows']]
    return (
        f'Forward and backward pass of 8 windows of 16 frames, one core; both give the same to '
        f'{part["largest_difference"]:.0e}:\n\n'
        f'{table(["implementation", "CPU seconds"], rows)}'
    )


def aime_imitation(results: Any, table: Table) -> str:
    """Each place's policies."""
    return '\n\n'.join(_imitation(part, table) for part in results.values())


def _imitation(part: Any, table: Table) -> str:
    names = {
        'evidence': 'action inference, from video alone',
        'actions': 'behavioural cloning of the true actions',
        'mean': 'always the mean of the true actions',
        'none': 'no action',
        'random': 'random',
        'expert': 'the teacher',
    }
    rows = [
        [
            names[row['policy']],
            f'{row["return"]:.1f}',
            f'{row["normalised"]:.2f} ({row["low"]:.2f} to {row["high"]:.2f})',
            f'{row["succeeded"]} of {row["of"]}',
        ]
        for row in part['rows']
    ]
    errors = {name: held['held_out/action_error'] for name, held in part['policies'].items()}
    still = part['policies']['evidence']['held_out/mean_action_error']
    episodes = part['episodes']
    return (
        f'{part["place"]}, 32 x 32 pixels, {part["updates"]} updates of model and policies each; '
        f'{episodes["play"]} episodes to learn the model from, {episodes["shown"]} to imitate. '
        f'Normalised return: 0 random, 1 the teacher, 95 %. Mean squared error of the actions on '
        f'held-out demonstrations: inferred {errors["evidence"]:.3f}, cloned '
        f'{errors["actions"]:.3f}, none {still:.3f}.\n\n'
        f'{table(["policy", "return", "normalised", "succeeded"], rows)}'
    )
