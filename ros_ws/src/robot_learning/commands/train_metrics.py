"""Which of a phase's numbers matter most to people."""

from __future__ import annotations

from collections.abc import Mapping

_RETURNS = ('episode/return', 'episode/success')
_OF_PHASE: dict[str, tuple[str, ...]] = {
    'ppo': (*_RETURNS, 'ppo/explained_variance', 'ppo/kl', 'ppo/entropy', 'ppo/value_loss'),
    'sac': (*_RETURNS, 'held_out/loss', 'sac/critic_loss', 'sac/value', 'sac/temperature'),
    'dreamer': (
        *_RETURNS,
        'held_out/loss',
        'dreamer/imagined_return',
        'dreamer/value',
        'dreamer/entropy',
        'world_model/loss',
    ),
    'world_model': (
        'held_out/loss',
        'world_model/loss',
        'held_out/reconstruction',
        'held_out/reward',
        'held_out/kl',
        'world_model/kl',
    ),
    'neural_policy': ('held_out/accuracy', 'held_out/loss'),
    'intent': ('held_out/accuracy', 'held_out/slot_f1', 'intent/loss', 'held_out/macro_f1'),
    'aime': (
        'held_out/negative_elbo',
        'aime/psnr',
        'held_out/open_loop_psnr',
        'held_out/persistence_psnr',
        'aime/negative_elbo',
        'aime/kl',
        'aime/stick_kl',
        'aime/components',
        'aime/perplexity',
        'aime/task_perceiver',
        'aime/task_predictive',
    ),
    'action_inference': (
        'held_out/negative_evidence',
        'held_out/action_error',
        'action_inference/reconstruction',
        'action_inference/kl',
        'action_inference/cloning',
    ),
}


def leading(phase: str) -> tuple[str, ...]:
    """Return the names of what to look at first, the most telling one first."""
    general = ('held_out/loss', f'{phase}/loss', 'held_out/explained_variance', *_RETURNS)
    return _OF_PHASE.get(phase, general)


def shown(phase: str, metrics: Mapping[str, float], most: int = 2) -> dict[str, str]:
    """Return the numbers for a progress bar that matter most, under short names."""
    named = [name for name in leading(phase) if name in metrics]
    return {_short(name): f'{metrics[name]:.4g}' for name in named[:most]}


def counted(count: int, one: str, more: str = '') -> str:
    """Write a number of things: 1 episode, 2 episodes."""
    return f'{count} {one if count == 1 else more or one + "s"}'


def _short(name: str) -> str:
    room, _, rest = name.partition('/')
    return f'held-out {rest}' if room == 'held_out' else rest
